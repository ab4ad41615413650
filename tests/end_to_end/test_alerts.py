"""Alerts in a whole installation: one is raised for each fall, told everywhere, and ends once, whatever dies meanwhile.

                 weeks 1–3        days of week 4               then          three days         after that
    acme         ▇▇▇▇▇▇▇▇▇▇▇▇     silent ──► raised ─ kill -9  ▇▇ resolved   ▇▇ syslog only     ▇▇▇▇▇▇▇▇▇▇
    bolt         ▇▇▇▇▇▇▇▇▇▇▇▇     a quarter ► raised           ▇▇ resolved   ▇▇ syslog only     ▇▇▇▇▇▇▇▇▇▇
    others       ▇▇▇▇▇▇▇▇▇▇▇▇     ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇  ▇▇▇▇▇▇▇▇▇▇▇   ▇▇ held, no alert ▇▇▇▇▇▇▇▇▇▇

Time is the data's own, so weeks pass in seconds.
"""

from __future__ import annotations

from decimal import Decimal
from operator import sub
from pathlib import Path
from typing import Any

import pytest

from agents.routing import Router
from streams.reader import Reader
from streams.topic_specs import topic_names
from tests.end_to_end.life import LONG, ORGS, PARTITIONS, Life, three_weeks
from tests.faults.extent import long_form
from tests.faults.system import wait_until

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(500)]


def test_a_fall_is_told_once_everywhere_whatever_dies_and_a_missing_source_is_none(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    with three_weeks(kafka.bootstrap, redis_server.url, tmp_path) as life:
        once_everywhere(life)


def once_everywhere(life: Life) -> None:
    system, names = life.system, topic_names(life.system.settings)
    router = Router(names, PARTITIONS, system.settings.kafka.max_message_bytes)
    assert min([router.partition(org) for org in ORGS].count(number) for number in range(PARTITIONS)) >= 3
    assert life.told() == []
    with Reader(system.settings.redis.url, system.settings.redis.prefix) as reader:
        life.silent, life.quartered = {"acme"}, {"bolt"}
        life.live(4, step_hours=6)
        life.live_until(lambda: len(life.told()) == 2, "not two alerts")
        life.until(lambda: set(life.alerting()) == {"acme", "bolt"}, "Prometheus does not show them")
        wait_until(life.disagreement, LONG)
        raised = {org: fingerprint for org, kind, fingerprint in life.told() if kind == "raised"}
        assert life.total("orgpulse_alerts_open") == 2
        assert {alert.org: (alert.fingerprint, alert.rule) for alert in reader.open_alerts()} == {
            org: (fingerprint, "fall") for org, fingerprint in raised.items()
        }

        system.workers.kill(life.alerting()["acme"])
        life.live(1)
        wait_until(life.disagreement, LONG)
        assert life.total("orgpulse_alerts_open") == 2 and set(life.alerting()) == {"acme", "bolt"}
        assert {org for org, _, _ in life.told()} == set(raised) and len(life.told()) == 2

        life.silent, life.quartered = set(), set()
        life.live(10)
        life.live_until(lambda: life.total("orgpulse_alerts_open") == 0, "alerts are still open")
        wait_until(life.disagreement, LONG)
        ended = sorted((org, kind, name) for org, name in raised.items() for kind in ("raised", "resolved"))
        assert life.told() == ended and life.alerting() == {} and reader.open_alerts() == []

        before = scores(reader)
        life.sources = {"syslog-activities"}
        life.live(3, step_hours=12)
        life.live_until(lambda: life.total("orgpulse_alerts_held") == PARTITIONS, "alerts are not held")
        life.live_until(lambda: max(map(sub, scores(reader), before)) <= -10, "not everybody has fallen far enough")
        life.sources = {"product-events", "syslog-activities"}
        life.live(9)
        life.live_until(lambda: life.total("orgpulse_alerts_held") == 0, "alerts are held for ever")
        wait_until(life.disagreement, LONG)
        assert life.told() == ended


def scores(reader: Reader) -> list[Decimal]:
    """Return the scores of all orgs."""
    return [org.score_active for org in reader.orgs(ORGS) if org is not None and org.score_active is not None]
