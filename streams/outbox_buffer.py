"""Owns what was accepted from outside and is not in Kafka yet: bounded, in order, counted.

Invariant: what was taken in stays until it is settled, and never more than `max_bytes` is held (but for one parcel that
is larger by itself).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from streams.bulk_sender import Record

_RECORD_OVERHEAD_BYTES = 100
"""About what a waiting record takes beyond its key and value."""


@dataclass(slots=True, eq=False)
class Parcel:
    """Records that were taken in together; `done` is settled once Kafka has them all."""

    records: Sequence[Record]
    size_bytes: int
    since: float
    done: asyncio.Future[None] | None
    taken: int = 0
    """How many of them have left the queue."""
    open: int = 0
    """How many Kafka does not have yet."""


Stretch = tuple[Parcel, int, int]
"""A parcel's records from one index up to another."""


def size_of(records: Sequence[Record]) -> int:
    """Return what *records* count for in the buffer, in bytes."""
    return sum(len(key or b"") + len(value or b"") + _RECORD_OVERHEAD_BYTES for _, key, value in records)


class OutboxBuffer:
    """Takes records in, hands them out in blocks, forgets them when they are settled."""

    def __init__(self, max_bytes: int) -> None:
        """Prepare for at most *max_bytes*."""
        self.max_bytes = max_bytes
        self.held_bytes = self.held_records = 0
        self._queue: deque[Parcel] = deque()
        self._for_room: deque[tuple[Sequence[Record], int, asyncio.Future[None]]] = deque()
        self._work, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()

    def fits(self, size_bytes: int) -> bool:
        """Say whether there is room; an empty buffer has room for anything."""
        return not self._for_room and self._has_room(size_bytes)

    def _has_room(self, size_bytes: int) -> bool:
        return self.held_bytes + size_bytes <= self.max_bytes or not self.held_records

    def offer(self, records: Sequence[Record]) -> asyncio.Future[None] | None:
        """Take *records* in and return what is settled once Kafka has them; None when there is no room."""
        size = size_of(records)
        if not self.fits(size):
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take_in(records, size, done)
        return done

    def toss(self, records: Sequence[Record]) -> bool:
        """Take *records* in if there is room, and say so; nobody waits for them."""
        size = size_of(records)
        if not self.fits(size):
            return False
        self._take_in(records, size, None)
        return True

    async def put(self, records: Sequence[Record]) -> None:
        """Take *records* in as soon as there is room; who waits first is served first."""
        size = size_of(records)
        if self.fits(size):
            self._take_in(records, size, None)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._for_room.append((records, size, turn))
        await turn

    def _take_in(self, records: Sequence[Record], size: int, done: asyncio.Future[None] | None) -> None:
        if not records:
            if done is not None:
                done.set_result(None)
            return
        self._queue.append(Parcel(records, size, time.monotonic(), done, open=len(records)))
        self.held_bytes += size
        self.held_records += len(records)
        self._work.set()
        self._idle.clear()

    @property
    def outside_records(self) -> int:
        """How many wait for room."""
        return sum(len(records) for records, _, _ in self._for_room)

    def next_block(self, most: int) -> list[Stretch]:
        """Take out what waits, at most *most* records."""
        block, room = list[Stretch](), most
        while self._queue and room:
            parcel = self._queue[0]
            until = min(len(parcel.records), parcel.taken + room)
            block.append((parcel, parcel.taken, until))
            room -= until - parcel.taken
            parcel.taken = until
            if until == len(parcel.records):
                self._queue.popleft()
        if not self._queue:
            self._work.clear()
        return block

    def settle(self, block: Sequence[Stretch]) -> None:
        """Forget a block: Kafka has it."""
        for parcel, begin, end in block:
            parcel.open -= end - begin
            self.held_records -= end - begin
            if parcel.open:
                continue
            self.held_bytes -= parcel.size_bytes
            if parcel.done is not None and not parcel.done.done():
                parcel.done.set_result(None)
        while self._for_room and self._has_room(self._for_room[0][1]):
            records, size, turn = self._for_room.popleft()
            self._take_in(records, size, None)
            if not turn.done():
                turn.set_result(None)
        if not self.held_records:
            self._idle.set()

    @property
    def waiting_since(self) -> float | None:
        """When the first of those that wait came (monotonic seconds); None when none does."""
        return self._queue[0].since if self._queue else None
