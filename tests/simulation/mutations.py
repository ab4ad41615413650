"""What holds everything together, taken out piece by piece: the simulation must find each.

Owns the list. Invariant: a mutation changes one thing, and takes it back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agents.park import Park
from state.dedupe import Dedupe
from tests.simulation.broker import Broker
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.worker import Worker

Mutation = Callable[[pytest.MonkeyPatch], None]


def offset_outside_of_the_transaction(patch: pytest.MonkeyPatch) -> None:
    """Commit the offset some time after the records, as Faust does."""
    patch.setattr(Worker, "offset_in_transaction", False)


def recovery_reads_uncommitted(patch: pytest.MonkeyPatch) -> None:
    """Fill tables and shards with what was aborted, too."""
    patch.setattr(Worker, "recovers_committed", False)


def zombies_are_not_fenced(patch: pytest.MonkeyPatch) -> None:
    """Let a former owner go on writing."""
    patch.setattr(Broker, "fences", False)


def redis_takes_older_writes(patch: pytest.MonkeyPatch) -> None:
    """Let whoever comes last overwrite what is newer."""
    patch.setattr(FakeRedis, "fences", False)


def ids_are_not_remembered(patch: pytest.MonkeyPatch) -> None:
    """Take every event for a new one."""
    patch.setattr(Dedupe, "learn", lambda self, ids, times_ms: np.ones(len(ids), bool))


def parked_never_come_back(patch: pytest.MonkeyPatch) -> None:
    """Remember an alias, and forget about who waits for it."""
    take: Any = Park._take_alias

    def only_remember(self: Any, partition: int, alias: Any, work: Any) -> None:
        self._send_on = lambda waiting, claim, work: None
        try:
            take(self, partition, alias, work)
        finally:
            del self._send_on

    patch.setattr(Park, "_take_alias", only_remember)


MUTATIONS: tuple[Mutation, ...] = (
    offset_outside_of_the_transaction,
    recovery_reads_uncommitted,
    zombies_are_not_fenced,
    redis_takes_older_writes,
    ids_are_not_remembered,
    parked_never_come_back,
)
