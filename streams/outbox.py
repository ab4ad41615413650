"""Owns what was accepted from outside and is not in Kafka yet: the one task that empties the buffer.

Invariant: what was taken in stays until every in-sync replica has it, however long Kafka is away, as long as the
process lives; and never more than `max_bytes` is held. Within a partition the order is that of arrival unless Kafka
refuses a batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.bulk_sender import BATCH_BYTES, Record
from streams.kafka_access import Brokers, aiokafka_options, shown
from streams.kafka_trouble import refusal_in, why_shut
from streams.outbox_buffer import OutboxBuffer, Stretch
from streams.patient_client import patient
from streams.sender import partition_of_key

BLOCK_RECORDS = 4_000
"""Most records that leave together; while a block is on its way the next one gathers."""
_FLIGHTS = 2
_ENVELOPE_BYTES = 64
_PAUSES_SECONDS = (0.1, 2.0)
_METADATA_SECONDS = 3.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Group:
    """Records of one partition that fit into one batch."""

    topic: str
    partition: int
    records: list[Record] = field(default_factory=list)
    size_bytes: int = 0


class _Placed(NamedTuple):
    """A group that a producer has, and what is settled once Kafka has it."""

    group: _Group
    delivery: asyncio.Future[object]
    producer: Any


class _NoTopicError(KafkaError):  # type: ignore[misc]  # aiokafka carries no usable types
    """A topic does not exist, or nobody tells."""


async def _why(error: Exception, brokers: Brokers) -> str:
    """Return why there is no connection, in words."""
    if (refusal := refusal_in(error)) is not None:
        return refusal.text
    if isinstance(error, _NoTopicError):
        return str(error.args[0])
    if (trouble := await why_shut(brokers)) is not None and not trouble.away:
        return trouble.text
    return f"no broker answers at {shown(brokers)}: {error or type(error).__name__}"


class Outbox(OutboxBuffer):
    """Takes records in and brings them to Kafka (idempotent, acks from all in-sync replicas, lz4)."""

    def __init__(self, brokers: Brokers, topics: Sequence[str], *, max_bytes: int, client_id: str) -> None:
        """Prepare, without connecting; *topics* must all exist before anything leaves."""
        super().__init__(max_bytes)
        self._brokers, self._topics, self._client_id = brokers, tuple(topics), client_id
        self.trouble = "not connected yet"
        """Why nothing leaves at present; empty when all is well."""
        self._flying: dict[asyncio.Task[None], float] = {}
        self._slots = asyncio.Semaphore(_FLIGHTS)
        self._partitions: dict[str, int] = {}
        self._producer: Any = None
        self._mending = asyncio.Lock()
        self._pump: asyncio.Task[None] | None = None
        self._crashed: asyncio.Future[None]
        self._turn = self._failures = 0

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest record has been waiting for Kafka; 0 when nothing waits."""
        waiting = self.waiting_since
        begun = min([*self._flying.values(), *([] if waiting is None else [waiting])], default=None)
        return 0.0 if begun is None else time.monotonic() - begun

    @property
    def connected(self) -> bool:
        """Whether a producer has been in touch with Kafka and knows the topics."""
        return len(self._partitions) == len(set(self._topics))

    def start(self) -> None:
        """Begin to connect and to send; Kafka may be away."""
        self._crashed = asyncio.get_running_loop().create_future()
        self._pump = asyncio.create_task(self._run(), name="outbox")

    async def crashed(self) -> None:
        """Wait for ever, but raise what brought the sending to its end: a fault of the program."""
        assert self._pump is not None
        await asyncio.wait([self._pump, self._crashed], return_when=asyncio.FIRST_COMPLETED)
        await (self._crashed if self._crashed.done() else self._pump)

    async def stop(self, seconds: float) -> int:
        """Wait up to *seconds* until Kafka has everything; return how many records it does not have."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), max(0.0, seconds))
        tasks = [task for task in (self._pump, *self._flying) if task is not None]
        left = self.held_records + self.outside_records
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._leave(5.0)
        return left

    async def _leave(self, seconds: float) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), seconds)
            except (TimeoutError, KafkaError, OSError):
                # What it still holds is handed to its successor: it must not go on by itself.
                for end in (producer._sender.close, producer.client.close):
                    with contextlib.suppress(TimeoutError, KafkaError, OSError):
                        await asyncio.wait_for(end(), 1.0)

    async def _run(self) -> None:
        await self._mend(None, None)
        while True:
            await self._work.wait()
            await self._slots.acquire()
            block = self.next_block(BLOCK_RECORDS)
            since = block[0][0].since
            placed = [await self._place(group) for group in self._groups(block)]
            task = asyncio.create_task(self._settle(block, placed))
            self._flying[task] = since
            task.add_done_callback(self._landed)

    def _groups(self, block: list[Stretch]) -> list[_Group]:
        """Sort a block's records by partition into groups that fit into a batch, in their order."""
        self._turn += 1
        groups: list[_Group] = []
        current: dict[tuple[str, int], _Group] = {}
        for parcel, begin, end in block:
            for record in parcel.records[begin:end]:
                topic, key, value = record
                count = self._partitions[topic]
                place = topic, (self._turn % count if key is None else partition_of_key(key, count))
                size = len(key or b"") + len(value or b"") + _ENVELOPE_BYTES
                group = current.get(place)
                if group is None or group.size_bytes + size > BATCH_BYTES:
                    group = current[place] = _Group(*place)
                    groups.append(group)
                group.records.append(record)
                group.size_bytes += size
        return groups

    async def _place(self, group: _Group) -> _Placed:
        """Hand a group to the producer. Tries until it is handed over."""
        while True:
            producer = self._producer
            try:
                batch = producer.create_batch()
                for _, key, value in group.records:
                    if batch.append(key=key, value=value, timestamp=None) is None:
                        raise AssertionError("a group of records does not fit into a batch")
                delivery = await producer.send_batch(batch, group.topic, partition=group.partition)
                return _Placed(group, delivery, producer)
            except KafkaTimeoutError:  # an earlier batch of the partition still waits for its broker
                self._say(f"{group.topic} partition {group.partition} takes nothing")
            except KafkaError as error:
                await self._mend(error, producer)

    async def _settle(self, block: list[Stretch], all_placed: list[_Placed]) -> None:
        """Wait until Kafka has the whole block; a group that was refused is handed over again."""
        for first in all_placed:
            placed = first
            while True:
                try:
                    await placed.delivery
                    break
                except KafkaError as error:
                    await self._mend(error, placed.producer)
                    placed = await self._place(placed.group)
        self._say("")
        self._failures = 0
        self.settle(block)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._flying[task]
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None and not self._crashed.done():
            self._crashed.set_exception(error)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            if trouble:
                _log.warning("kafka takes nothing at present", why=trouble, waiting=self.held_records)
            elif self.trouble:
                _log.info("kafka takes what is accepted", waiting=self.held_records)
        self.trouble = trouble

    async def _mend(self, error: KafkaError | None, broken: Any) -> None:
        """Wait a moment, and connect anew unless the producer goes on by itself; return when it may be tried again.

        Args:
            error: What went wrong; None at the start.
            broken: The producer with which it did.
        """
        async with self._mending:
            if self._producer is not broken:
                return  # another one is at work already
            if error is not None:
                refusal = refusal_in(error)
                self._say(refusal.text if refusal else f"{type(error).__name__}: {error}")
                first, longest = _PAUSES_SECONDS
                await asyncio.sleep(min(longest, first * 2 ** min(self._failures, 10)))
                self._failures += 1
                if error.retriable and broken._message_accumulator._exception is None:
                    return
                await self._leave(1.0)
            pause = _PAUSES_SECONDS[0]
            while True:
                try:
                    await self._connect()
                except (KafkaError, OSError) as failure:
                    self._say(await _why(failure, self._brokers))
                    await self._leave(1.0)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _PAUSES_SECONDS[1])
                else:
                    self._say("")
                    return

    async def _connect(self) -> None:
        """Start a producer and learn how many partitions the topics have.

        Raises:
            KafkaError: If no broker answers or a topic is missing.
        """
        self._producer = AIOKafkaProducer(
            **aiokafka_options(self._brokers), client_id=self._client_id, acks="all", enable_idempotence=True,
            compression_type="lz4", max_batch_size=BATCH_BYTES + 50_000, max_request_size=BATCH_BYTES + 100_000,
            request_timeout_ms=15_000,
        )  # fmt: skip
        patient(self._producer)
        await self._producer.start()
        for topic in self._topics:
            try:
                found = await asyncio.wait_for(self._producer.partitions_for(topic), _METADATA_SECONDS)
            except (TimeoutError, KafkaError) as error:
                raise _NoTopicError(f"topic {topic} is not to be had: `orgpulse topics create` makes it") from error
            self._partitions[topic] = len(found)
