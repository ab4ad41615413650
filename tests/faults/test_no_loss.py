"""The proof of no loss: workers are killed while history is played, and every figure is right in the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from reports.compare import compare
from reports.recount import recount
from tests.faults import proof
from tests.faults.extent import times
from tests.faults.system import MODEL, OPTIONS, Size, System

KILLS = times(6)
SECONDS_A_KILL = 4.0

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900 + 10 * KILLS)]


@pytest.fixture(scope="module")
def system(kafka: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Play, kill, wait for rest, kill the survivors too: nothing may depend on a clean end."""
    logs = tmp_path_factory.mktemp("workers")
    with System(kafka.bootstrap, redis_server.url, logs, size=Size(60, 600, 5)) as system:
        player = system.play(KILLS * SECONDS_A_KILL + 4.0)
        for _ in range(KILLS):
            player.join(timeout=system.chance.uniform(0.5, 2 * SECONDS_A_KILL - 0.5))  # a random moment
            victim = system.chance.randrange(2)
            system.workers.kill(victim)
            system.workers.start(victim)
        system.rest()
        for number in system.workers.running:
            system.workers.kill(number)
        yield system


def test_everything_equals_the_recount_after_workers_were_killed(system: System) -> None:
    assert system.workers.kills == KILLS + 2
    assert not proof.differences(system)


def test_the_comparison_sees_one_message_lost_and_one_counted_twice(system: System) -> None:
    newest = max(  # an approved transaction of the last day counts in the rolling week of its org
        (r for r in system.raw if r[0] == "transactions" and b'"status":"A"' in (r[4] or b"")), key=lambda r: r[2]
    )
    without = [r for r in system.raw if r[0] != "transactions" or r[4] != newest[4]]
    fresh = re.sub(rb'"transaction_id":"[^"]*"', b'"transaction_id":"again"', newest[4] or b"")
    for raw in (without, [*system.raw, (*newest[:2], 10**9, newest[3], fresh, newest[5])]):
        result = compare(recount(raw, MODEL, system.at_rest.as_of_ms, OPTIONS), system.at_rest, MODEL)
        fields = {difference.field for difference in result.differences if difference.key.startswith("org:")}
        assert fields == {"transactions_count", "transactions_cents"}, result.differences[:20]
