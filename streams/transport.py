"""Owns the way of records from Kafka to an agent: whole fetched chunks of one partition.

Invariant: between two rebalances the chunks of a partition reach the agent in
order and without a hole, and no offset of a source topic is ever committed here
(`streams.transactions` does that, together with the chunk's effect).

Importing this module registers the broker scheme `kchunk`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Protocol

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.consumer_thread import ChunkThread, Fetched, Wanted
from streams.held_back import HeldBack

#: Chunks waiting for one agent; more would only hide that it is slow.
QUEUED_CHUNKS = 8
#: How long one fetch waits for records (seconds), live and while tables recover. The first
#: is also how long a fetch that began before a rebalance can hold up what comes after it.
LIVE_WAIT_SECONDS = 0.25
RECOVERY_WAIT_SECONDS = 0.05


class Record(Protocol):
    """What a record of a chunk offers; `timestamp` is milliseconds since the epoch."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...


class Chunk(ConsumerMessage):  # type: ignore[misc]  # Faust carries no usable types
    """Consecutive records of one topic partition that travel through Faust as one message.

    `offset` is the last record's offset, `next_offset` the one to read after the
    chunk (past transaction markers that are already known), `begin` the former
    chunk's `next_offset` or where reading started; `done` is set when the chunk's
    outcome is committed, or when it has none.
    """

    tp: TP
    offset: int

    def __init__(
        self, tp: TP, records: Sequence[Record], next_offset: int, generation_id: int, begin: int | None = None
    ) -> None:
        last: Any = records[-1]
        super().__init__(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            records,
            None,
            tp=tp,
            generation_id=generation_id,
        )
        self.records = records
        self.first_offset = records[0].offset
        self.begin = self.first_offset if begin is None else begin
        self.next_offset = next_offset
        self.done = False


class ChunkSchema(faust.Schema):  # type: ignore[misc]  # Faust carries no usable types
    """Hands a chunk to the stream as it is; decoding is the agent's work."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return the decode function; Faust's own would run every value through a codec."""
        create_event = app.create_event

        async def decode(message: Chunk, *, propagate: bool = False) -> Any:
            return create_event(None, message.records, None, message)

        return decode


