"""A worker under attack by messages: it lives, its limits hold, and a quiet org's figures are what they were.

    every attack of tests/bench/attacks.py, one after the other ──► one worker ◄── a twin of the quiet org, each time

Whether documents are equal, and what that means: tests/bench/abuse_house.py.
"""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.abuse_house import CHANGES, House, Row
from tests.bench.attacks import ATTACKS, SMALL_BOMBS
from tests.bench.ground import ground, scrape
from tests.faults.extent import N, long_form

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.security, pytest.mark.timeout(1800)]

SIZE = 10_000 if N == 0 else 40_000
PER_ORG, CREATED, PARKED, OPEN, ORGS_SHOWN = 600, 1_200, 1_000, 400, 10
LIMITS: dict[str, Any] = {
    "ingest.max_created_per_org": PER_ORG, "ingest.max_created": CREATED, "ingest.max_parked": PARKED,
    "latency.max_open_messages": OPEN, "metrics.org_limit": ORGS_SHOWN,
}  # fmt: skip
MOST_GROWTH_MB = 400 if N == 0 else 900
"""Generous: a worker that unpacked the largest of the bombs would have 500 MB more, in the long form 2,000."""
BY_NAME = {attack.name: attack for attack in ATTACKS}


@pytest.fixture(scope="module")
def house(kafka: Any, redis_server: Any) -> Iterator[House]:
    with ground(kafka.bootstrap, redis_server.url, {**CHANGES, **LIMITS}) as place:
        found = House(place, len(ATTACKS) + 1)
        found.begin()
        yield found


def attacked(house: House, name: str, size: int = SIZE) -> Row:
    """Return what became of an attack, once it is seen that the quiet org and the worker are as they should be."""
    attack = SMALL_BOMBS if name == "bombs" and N == 0 else BY_NAME[name]
    row = house.attacked(attack, size)
    assert row.quiet_equal and row.sent > 0
    assert row.most_mb - row.before_mb < MOST_GROWTH_MB, row
    assert row.series[1] < house.settings.metrics.series_limit
    assert "Traceback" not in house.log(), house.log()[-3000:]
    return row


def orgs_shown(house: House) -> set[str]:
    """Return the values of the label `org`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{house.place.ports[0]}/metrics", timeout=60) as reply:
        return set(re.findall(r'[{,]org="([^"]*)"', reply.read().decode()))


def test_attacks_on_the_clock_and_one_hot_org_leave_others_as_they_are(house: House) -> None:
    assert attacked(house, "hot org").outcomes["accepted"] >= SIZE
    row = attacked(house, "clock")
    assert row.dead["bad_time"] >= row.sent // 4
    series = scrape(house.place.ports[0])
    newest = max(value for name, value in series.items() if name.startswith("orgpulse_watermark_timestamp_seconds"))
    assert newest <= time.time() + house.settings.time.max_ahead_seconds


def test_labels_ids_and_orgs_without_end_stay_within_their_limits(house: House) -> None:
    partitions = house.settings.kafka.partitions
    row = attacked(house, "ids")
    assert row.dead["too_many_users"] == SIZE // 4 - PER_ORG and row.dead["park_full"] > 0
    assert house.figures("orgpulse_open_messages") <= OPEN * partitions
    assert house.figures("orgpulse_open_messages_given_up") > 0
    row = attacked(house, "labels")
    assert row.dead["too_many_users"] > 0 and len(orgs_shown(house)) <= ORGS_SHOWN + 2  # and all, and the others
    keys = row.redis_keys[1]
    row = attacked(house, "orgs")
    assert row.dead["too_many_users"] >= row.sent - CREATED * partitions
    assert row.redis_keys[1] - keys < CREATED * partitions * 4 + 200
    assert row.series[1] - row.series[0] < 400


def test_huge_and_odd_messages_are_dead_letters_with_a_reason(house: House) -> None:
    row = attacked(house, "huge", 112 if N == 0 else 1_500)
    assert {"too_big", "too_deep", "long_id", "not_json", "wrong_type", "bad_time", "bad_id"} <= row.dead.keys()
    assert sum(row.outcomes.get(kind, 0) for kind in ("dead_lettered", "parked", "accepted")) >= row.sent


def test_batches_that_would_unpack_to_gigabytes_are_skipped_and_named(house: House) -> None:
    row = attacked(house, "bombs", 1)
    assert row.dead["batch_too_big"] >= 5 if N == 0 else row.dead["batch_too_big"] > 300_000
    assert "a batch was skipped" in house.log()


@long_form
def test_a_directory_of_strangers_costs_what_is_stated_and_no_more(house: House) -> None:
    row = attacked(house, "directory", 20_000)
    assert row.outcomes["directory"] >= row.sent
