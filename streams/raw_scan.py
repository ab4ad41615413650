"""Owns looking at logs as they lie there: every record, committed or not, with key, value and headers.

Invariant: nothing is written or committed and no group is joined; what is yielded ends where the logs ended when the
look began, and a look that could not get there says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from streams.kafka_access import Brokers, aiokafka_options
from streams.log_state import LookCutShortError, ends_of, looking, starts_of
from streams.settings import Settings
from streams.topics import connected_admin

_STANDSTILL_SECONDS = 60.0
_FETCH_BYTES = 4 * 1024 * 1024


class Extent(NamedTuple):
    """What there is of a partition: the offset of its first record, and after its last."""

    start: int
    end: int


async def extents_of(brokers: Brokers, topics: Iterable[str]) -> dict[TopicPartition, Extent]:
    """Return what there is of each partition of *topics*.

    Raises:
        TopicMissingError: If one is not there.
    """
    wanted = sorted(set(topics))
    ends, starts = await ends_of(brokers, wanted), await starts_of(brokers, wanted)
    return {tp: Extent(min(starts[tp], end), end) for tp, end in sorted(ends.items())}


async def raw_records(
    brokers: Brokers, extents: dict[TopicPartition, Extent], tell: Callable[[int, int], None]
) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
    """Yield (partition, records) of everything within *extents*, of aborted transactions too.

    *tell* hears how many offsets are behind, and how many there are.

    Raises:
        LookCutShortError: If nothing came for a minute though there should be more.
    """
    left = {tp for tp, extent in extents.items() if extent.start < extent.end}
    total, behind = sum(extent.end - extent.start for extent in extents.values()), dict[TopicPartition, int]()
    if not left:
        tell(total, total)
        return
    options = {
        "enable_auto_commit": False, "isolation_level": "read_uncommitted", "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": 100, "max_partition_fetch_bytes": _FETCH_BYTES,
    }  # fmt: skip
    clock = asyncio.get_running_loop()
    async with looking(brokers, **options) as consumer:
        consumer.assign(sorted(left))
        for tp in left:
            consumer.seek(tp, extents[tp].start)
        places, since = dict[TopicPartition, int](), clock.time()
        while left:
            for tp, records in (await consumer.getmany(*sorted(left), timeout_ms=200)).items():
                inside = [record for record in records if record.offset < extents[tp].end]
                if inside:
                    yield tp, inside
                    behind[tp] = inside[-1].offset + 1 - extents[tp].start
                    tell(sum(behind.values()), total)
            now = {tp: await consumer.position(tp) for tp in sorted(left)}
            if now != places:
                places, since = now, clock.time()
            elif clock.time() - since > _STANDSTILL_SECONDS:
                raise LookCutShortError(
                    f"{min(left).topic} could not be read to its end",
                    "Try again; `orgpulse doctor` says what is wrong.",
                )
            done = {tp for tp in left if now[tp] >= extents[tp].end}
            if done:
                left -= done
                consumer.pause(*done)
    tell(total, total)


def configs_of(settings: Settings, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return topic → configuration in effect, as the brokers say."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(set(topics))]
    with connected_admin(settings) as admin:
        described = admin.describe_configs(resources, config_filter="all")
    return {
        name: {key: str(entry["value"]) for key, entry in keys.items()}
        for by_name in described.values()
        for name, keys in by_name.items()
    }


async def cut_before(settings: Settings, places: dict[TopicPartition, int]) -> None:
    """Delete the records before the offsets in *places*, for good.

    Raises:
        KafkaError: If a broker does not.
    """
    if not places:
        return
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    await admin.start()
    try:
        await admin.delete_records({tp: RecordsToDelete(offset) for tp, offset in places.items()})
    finally:
        await admin.close()
