"""Owns the chunks of raw topics that wait until the quota lets them through.

    fetched ──► keep ──► (wait) ──► due ──► agents          what waits is fetched no further: Kafka keeps the rest

Invariant: the chunks of a partition leave in their order, each once, and only those of the present assignment;
partitions of other topics never wait. One fetch of each partition waits at most.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from faust.types import TP

from streams.quota import Allowance
from streams.settings_quota import QuotaSettings

if TYPE_CHECKING:
    from streams.transport import Chunk

CHECK = "quota"
"""What a worker calls the check that tells how it stands with the quota."""
HELD = "held to its quota"
"""How what that check tells begins while messages wait."""
_CHUNKS_PER_SECOND = 4
"""Into so many chunks what may be taken in a second is cut, so that it is taken evenly."""


def waiting_in(held: HeldBack | None) -> frozenset[TP]:
    """Return the partitions of which something waits; none where there is no quota."""
    return frozenset() if held is None else held.waiting()


class HeldBack:
    """One worker's; it has the share of the quota that its partitions of *topics* are of all."""

    def __init__(
        self, quota: QuotaSettings, topics: Collection[str], partitions: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Hold nothing yet.

        Args:
            quota: At least one of its two rates is set.
            topics: The raw topics.
            partitions: What each of them has.
            clock: Monotonic seconds.
        """
        self._topics, self._all, self._clock = frozenset(topics), len(topics) * partitions, clock
        self._allowance = Allowance(quota, clock())
        self._kept: dict[TP, deque[Chunk]] = {}
        self._generation: int | None = None
        self._since: float | None = None
        self._held_seconds = 0.0
        self._mine = 0
        """Raw partitions that are this worker's."""

    def use(self, generation: int, owned: Callable[[], Collection[TP]]) -> None:
        """Go by the assignment *generation*, which gives the partitions *owned*.

        What was kept of a former one is read again, so it is let go.
        """
        if generation == self._generation:
            return
        self.forget()
        self._generation = generation
        self._mine = sum(tp.topic in self._topics for tp in owned())
        if self._mine:
            self._allowance.use(self._mine / self._all, self._clock())

    def forget(self) -> None:
        """Let everything go: positions are sought anew."""
        self._kept.clear()
        self._generation = None
        self._note(False)

    def holds(self, tp: TP) -> bool:
        """Say whether partitions like *tp* may have to wait."""
        return tp.topic in self._topics

    def chunk_records(self, most: int) -> int:
        """Return into chunks of how many records, *most* at most, raw messages are cut."""
        rate = self._allowance.events_per_second
        return max(1, min(most, int(rate / _CHUNKS_PER_SECOND))) if rate else most

    def keep(self, chunk: Chunk) -> None:
        """Let a chunk wait for its turn."""
        self._kept.setdefault(chunk.tp, deque()).append(chunk)

    def due(self, active: Collection[TP]) -> Iterator[Chunk]:
        """Yield chunks of *active* partitions, one of each in turn, for as long as the quota lets them through."""
        while ready := [tp for tp in self._kept if tp in active]:
            for tp in ready:
                if self.wait_seconds() > 0:
                    self._note(True)
                    return
                kept = self._kept.get(tp)  # while a chunk was handed on everything may have been let go
                if not kept:
                    continue
                chunk = kept.popleft()
                del self._kept[tp]
                if kept:
                    self._kept[tp] = kept  # behind the others
                self._take(chunk)
                yield chunk
        self._note(False)

    def waiting(self) -> frozenset[TP]:
        """Return the partitions of which something waits; safe to ask from anywhere."""
        return frozenset(self._kept)

    def wait_seconds(self) -> float:
        """Return how long the quota lets nothing through."""
        return self._allowance.wait_seconds(self._clock())

    @property
    def holding(self) -> bool:
        """Whether messages wait for the quota."""
        return self._since is not None

    @property
    def held_seconds(self) -> float:
        """How long messages have waited for the quota since the start, altogether."""
        return self._held_seconds + (0.0 if self._since is None else self._clock() - self._since)

    @property
    def events_per_second(self) -> float:
        """This worker's share of the quota in messages; 0 = that is not limited."""
        return self._allowance.events_per_second if self._mine else 0.0

    @property
    def bytes_per_second(self) -> float:
        """The same in bytes."""
        return self._allowance.bytes_per_second if self._mine else 0.0

    def told(self) -> str:
        """Return for people how it stands."""
        parts = [(self.events_per_second, "messages/s"), (self.bytes_per_second, "bytes/s")]
        rates = " and ".join(f"{rate:,.0f} {unit}" for rate, unit in parts if rate) or "nothing is read here"
        return f"{HELD} of {rates}; the rest waits in Kafka" if self.holding else f"below its quota: {rates}"

    def _take(self, chunk: Chunk) -> None:
        size = 0
        if self._allowance.limits_bytes:
            size = sum(len(record.value or b"") + len(record.key or b"") for record in chunk.records)
        self._allowance.take(len(chunk.records), size, self._clock())

    def _note(self, holding: bool) -> None:
        now = self._clock()
        if holding and self._since is None:
            self._since = now
        elif not holding and self._since is not None:
            self._held_seconds += now - self._since
            self._since = None
