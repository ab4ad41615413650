"""Owns plain reading of a topic outside of the group: a stretch of one partition, or whole topics for ever.

Invariant: only committed records are handed out, and nothing is ever committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.errors import REBUILD, OperatorError
from streams.kafka_access import Brokers, aiokafka_options
from streams.patient_client import check_alive, patient
from streams.task_service import TaskService

_log = structlog.get_logger(__name__)
_FETCH_BYTES = 4 * 1024 * 1024
_LONGEST_PAUSE_SECONDS = 10.0
_ASK_SECONDS = 10.0
STANDSTILL_SECONDS = 30.0
"""A reader that has got nowhere for this long, though there is more, is taken for broken and made anew."""


class StandstillError(KafkaError):  # type: ignore[misc,unused-ignore]  # aiokafka carries no usable types
    """A consumer hands out nothing although there is something."""


class LogTruncatedError(OperatorError):
    """The log no longer holds what has to be replayed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, REBUILD)


def plain_consumer(bootstrap: Brokers, *topics: str) -> AIOKafkaConsumer:
    """Return a consumer without a group; given *topics*, it gets all their partitions."""
    consumer = AIOKafkaConsumer(
        *topics,
        **aiokafka_options(bootstrap),
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest" if topics else "none",
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_wait_ms=200,
    )
    return patient(consumer)


class _Progress:
    """Notices that a consumer stands still."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._place: object = None
        self._since = time.monotonic()

    def check(self, place: object) -> None:
        """Look where it stands, as long as there is more to read; None = there is not.

        Raises:
            KafkaError: If it has been standing there for too long, or no longer fetches.
        """
        check_alive(self._consumer._fetcher)
        now = time.monotonic()
        if place is None or place != self._place:
            self._place, self._since = place, now
        elif now - self._since > STANDSTILL_SECONDS:
            raise StandstillError(f"nothing was read for {now - self._since:.0f} s")


async def read_stretch(
    bootstrap: Brokers, topic: str, partition: int, start: int, end: int
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield (offset, value) of the records from *start* up to *end*, exclusive.

    Raises:
        LogTruncatedError: If records from *start* on are gone, or *end* lies beyond the log.
    """
    if start >= end:
        return
    consumer = plain_consumer(bootstrap)
    await consumer.start()
    try:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        first, last = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
        if start < first or end > last:
            raise LogTruncatedError(
                f"{topic}-{partition} holds offsets {first} to {last}, but {start} to {end} are needed to restore its "
                "shard: its retention is shorter than the time since the last checkpoint, or the topic was made anew"
            )
        consumer.seek(tp, start)
        progress = _Progress(consumer)
        while (place := await consumer.position(tp)) < end:
            progress.check(place)
            fetched = await consumer.getmany(tp, timeout_ms=500)
            for record in fetched.get(tp, ()):
                if record.offset >= end:
                    return
                if record.value is not None:
                    yield record.offset, record.value
    finally:
        await consumer.stop()


Take = Callable[[str, Any], None]


class Follower(TaskService):
    """Reads compacted topics from their beginning and then follows them; a service with start and stop."""

    def __init__(self, bootstrap: Brokers, topics: Sequence[str], take: Take) -> None:
        """Prepare; *take* gets (topic, record) of every record, in order by partition."""
        self._bootstrap, self._topics, self._take = bootstrap, list(topics), take
        self._caught_up = asyncio.Event()
        self.last_error = ""

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was there at the start has been read."""
        return self._caught_up.is_set()

    async def start(self) -> None:
        """Begin, and return once everything that was there has been read."""
        await super().start()
        await self._caught_up.wait()

    async def _run(self) -> None:
        pause = 0.5
        while True:
            try:
                await self._read()
            except (KafkaError, OSError, TimeoutError) as error:
                self.last_error = repr(error)
                _log.warning("the directory can't be read; trying again", error=repr(error), pause_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _read(self) -> None:
        consumer = plain_consumer(self._bootstrap, *self._topics)
        await consumer.start()
        try:
            tps = sorted(consumer.assignment())
            missing = set(self._topics) - {tp.topic for tp in tps}
            if missing:
                raise KafkaError(f"no topic {', '.join(sorted(missing))}")
            ends = await consumer.end_offsets(tps)
            await consumer.seek_to_beginning(*tps)
            progress, asked_at = _Progress(consumer), time.monotonic()
            while True:
                async with asyncio.timeout(STANDSTILL_SECONDS):
                    places = [await consumer.position(tp) for tp in tps]
                behind = any(place < ends[tp] for place, tp in zip(places, tps, strict=True))
                if not behind and not self._caught_up.is_set():
                    self._caught_up.set()
                    self.last_error = ""
                progress.check(places if behind else None)
                fetched = await consumer.getmany(timeout_ms=200, max_records=5000)
                for tp, records in fetched.items():
                    for record in records:
                        self._take(tp.topic, record)
                if time.monotonic() - asked_at > _ASK_SECONDS:
                    ends, asked_at = await consumer.end_offsets(tps), time.monotonic()
                await asyncio.sleep(0)
        finally:
            await consumer.stop()
