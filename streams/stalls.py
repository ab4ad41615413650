"""Notices that reading stands still although messages wait, or a recovery that gets nowhere: something has got stuck.

Owns the watch over the way of messages into the worker; who is stuck begins anew, from what is committed. Invariant:
a partition whose position moves, of which everything is handled, or that waits for a long chunk which gets on, never
counts as stuck.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, Protocol

import structlog
from aiokafka.errors import KafkaError

from streams.faust_app import ChunkApp
from streams.held_back import waiting_in
from streams.positions import standing_of
from streams.task_service import TaskService

LONGEST_STANDSTILL_SECONDS = 45.0
"""A commit is given up after 30 seconds, so nothing sound stands still for longer."""
LONGEST_RECOVERY_STANDSTILL_SECONDS = 150.0
"""Others have up to 120 seconds to join a rebalance, and a former owner's transactions 60 to end."""
ASK_SECONDS = 5.0
"""How often the brokers are asked where the logs end: what was fetched does not tell, when fetching itself is stuck."""

_log = structlog.get_logger(__name__)


class StalledError(RuntimeError):
    """Partitions stand still; a worker that begins anew reads on from what is committed."""


class Standing(Protocol):
    """Where a partition stands."""

    @property
    def next_offset(self) -> int: ...
    @property
    def lag(self) -> int: ...


class Stalls:
    """Remembers since when each partition stands where it does; *limit_seconds* is how long it may, with lag."""

    def __init__(self, limit_seconds: float = LONGEST_STANDSTILL_SECONDS) -> None:
        self._limit_seconds = limit_seconds
        self._since: dict[Hashable, tuple[int, float]] = {}

    def check(self, positions: Mapping[Any, Standing], now: float, waiting: Collection[Any] = ()) -> None:
        """Look at all live partitions; *now* is a monotonic clock (seconds), *waiting* are those that wait with reason.

        Raises:
            StalledError: If one of them has stood still for too long.
        """
        former, self._since = self._since, {}
        for partition, standing in positions.items():
            if not standing.lag:
                continue
            offset, since = former.get(partition, (-1, now))
            since = since if offset == standing.next_offset and partition not in waiting else now
            self._since[partition] = (standing.next_offset, since)
            if now - since > self._limit_seconds:
                seconds = now - since
                raise StalledError(f"{partition} stands at {offset} for {seconds:.0f} s; {standing.lag} messages wait")


class Stuck:
    """Remembers since when a worker that is not reading has got nowhere; *limit_seconds* is how long it may."""

    def __init__(self, limit_seconds: float = LONGEST_RECOVERY_STANDSTILL_SECONDS) -> None:
        self._limit_seconds = limit_seconds
        self._seen: tuple[Hashable, float] | None = None

    def check(self, progress: Hashable | None, now: float) -> None:
        """Look at *progress*, which differs whenever something was done; None = reading, all is well.

        Raises:
            StalledError: If it has been the same for too long.
        """
        if progress is None:
            self._seen = None
        elif self._seen is None or self._seen[0] != progress:
            self._seen = (progress, now)
        elif now - self._seen[1] > self._limit_seconds:
            raise StalledError(f"no partition is read, and nothing was recovered for {now - self._seen[1]:.0f} s")


class StallWatch(TaskService):
    """A service that looks at all of it every few seconds, while Kafka is well."""

    def __init__(
        self, app: ChunkApp, kafka_is_well: Callable[[], bool], recovered: Callable[[], int],
        fail: Callable[[BaseException], None], *, limit_seconds: float = LONGEST_STANDSTILL_SECONDS,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:  # fmt: skip
        """Prepare; *recovered* counts records that recoveries took in, *fail* ends this life of the worker."""
        self._app, self._kafka_is_well, self._recovered, self._fail = app, kafka_is_well, recovered, fail
        self._limit_seconds, self._ask_seconds = limit_seconds, ask_seconds
        self._stalls, self._stuck = Stalls(limit_seconds), Stuck()
        self._at_work: tuple[dict[str, int], int] = {}, 0

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._ask_seconds)
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  # a watch that ended in silence would watch nothing
                self._fail(error)
                _log.error("standing still; beginning anew", problem=repr(error), standing=standing_of(self._app))
                return

    async def _look(self) -> None:
        app, now = self._app, time.monotonic()
        well = bool(app.started and self._kafka_is_well())
        reading = app.flowing or not well
        self._stuck.check(None if reading else (app.rebalances, self._recovered()), now)
        if not well or not app.flowing:
            self._stalls.check({}, now)
            return
        try:
            async with asyncio.timeout(self._limit_seconds):
                ends = await app.ask_ends()
        except TimeoutError as error:
            raise StalledError("the consumer answers no questions any more") from error
        except KafkaError:
            return  # Kafka is not well after all; whoever watches that says so
        long = self._long_chunks()
        if app.flowing:
            positions = app.positions(ends)
            held = waiting_in(app.held_back)
            self._stalls.check(positions, now, {tp for tp in positions if tp.topic in long or tp in held})

    def _long_chunks(self) -> set[str]:
        """Return the topics whose handler is in the same chunk as at the last look, and got on with it."""
        (calls, steps), chunks = self._at_work, self._app.chunks
        self._at_work = dict(chunks.at_work), chunks.steps
        return {topic for topic, call in chunks.at_work.items() if calls.get(topic) == call and chunks.steps != steps}
