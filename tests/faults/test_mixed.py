"""Every kind of fault, one after the other in a random order, under one load: every figure is right in the end.

    history ──────────────────────────────────────────────────────────►
    worker killed │ renewed │ asleep past its session │ checkpoints damaged
    Redis replaced by an empty one │ asleep │ flushed │ full           in any order
    Kafka asleep

Each kind has a test of its own that goes further; those run in the long form only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import proof
from tests.faults.every_fault import Faults
from tests.faults.extent import N, times
from tests.faults.redis_faults import HarmedRedis, broken_chains
from tests.faults.system import Size, System

ROUNDS = times(1)

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900 + 300 * N)]


@pytest.fixture
def harmed(tmp_path: Path) -> Iterator[HarmedRedis]:
    """A Redis of this test alone that keeps nothing over a restart."""
    with HarmedRedis(tmp_path, persistent=False) as found:
        yield found


def test_every_kind_of_fault_in_a_random_order_costs_nothing(kafka: Any, harmed: HarmedRedis, tmp_path: Path) -> None:
    changes = {"redis.timeout_seconds": 1.0}
    with System(kafka.bootstrap, harmed.server.url, tmp_path, size=Size(40, 300, 3), changes=changes) as system:
        player = system.play(ROUNDS * 60.0)
        faults = Faults(system, kafka, harmed)
        for _ in range(ROUNDS):
            order = faults.every()
            system.chance.shuffle(order)
            for fault in order:
                fault()
                player.join(timeout=system.chance.uniform(0.0, 2.0))
        done = system.workers.done
        assert done["kill"] == done["freeze"] == ROUNDS and done["stop"] == 3 * ROUNDS and faults.damaged >= ROUNDS
        assert sum(harmed.done.values()) >= 3 * ROUNDS and harmed.done["flush"] == ROUNDS
        system.wait_recovered()
        system.rest()
        assert not proof.differences(system)
        assert not broken_chains(harmed.client, system.settings.redis.prefix)
