"""Makes, fills, reads and cuts topics for the tests of the transport, on a real broker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import TopicPartition


async def make_topics(bootstrap: str, names: Iterable[str], partitions: int) -> None:
    """Create topics and return when every partition of them has a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
    finally:
        await admin.close()


async def drop_topic(bootstrap: str, name: str) -> None:
    """Delete a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([name])
    finally:
        await admin.close()


async def cut(bootstrap: str, topic: str, partition: int, before: int) -> None:
    """Delete the records of a partition that lie before an offset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def fill(bootstrap: str, topic: str, partition: int, values: Sequence[bytes]) -> None:
    """Append records, outside of any transaction."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    try:
        for value in values:
            await producer.send(topic, value=value, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def fill_in_transaction(
    bootstrap: str, topic: str, partition: int, pairs: Sequence[tuple[bytes, bytes]], *, abort: bool = False
) -> None:
    """Append records in one transaction that is committed, or aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-test")
    await producer.start()
    try:
        await producer.begin_transaction()
        for key, value in pairs:
            await producer.send_and_wait(topic, key=key, value=value, partition=partition)
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    finally:
        await producer.stop()


async def read_all(bootstrap: str, topic: str, partitions: int) -> list[list[tuple[int, bytes | None, bytes | None]]]:
    """Return (offset, key, value) of every committed record, by partition.

    The end is the log's, not the last stable offset: a transaction's markers are
    written a moment after its commit was acknowledged.
    """
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    plain = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await plain.start()
    ends = await plain.end_offsets(tps)
    await plain.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    found: list[list[tuple[int, bytes | None, bytes | None]]] = [[] for _ in tps]
    try:
        consumer.assign(tps)
        await consumer.seek_to_beginning()
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                found[tp.partition].extend((record.offset, record.key, record.value) for record in records)
    finally:
        await consumer.stop()
    return found


async def committed(bootstrap: str, group: str, topic: str, partition: int) -> int | None:
    """Return the group's committed offset, or None; a young broker may have no coordinator yet."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        return None
    finally:
        await admin.close()
    found = offsets.get(TopicPartition(topic, partition))
    return None if found is None or found.offset < 0 else found.offset


async def put(bootstrap: str, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
    """Append one record, outside of any transaction; without a value it is a tombstone."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(topic, key=key, value=value, partition=partition)
    finally:
        await producer.stop()


async def let_cut(bootstrap: str, topic: str) -> None:
    """Turn a compacted topic into one whose records may be deleted, as a mistaken operator might."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"cleanup.policy": "delete"})
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def topics(bootstrap: str) -> set[str]:
    """Return the names of all topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()