class ChunkConsumer(driver.Consumer):  # type: ignore[misc]  # Faust carries no usable types
    """Faust's consumer, with chunks for messages and without commits of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._handed_out: dict[TP, int] = {}
        self._reading_from: dict[TP, int] = {}

    def last_handed_out(self, tp: TP) -> int:
        """Return the offset after the last chunk of *tp* since the assignment, or 0."""
        return self._handed_out.get(tp, 0)

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Chunk]]:
        """Yield fetched chunks; changelog records go straight to the recovery.

        Faust's *timeout* is not used: how long to wait depends on what is read.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        generation: int = self.app.consumer_generation_id
        tps = frozenset(self._get_active_partitions())
        if not tps:
            await self.sleep(RECOVERY_WAIT_SECONDS)
            return
        wait = RECOVERY_WAIT_SECONDS if self.app.in_recovery else LIVE_WAIT_SECONDS
        held: HeldBack | None = self.app.held_back
        if held is not None:
            held.use(generation, self.assignment)
            for chunk in held.due(tps):
                if self._is_stale(generation):
                    return
                yield self._handed(chunk)
            if waiting := held.waiting():
                tps, wait = tps - waiting, min(wait, held.wait_seconds())
            if not tps:
                await self.sleep(max(wait, RECOVERY_WAIT_SECONDS))
                return
        wanted = Wanted(tps, lambda: self._is_stale(generation))
        fetched: Fetched = await self._thread.fetch(wanted, wait)
        if self._is_stale(generation):
            return
        self.app.tables.recovery.take(fetched)
        for chunk in self._cut(fetched, generation):
            if self._is_stale(generation):
                return
            if held is not None and held.holds(chunk.tp):
                held.keep(chunk)
            else:
                yield self._handed(chunk)

    def _handed(self, chunk: Chunk) -> tuple[TP, Chunk]:
        """Note that *chunk* is the next of its partition that an agent gets."""
        chunk.begin = self._handed_out.get(chunk.tp, self._reading_from.get(chunk.tp, chunk.first_offset))
        self._handed_out[chunk.tp] = chunk.next_offset
        return chunk.tp, chunk

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand chunks to the streams until the fetcher stops.

        Faust's own loop drops, in silence, a message that ends before the last one it
        saw. Across a rebalance that is a chunk that waited for room: it counts as seen
        although it goes, and when it is read again, cut shorter, it is taken for old.
        Here every chunk of the present assignment is handed on.
        """
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                async for _, chunk in self.getmany(timeout=LIVE_WAIT_SECONDS):
                    await self.wait_first(self.callback(chunk), self.suspend_flow.wait())
                await asyncio.sleep(0)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    def _is_stale(self, generation: int) -> bool:
        """Say whether records of *generation* may no longer be handed out.

        What is dropped here is read again: a new assignment seeks anew.
        """
        return bool(self.should_stop or not self.flow_active or generation != self.app.consumer_generation_id)

    def _cut(self, fetched: Fetched, generation: int) -> Iterator[Chunk]:
        """Cut each partition's records to `max_chunk`, or what the quota says, and go round the partitions."""
        most: int = self.app.max_chunk
        held: HeldBack | None = self.app.held_back
        rows = []
        for tp, records in fetched.records.items():
            if self._is_changelog_tp(tp):
                continue
            after = fetched.positions.get(tp, records[-1].offset + 1)
            row = []
            size = held.chunk_records(most) if held is not None and held.holds(tp) else most
            for begin in range(0, len(records), size):
                some = records[begin : begin + size]
                is_last = begin + size >= len(records)
                row.append(Chunk(tp, some, after if is_last else some[-1].offset + 1, generation))
            rows.append(row)
        for column in zip_longest(*rows):
            yield from (chunk for chunk in column if chunk is not None)

    async def perform_seek(self) -> None:
        """Seek the source partitions to where their next records are (see `seek_sources`)."""
        tps = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        if self.app.held_back is not None:
            self.app.held_back.forget()
        if not tps:
            return
        origins = self.app.origins
        if origins is not None:
            origins.check_topics({tp.partition for tp in tps}, self.app.layouts)
        for tp, start in (await self._thread.seek_sources(tps, self.app.layouts)).items():
            if origins is not None:
                origins.check(tp, start.committed)
            self._read_offset[tp] = start.offset or None
            self._committed_offset[tp] = start.committed
            self._handed_out.pop(tp, None)
            self._reading_from[tp] = self.app.chunks.handled[tp] = start.offset

    def committed_offset(self, tp: TP) -> int | None:
        """Return the committed offset of *tp* as of the last assignment, or None."""
        offset: int | None = self._committed_offset[tp]
        return offset

    def _new_offset(self, tp: TP) -> int | None:
        """Commit nothing: offsets leave in the chunk's transaction only."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Record no gap: chunks are whole, and holes between them are markers and compaction."""

    async def on_task_error(self, exc: BaseException) -> None:
        """Stop the worker; Faust would commit here and go on."""
        await self.app.crash(exc)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Stay silent: Faust's check misses the commits that it makes itself."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish what is under way and let the producers go before the group moves on."""
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        await self.app.release(revoked)
        with self._ending():
            await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take the right to write first; only then may anything be read."""
        self.stop_flow()
        self.app.flow_control.suspend()
        with self._ending():
            changelogs = {tp for tp in assigned if self._is_changelog_tp(tp)}
            if await self.app.take_over(assigned - changelogs, changelogs):
                await super().on_partitions_assigned(assigned, generation_id)

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Let a step of a rebalance end early when the worker stops.

        The consumer's thread cancels what it is asked for when it ends; the
        cancellation would come back to it as the rebalance's outcome and end it
        before it has left the group and told that it is gone.
        """
        try:
            yield
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise


class Transport(driver.Transport):  # type: ignore[misc]  # Faust carries no usable types
    """Faust's aiokafka transport with our consumer."""

    Consumer = ChunkConsumer


TRANSPORTS.data["kchunk"] = "streams.transport:Transport"
