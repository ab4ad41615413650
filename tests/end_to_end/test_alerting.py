"""From a slip to somebody who is told: real workers, the shipped rules in a Prometheus, the shipped Alertmanager.

                 weeks 1–3        days of week 4                  a week                       then
    acme         ▇▇▇▇▇▇▇▇▇▇▇▇     silent ──► told once            ▁▁▁▁ told already, silenced  ▇▇▇▇ told that it is over
    core         ▇▇▇▇▇▇▇▇▇▇▇▇     ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇     ▁▁▁▁ at risk, not told       ▇▇▇▇
    others       ▇▇▇▇▇▇▇▇▇▇▇▇     ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇     syslog only ──► input told   ▇▇▇▇ told that it is over

Time is the workers' data's own; Prometheus and Alertmanager have the wall's, hurried (see `monitoring`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.life import LONG, Life, three_weeks
from tests.end_to_end.monitoring import Alertmanager, Inbox, Notification, Prometheus
from tests.faults.system import System, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(500)]
TOLD_WITHIN_SECONDS = 60.0
"""From the moment a worker shows it: two seconds until it is asked, one until rules are evaluated, one for others of
the group, and many times as long on a busy machine. As shipped: 10 + 15 + 10 seconds."""
INPUT = {"OrgpulseInputMissing", "OrgpulseAlertsHeld"}


def test_a_slip_is_told_once_and_its_end_and_missing_input_is_told_instead_of_orgs(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    with (
        Inbox() as inbox,
        Alertmanager(tmp_path / "alertmanager", inbox.address) as manager,
        three_weeks(kafka.bootstrap, redis_server.url, tmp_path) as life,
        Prometheus(tmp_path / "prometheus", addresses(life.system), manager.address) as prometheus,
    ):
        once_and_its_end(life, prometheus, manager, inbox)


def addresses(system: System) -> list[str]:
    """Return host and port of the workers' pages."""
    return [url.removeprefix("http://").removesuffix("/metrics") for url in system.workers.urls]


def once_and_its_end(life: Life, prometheus: Prometheus, manager: Alertmanager, inbox: Inbox) -> None:
    def come(name: str, status: str, **labels: str) -> Notification:
        wait_until(lambda: "" if statuses(name, **labels)[-1:] == [status] else f"told {inbox.told()}", LONG)
        return inbox.told(name, **labels)[-1]

    def statuses(name: str, **labels: str) -> list[str]:
        return [told.status for told in inbox.told(name, **labels)]

    life.silent = {"acme"}
    while "acme" not in life.alerting():
        life.live(0.25, step_hours=6)
    shown_at = time.monotonic()
    told = come("OrgpulseOrgFell", "firing", org="acme")
    print(f"told {told.at - shown_at:.1f} s after a worker showed it")
    assert told.receiver == "accounts" and told.at - shown_at < TOLD_WITHIN_SECONDS
    (alert,) = [alert for payload in inbox.payloads for alert in payload["alerts"]]
    assert alert["annotations"]["page"] == "http://127.0.0.1:6066/orgs/acme"
    assert manager.states()["OrgpulseOrgFell/acme"] == "active"

    life.silent, life.sources = {"acme", "core"}, {"syslog-activities"}
    life.live(1)
    life.live_until(lambda: life.total("orgpulse_alerts_held") > 0, "not held")
    held_at = time.monotonic()
    told = come("OrgpulseInputMissing", "firing", topic="product-events")
    print(f"told {told.at - held_at:.1f} s after a worker showed that input is missing")
    assert told.receiver == "operations" and told.at - held_at < TOLD_WITHIN_SECONDS
    wait_until(lambda: "" if manager.states()["OrgpulseOrgFell/acme"] == "suppressed" else "not silenced", LONG)
    assert manager.inhibited_by("OrgpulseOrgFell/acme") <= INPUT
    life.live(6, step_hours=72)  # held, so it does not matter that one source is ahead of the other
    wait_until(lambda: "" if manager.states().get("OrgpulseOrgAtRisk/core") else f"{manager.states()}", LONG)
    assert manager.inhibited_by("OrgpulseOrgAtRisk/core") <= INPUT

    life.silent, life.sources = set(), {"product-events", "syslog-activities"}
    life.live(9)
    life.live_until(lambda: not (life.alerting() or life.total("orgpulse_alerts_held")), "it does not end")
    come("OrgpulseOrgFell", "resolved", org="acme")
    come("OrgpulseInputMissing", "resolved", topic="product-events")
    assert statuses("OrgpulseOrgFell", org="acme") == ["firing", "resolved"]
    # For a moment, in which Prometheus may look, one source has come and the other has not: it may be told again.
    missing = statuses("OrgpulseInputMissing", topic="product-events")
    assert missing[0] == "firing" and missing[-1] == "resolved"
    assert {each.name for each in inbox.told()} == {"OrgpulseOrgFell", "OrgpulseInputMissing"}
    assert prometheus.rule_problems() == []
