"""Owns the transactional producers: one for each lane of input partitions this worker owns.

A lane is what one worker always owns together, so that one producer may write for all of it. Invariant: what chunks
stage and the offsets after them go out in one Kafka transaction, or not at all. Nothing is retried once the end of a
transaction has been asked for, because its outcome is then unknown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.errors import OperatorError
from streams.kafka_access import Brokers, aiokafka_options
from streams.lanes import LaneOf, own_lane
from streams.patient_client import PatientSender, patient

log = logging.getLogger(__name__)

#: Errors that say another worker holds our right to write.
FENCED = (ProducerFenced, InvalidProducerEpoch, InvalidProducerIdMapping, OutOfOrderSequenceNumber)


class Outgoing(NamedTuple):
    """One record that leaves inside a transaction; the partition is explicit, keys are bytes."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class CommitFailedError(RuntimeError):
    """A transaction could not be finished; the worker must stop and start anew from what is committed."""


class FencedError(CommitFailedError):
    """The right to write is gone: another worker owns the partition now, or the broker gave up waiting for this one."""


class NotOwnedError(CommitFailedError):
    """A commit for a partition this worker does not own."""


class RecordTooLargeError(OperatorError, CommitFailedError):
    """A staged record is larger than `max_record_bytes`; sending it could never succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, "Raise [kafka] max_message_bytes on all workers, then run `orgpulse topics create --repair`."
        )


@dataclass(frozen=True, slots=True)
class TransactionSettings:
    """Limits of the transactional producers."""

    transaction_timeout_seconds: float = 10.0
    request_timeout_seconds: float = 8.0
    #: A commit that has not ended after this is given up, and the worker with it.
    give_up_seconds: float = 30.0
    #: Tries before the end of the transaction is asked for; the pause doubles from the first one.
    attempts: int = 4
    first_pause_seconds: float = 0.1
    #: Starting a producer waits for the former owner's transaction to end.
    start_seconds: float = 60.0
    max_batch_bytes: int = 512 * 1024
    max_record_bytes: int = 1_000_000
    compression: str | None = "lz4"


async def all_of(steps: Iterable[Awaitable[Any]]) -> None:
    """Wait for all of *steps* to end, then raise the error that matters most, if any.

    None may go on in the background of an abort, and being fenced outweighs what
    follows from it.
    """
    errors = [out for out in await asyncio.gather(*steps, return_exceptions=True) if isinstance(out, BaseException)]
    for error in errors:
        if isinstance(error, FENCED):
            raise error
    if errors:
        raise errors[0]


class Transactions:
    """The transactional producers of one worker, by lane."""

    def __init__(
        self,
        bootstrap: Brokers,
        group: str,
        settings: TransactionSettings | None = None,
        lane_of: LaneOf = own_lane,
    ) -> None:
        """Prepare, without connecting; *lane_of* a partition is part of the producer's `transactional.id`."""
        self.lane_of = lane_of
        self.bootstrap = bootstrap
        self.group = group
        self.settings = settings or TransactionSettings()
        #: What goes with every offset of a topic, to tell later which topics it belongs to.
        self.notes: dict[str, str] = {}
        #: Offset of the next record to read, by partition, as last committed by this worker.
        self.committed: dict[TP, int] = {}
        #: Transactions that were committed since the start, and those begun again after an abort.
        self.commits = 0
        self.retries = 0
        self._owned: set[TP] = set()
        self._producers: dict[str, Any] = {}
        self._began: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def owned(self) -> frozenset[TP]:
        """Partitions whose producer runs."""
        return frozenset(self._owned)

    def slowest(self) -> tuple[str, float]:
        """Return the lane whose commit has been under way for longest, and for how many seconds."""
        if not self._began:
            return "", 0.0
        lane = min(self._began, key=self._began.__getitem__)
        return lane, time.monotonic() - self._began[lane]

    async def own(self, tps: Iterable[TP]) -> None:
        """Start a producer for each lane of *tps*, which ends every former owner's right to write.

        Must return before committed offsets or changelog ends are read: until the
        former owner's open transaction has ended, both are stale.

        Raises:
            CommitFailedError: If a producer does not start within `start_seconds`.
        """
        wanted = set(tps)
        lanes = sorted({self.lane_of(tp) for tp in wanted} - self._producers.keys())
        try:
            async with asyncio.timeout(self.settings.start_seconds):
                await asyncio.gather(*(self._start(lane) for lane in lanes))
        except (TimeoutError, KafkaError) as error:
            raise CommitFailedError(f"transactional producers did not start: {error!r}") from error
        self._owned |= wanted

    async def disown(self, tps: Iterable[TP]) -> None:
        """Give up *tps*, and stop the producers of lanes of which nothing is left; a commit under way ends first."""
        left = set(tps) & self._owned
        lanes = {self.lane_of(tp) for tp in left} - {self.lane_of(tp) for tp in self._owned - left}
        await asyncio.gather(*(self._stop(lane) for lane in lanes))
        self._owned -= left
        for tp in left:
            self.committed.pop(tp, None)

    async def commit(self, tp: TP, next_offset: int, records: Sequence[Outgoing]) -> None:
        """Write *records* and the offset *next_offset* of *tp* in one transaction (see `commit_all`)."""
        await self.commit_all({tp: next_offset}, records)

    async def commit_all(self, offsets: Mapping[TP, int], records: Sequence[Outgoing]) -> None:
        """Write *records* and the next *offsets* of partitions of one lane in one transaction.

        Raises:
            NotOwnedError: If this worker does not own all of the partitions.
            FencedError: If another worker owns them by now.
            RecordTooLargeError: If one of *records* is over the limit.
            CommitFailedError: If the transaction did not end in time. What became of
                it is unknown; only a restart finds out.
        """
        (lane,) = {self.lane_of(tp) for tp in offsets}
        async with self._locks[lane]:
            for tp in offsets:
                if tp not in self._owned:
                    raise NotOwnedError(f"{tp.topic}-{tp.partition} is not owned by this worker")
            producer = self._producers[lane]
            self._check_sizes(records)
            self._began[lane] = producer._sender.began = time.monotonic()
            where = ", ".join(f"{tp.topic}-{tp.partition} at {offset}" for tp, offset in offsets.items())
            try:
                async with asyncio.timeout(self.settings.give_up_seconds):
                    await self._stage_with_patience(producer, offsets, records)
                    await producer.commit_transaction()
            except FENCED as error:
                raise FencedError(f"{where} is another worker's by now, or took too long: {error!r}") from error
            except (KafkaError, TimeoutError) as error:
                raise CommitFailedError(f"commit of {where}: {error!r}") from error
            finally:
                del self._began[lane]
            self.committed.update(offsets)
            self.commits += 1

    def _check_sizes(self, records: Sequence[Outgoing]) -> None:
        limit = self.settings.max_record_bytes
        for topic, partition, key, value in records:
            size = len(key or b"") + len(value or b"")
            if size > limit:
                raise RecordTooLargeError(f"a record for {topic}-{partition} has {size} bytes, the limit is {limit}")

    async def _stage_with_patience(self, producer: Any, offsets: Mapping[TP, int], records: Sequence[Outgoing]) -> None:
        """Send all of a transaction but its end, again after an abort while the error may pass."""
        noted = {TopicPartition(*tp): (offset, self.notes.get(tp.topic, "")) for tp, offset in offsets.items()}
        pause = self.settings.first_pause_seconds
        for attempt in range(1, self.settings.attempts + 1):
            await producer.begin_transaction()
            try:
                await self._send(producer, records)
                await producer.send_offsets_to_transaction(noted, self.group)
                return
            except FENCED:
                raise
            except KafkaError as error:
                if not error.retriable or attempt == self.settings.attempts:
                    raise
                log.warning("transaction of %s aborted, try %d: %r", ", ".join(map(own_lane, offsets)), attempt, error)
            await producer.abort_transaction()
            self.retries += 1
            await asyncio.sleep(pause)
            pause *= 2

    async def _send(self, producer: Any, records: Sequence[Outgoing]) -> None:
        """Send *records* and wait for every acknowledgement; the order within a partition is kept."""
        if not records:
            return
        by_partition: defaultdict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for record in records:
            by_partition[record[0], record[1]].append(record)
        await all_of(self._send_partition(producer, *to, some) for to, some in by_partition.items())

    async def _send_partition(self, producer: Any, topic: str, partition: int, records: list[Outgoing]) -> None:
        """Pack *records* into whole batches ourselves: one await a batch instead of one a record."""
        acks = []
        batch = producer.create_batch()
        for _, _, key, value in records:
            if batch.append(timestamp=None, key=key, value=value) is None:
                acks.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        acks.append(await producer.send_batch(batch, topic, partition=partition))
        await all_of(acks)

    async def _start(self, lane: str) -> None:
        settings = self.settings
        producer: Any = AIOKafkaProducer(
            **aiokafka_options(self.bootstrap),
            transactional_id=f"{self.group}-{lane}",
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            compression_type=settings.compression,
            max_batch_size=settings.max_batch_bytes,
            max_request_size=2 * max(settings.max_record_bytes, settings.max_batch_bytes),
            transaction_timeout_ms=int(settings.transaction_timeout_seconds * 1000),
            request_timeout_ms=int(settings.request_timeout_seconds * 1000),
        )
        # The broker ends a transaction a moment after it said so; the next one is asked for until then, soon at first.
        patient(producer)._sender.__class__ = PatientSender
        producer._sender.began = time.monotonic()
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producers[lane] = producer

    async def _stop(self, lane: str) -> None:
        async with self._locks[lane]:
            producer = self._producers.pop(lane, None)
            if producer is not None:
                await producer.stop()
