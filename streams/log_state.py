"""Owns looking at Kafka from outside of the group: what a compacted topic holds, where logs end, how far a group is.

Invariant: only committed records are seen, nothing is written or committed, and every look ends in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import TopicPartition

from streams.errors import OperatorError
from streams.kafka_access import Brokers, aiokafka_options
from streams.patient_client import patient

_LOOKED_AT = 200  # records of a partition that are worth a look
LONGEST_LOOK_SECONDS = 20.0
"""A transaction that a dead worker left open hides what follows; so long its end is waited for."""


class TopicMissingError(OperatorError):
    """A topic that should be looked at is not there."""


class LookCutShortError(OperatorError):
    """A log could not be read to its end in time."""


@asynccontextmanager
async def looking(bootstrap: Brokers, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a consumer of no group, for one look."""
    consumer = patient(AIOKafkaConsumer(**aiokafka_options(bootstrap), **options))
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def content_of(bootstrap: Brokers, topic: str) -> list[dict[bytes, bytes]]:
    """Return key → last value of a compacted topic, by partition.

    Raises:
        TopicMissingError: If there is no such topic.
        LookCutShortError: If not all of it could be read.
    """
    last = await ends_of(bootstrap, [topic])
    found: list[dict[bytes, bytes]] = [{} for _ in last]
    async for tp, record in stretches(bootstrap, dict.fromkeys(last, 0), last, whole=True):
        if record.value is None:
            found[tp.partition].pop(record.key, None)
        else:
            found[tp.partition][record.key] = record.value
    return found


async def ends_of(bootstrap: Brokers, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Return the offset after the last record of each partition, open transactions included.

    Raises:
        TopicMissingError: If a topic is not there.
    """
    wanted = list(topics)
    admin = AIOKafkaAdminClient(**aiokafka_options(bootstrap))
    await admin.start()
    try:
        described = {found["topic"]: found["partitions"] for found in await admin.describe_topics(wanted)}
    finally:
        await admin.close()
    for topic in wanted:
        if not described.get(topic):
            raise TopicMissingError(f"there is no topic {topic}", "Create it: `orgpulse topics create`")
    async with looking(bootstrap) as consumer:
        parts = [TopicPartition(topic, number) for topic in wanted for number in range(len(described[topic]))]
        ends: dict[TopicPartition, int] = await consumer.end_offsets(parts)
        return ends


async def committed_of(bootstrap: Brokers, group: str) -> dict[TopicPartition, int]:
    """Return the offsets that *group* has committed; none if nobody was ever in it."""
    admin = AIOKafkaAdminClient(**aiokafka_options(bootstrap))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        return {}
    finally:
        await admin.close()
    return {tp: found.offset for tp, found in offsets.items() if found.offset >= 0}


async def starts_of(bootstrap: Brokers, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Return the offset of the first record that is still there, of each partition.

    Raises:
        TopicMissingError: If a topic is not there.
    """
    partitions = list(await ends_of(bootstrap, topics))
    async with looking(bootstrap) as consumer:
        return dict(await consumer.beginning_offsets(partitions))


async def first_from(
    bootstrap: Brokers, partitions: Iterable[TopicPartition], from_ms: int
) -> dict[TopicPartition, int]:
    """Return the offset of the first record stamped *from_ms* (epoch) or later; partitions without one are left out."""
    async with looking(bootstrap) as consumer:
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, from_ms))
    return {tp: first.offset for tp, first in found.items() if first is not None}


async def unread_of(bootstrap: Brokers, group: str, topics: Iterable[str]) -> int:
    """Return about how many records *group* has not handled yet; 0 is exact.

    The end of a log may be a transaction's mark, which no offset is ever committed for: when little is left it is
    looked at. Ends are asked for last: what led from one topic to the next meanwhile would be missed by both.
    """
    done = await committed_of(bootstrap, group)
    ends = await ends_of(bootstrap, topics)
    firsts = await starts_of(bootstrap, topics)
    places = {tp: max(done.get(tp, 0), firsts[tp]) for tp in ends}
    left = {tp: end - places[tp] for tp, end in ends.items() if end > places[tp]}
    if sum(left.values()) > _LOOKED_AT * len(left):
        return sum(left.values())
    found = 0
    async for _ in stretches(bootstrap, {tp: places[tp] for tp in left}, {tp: ends[tp] for tp in left}, whole=True):
        found += 1
    return found


async def oldest_ms_of(bootstrap: Brokers, topics: Iterable[str]) -> int | None:
    """Return when the oldest record that is still there came in (ms since the epoch), None when there is none.

    Raises:
        TopicMissingError: If a topic is not there.
    """
    partitions = list(await ends_of(bootstrap, topics))
    async with looking(bootstrap) as consumer:
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, 0))
    return min((first.timestamp for first in found.values() if first is not None), default=None)


async def stretches(
    bootstrap: Brokers, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], *, whole: bool = False
) -> AsyncIterator[tuple[TopicPartition, Any]]:
    """Yield (partition, record) of what lies from *starts* up to *ends*, as far as it is committed and still there.

    Raises:
        LookCutShortError: If *whole* is wanted and the look ended before all was seen.
    """
    parts = [tp for tp in starts if starts[tp] < ends[tp]]
    if not parts:
        return
    options = {
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": 100,
    }
    clock = asyncio.get_running_loop()
    async with looking(bootstrap, **options) as consumer:
        consumer.assign(parts)
        for tp in parts:
            consumer.seek(tp, starts[tp])
        until = clock.time() + LONGEST_LOOK_SECONDS
        while parts and clock.time() < until:
            for tp, records in (await consumer.getmany(*parts, timeout_ms=200)).items():
                for record in records:
                    if record.offset < ends[tp]:
                        yield tp, record
                until = clock.time() + LONGEST_LOOK_SECONDS
            parts = [tp for tp in parts if await consumer.position(tp) < ends[tp]]
        if parts and whole:
            raise LookCutShortError(
                f"{parts[0].topic}-{parts[0].partition} could not be read to its end within {LONGEST_LOOK_SECONDS:g} s",
                "A transaction is still open there, or a broker is slow: try again in a minute.",
            )
