"""Owns the thread that talks to Kafka for the consumer: fetches, positions, seeks.

Invariant: only committed records are read, and no position is ever reset in
silence: each start is sought explicitly, and a log that shrank is an error.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import MethodQueue
from mode.utils.futures import maybe_set_exception

from streams.patient_client import check_alive, patient
from streams.recovery import ShrunkenLogError, checked_start
from streams.topic_ids import Layout, check_note, layouts

#: How long the broker may hold a fetch back (milliseconds) until so many bytes wait. A fetch under way
#: delays the next one of a partition that is not part of it, so Faust's 1,500 is felt as latency; without
#: the bytes each record that comes alone would be a chunk of its own, with all that a chunk costs.
FETCH_WAIT_MS = 100
FETCH_MIN_BYTES = 256 * 1024


class Fetched(NamedTuple):
    """One fetch: records by partition, and where each wanted partition is read next."""

    records: Mapping[TP, list[Any]]
    positions: Mapping[TP, int]


class Wanted:
    """The partitions one fetch may take records from, for as long as it is not stale.

    aiokafka asks again each time it looks into its buffer. A plain set would let a
    fetch that waits across a rebalance take records of the new assignment, which
    are then thrown away as stale although nobody seeks back to them.
    """

    def __init__(self, tps: frozenset[TP], is_stale: Callable[[], bool]) -> None:
        self.tps = tps
        self._is_stale = is_stale

    def __contains__(self, tp: object) -> bool:
        return tp in self.tps and not self._is_stale()


class Start(NamedTuple):
    """Where a source partition begins after an assignment."""

    committed: int | None
    offset: int


class _WholeBatches(PartitionRecords):  # type: ignore[misc]  # aiokafka carries no usable types
    """What was fetched of one partition, handed out by record batch.

    aiokafka goes from record to record and builds a Python object for each, from a Cython one that already has all
    that agents need. Handing those out a batch at a time saves a third of the time.
    """

    next_fetch_offset: int

    def take(self) -> list[Any]:
        """Return all records that are committed and not before the position, which moves behind them.

        Raises:
            CorruptRecordException: If a batch is not what its checksum says.
        """
        taken: list[Any] = []
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"the checksum of a batch of {self._tp} is wrong")
            if not self._is_skipped(batch):
                some = list(batch)
                if some and some[0].offset < self.next_fetch_offset:  # a batch is fetched whole
                    some = [record for record in some if record.offset >= self.next_fetch_offset]
                taken += some
            self.next_fetch_offset = batch.next_offset
        return taken

    def _is_skipped(self, batch: Any) -> bool:
        """Say whether *batch* is a marker or part of an aborted transaction."""
        if batch.producer_id is None:
            return bool(batch.is_control_batch)
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch:
            if self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            return True
        return batch.is_transactional and batch.producer_id in self._aborted_producers


class _RawResults(OrderedDict[Any, Any]):
    """aiokafka's buffer of fetches, whose records leave as they are, in whole batches."""

    def __setitem__(self, tp: Any, result: Any) -> None:
        if isinstance(result, FetchResult):
            result._partition_records.__class__ = _WholeBatches
            result.getall = partial(_take_all, result)
        super().__setitem__(tp, result)


def _take_all(result: Any, max_records: int | None = None) -> list[Any]:
    """Return all that *result* holds, unless its partition has gone or was sought elsewhere since."""
    assert max_records is None, "chunks are cut later"
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return []
    taken: list[Any] = result._partition_records.take()
    result._update_position()
    result._partition_records = None
    return taken


