"""Owns the faults that befall an installation, one method each.

Invariant: a method returns when its fault is over and was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from deploy.local.kafka import LocalKafka
from tests.faults.redis_faults import HarmedRedis, wait_said
from tests.faults.state_faults import counted, damage
from tests.faults.system import System, wait_until
from tests.faults.worker_faults import sleep_past_session

KAFKA_SLEEP_SECONDS = 4.0


class Faults:
    """What befalls an installation of two workers, or of more of which the first two are harmed."""

    def __init__(self, system: System, kafka: Any, harmed: HarmedRedis) -> None:
        self._system, self._kafka, self._harmed = system, kafka, harmed
        self.damaged = 0

    def passing(self) -> list[Callable[[], None]]:
        """Return one of each kind that leaves other workers alone: processes, Redis, Kafka."""
        found = [
            self.kill, self.renew, lambda: self.redis(self._harmed.replaced()),
            lambda: self.redis(self._harmed.frozen()), lambda: self.redis(self._harmed.full()), self._harmed.flush,
        ]  # fmt: skip
        return [*found, self.kafka_asleep] if isinstance(self._kafka, LocalKafka) else found

    def every(self) -> list[Callable[[], None]]:
        """Return one of each kind."""
        return [self.sleep, self.damage_state, *self.passing()]

    def kill(self) -> None:
        """Kill a worker at once."""
        victim = self._system.chance.randrange(2)
        self._system.workers.kill(victim)
        self._system.workers.start(victim)

    def renew(self) -> None:
        """Stop a worker in order, and start it again."""
        number = self._system.chance.randrange(2)
        self._system.workers.stop(number)
        self._system.workers.start(number)

    def sleep(self) -> None:
        """Let a worker sleep past its session and wake, no longer the owner of anything."""
        self._system.wait_recovered(workers=2)
        sleeper = self._system.chance.randrange(2)
        sleep_past_session(self._system, sleeper, 1 - sleeper)

    def damage_state(self) -> None:
        """Damage every checkpoint while no worker runs."""
        workers = self._system.workers
        self._system.wait_recovered(workers=2)
        for number in (0, 1):
            workers.stop(number)
        damaged, _ = damage(self._system)
        for number in (0, 1):
            workers.start(number)
        self._system.wait_recovered()
        # One of the two may have folded a shard anew, given it to the other and not be asked in time: at least one.
        assert counted(self._system, "orgpulse_state_damaged") > 0 and damaged
        self.damaged += damaged

    def redis(self, fault: AbstractContextManager[None]) -> None:
        """Have a fault of Redis last until every worker says so, and then be over."""
        self._system.wait_recovered(workers=len(self._system.workers.running))
        with fault:
            wait_said(self._system, away=True)
        wait_said(self._system, away=False)

    def kafka_asleep(self) -> None:
        """Let the broker sleep, shorter than transactions last."""
        self._kafka.freeze()
        began = time.monotonic()
        wait_until(lambda: "" if time.monotonic() - began > KAFKA_SLEEP_SECONDS else "asleep", 30)
        self._kafka.thaw()