class Questions(MethodQueue):  # type: ignore[misc,unused-ignore]  # mode carries no usable types
    """What the worker asks of the thread; asked after its end, a question is cancelled.

    mode's own queue takes questions that nobody will answer any more. A rebalance in the
    middle of the end asks such a one, and the thread, which leaves the group first, waits
    for the rebalance: both for a minute.
    """

    _closed = False

    async def on_stop(self) -> None:
        """Answer what was asked before, and nothing from now on."""
        self._closed = True
        await super().on_stop()

    async def call(self, promise: asyncio.Future[Any], fun: Any, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Ask the thread to run *fun*; its outcome will be *promise*'s."""
        if self._closed:
            promise.cancel()
            return promise
        await super().call(promise, fun, *args, **kwargs)
        return promise

    def _queue_put(self, method: Any) -> None:
        if self._closed:
            promise = method.promise
            promise.get_loop().call_soon_threadsafe(promise.cancel)
            return
        super()._queue_put(method)


class ChunkThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust carries no usable types
    """The thread that talks to Kafka; all that touches aiokafka's state runs in its loop."""

    _method_queue: Questions | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        """Bring a loop of its own, for then mode's thread does not close it at its end.

        Others may still wake it and its connections may be open, if the worker fails. The loop goes with the process.
        """
        super().__init__(*args, thread_loop=asyncio.new_event_loop(), **options)

    @property
    def method_queue(self) -> Questions:
        """What is asked of this thread."""
        if self._method_queue is None:
            self._method_queue = Questions(loop=self.thread_loop, beacon=self.beacon)
        return self._method_queue

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms, consumer._fetch_min_bytes = FETCH_WAIT_MS, FETCH_MIN_BYTES
        # Never reset a position in silence: every start is sought explicitly (`seek_sources`).
        consumer._auto_offset_reset = "none"
        return patient(consumer)

    def close(self) -> None:
        """Close nothing: Faust calls this, in the main thread, when a rebalance comes while the worker stops.

        Its own version closes the connections there, in a loop that is not theirs, and a worker was seen to die of it.
        The thread closes them at its end.
        """

    async def crash(self, reason: BaseException) -> None:
        """Have the app fail, in its own thread; what belongs to another loop is not to be touched from here."""
        self.parent_loop.call_soon_threadsafe(self._fail_there, reason)

    def _fail_there(self, reason: BaseException) -> None:
        maybe_set_exception(self._thread_running, reason)
        self._failing = asyncio.ensure_future(self.app.crash(reason))

    def _crash(self, reason: BaseException) -> None:
        self.thread_loop.call_soon_threadsafe(super()._crash, reason)

    async def on_start(self) -> None:
        """Start aiokafka's consumer and take the per-record wrapping out of it."""
        await super().on_start()
        self._ensure_consumer()._fetcher._records = _RawResults()

    async def fetch(self, wanted: Wanted, timeout: float) -> Fetched:
        """Return what is there for *wanted*, waiting at most *timeout* seconds."""
        fetched: Fetched = await self.call_thread(self._fetch, wanted, timeout)
        return fetched

    async def _fetch(self, wanted: Wanted, timeout: float) -> Fetched:
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if not self.consumer.flow_active:
            return Fetched({}, {})
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError()
        check_alive(fetcher)
        with fetcher._subscriptions.fetch_context():
            try:
                records = await fetcher.fetched_records(wanted, timeout)
            except NoOffsetForPartitionError:
                # A rebalance came in between and this partition is not sought yet; it will be.
                return Fetched({}, {})
            except OffsetOutOfRangeError as error:
                raise ShrunkenLogError(f"records that were not read yet are gone: {error}") from error
        return Fetched({TP(*tp): some for tp, some in records.items()}, self._positions(wanted.tps))

    def _positions(self, tps: frozenset[TP]) -> dict[TP, int]:
        positions: dict[TP, int] = {}
        for tp in tps:
            state = self.state_of(tp)
            if state is not None and state.has_valid_position:
                positions[tp] = state.position
        return positions

    def state_of(self, tp: TP) -> Any:
        """Return aiokafka's read state of *tp*, or None when it is not assigned."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or tp not in assignment.tps:
            return None
        return assignment.state_value(driver.ensure_aiokafka_TP(tp))

    async def seek_sources(self, tps: set[TP], now: Mapping[str, Layout]) -> dict[TP, Start]:
        """Seek each of *tps* to its committed offset, or to the log's beginning where there is none.

        Raises:
            ShrunkenLogError: If a committed offset lies outside of its log.
            RecreatedTopicError: If it was committed for other topics than are there *now*.
        """
        starts: dict[TP, Start] = await self.call_thread(self._seek_sources, tps, now)
        return starts

    async def _seek_sources(self, tps: set[TP], now: Mapping[str, Layout]) -> dict[TP, Start]:
        consumer = self._ensure_consumer()
        wanted = [driver.ensure_aiokafka_TP(tp) for tp in tps]
        found = await consumer._coordinator.fetch_committed_offsets(wanted)
        first = await consumer.beginning_offsets(wanted)
        end = await consumer.end_offsets(wanted)
        starts: dict[TP, Start] = {}
        for key in wanted:
            offset = found[key].offset if key in found else -1
            if key in found:
                check_note(key.topic, found[key].metadata, now)
            committed = None if offset < 0 else offset
            start = Start(committed, checked_start(TP(*key), committed, first[key], end[key]))
            consumer.seek(key, start.offset)
            starts[TP(*key)] = start
        return starts

    async def first_offsets(self, tps: set[TP]) -> dict[TP, int]:
        """Return where the log of each of *tps* begins."""
        return await self._offsets("beginning_offsets", tps)

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Return the end of what may be read of each of *tps*; asks the brokers, whatever was fetched."""
        return await self._offsets("end_offsets", tps)

    async def _offsets(self, question: str, tps: Iterable[TP]) -> dict[TP, int]:
        wanted = [driver.ensure_aiokafka_TP(tp) for tp in tps]
        if not wanted:
            return {}
        found = await self.call_thread(getattr(self._ensure_consumer(), question), wanted)
        return {TP(*tp): offset for tp, offset in found.items()}

    def buffered(self) -> list[str]:
        """Return the partitions whose records were fetched but not handed out."""
        return sorted(str(tuple(tp)) for tp in list(self._ensure_consumer()._fetcher._records))

    async def layouts(self, topics: Iterable[str]) -> dict[str, Layout]:
        """Return id and partitions of each of *topics*, no partitions where there is none; asks a broker."""
        found: dict[str, Layout] = await self.call_thread(self._layouts, list(topics))
        return found

    async def _layouts(self, topics: list[str]) -> dict[str, Layout]:
        return await layouts(self._ensure_consumer()._client, topics)

    async def pause_fetching(self, tps: set[TP]) -> None:
        """Stop fetching *tps* ahead until the next assignment, so that they hold no memory."""
        await self.call_thread(self._pause_fetching, tps)

    async def _pause_fetching(self, tps: set[TP]) -> None:
        consumer = self._ensure_consumer()
        consumer.pause(*(driver.ensure_aiokafka_TP(tp) for tp in tps if tp in consumer.assignment()))
