"""The local broker and the local Redis really serve, say why they do not, and go."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.errors import LocalError
from deploy.local.kafka import LocalKafka
from deploy.local.redis import LocalRedis


async def _make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _send_in_a_transaction(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-writer")
    async with producer, producer.transaction():
        await producer.send_and_wait(topic, value)


async def _first_value(bootstrap: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"{topic}-readers",
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    async with consumer:
        return (await asyncio.wait_for(consumer.getone(), 20)).value


@pytest.mark.kafka
def test_the_broker_gives_back_what_a_transaction_put_in(kafka: LocalKafka, topic_prefix: str) -> None:
    async def round_trip() -> bytes | None:
        topic = f"{topic_prefix}events"
        await _make_topic(kafka.bootstrap, topic)
        await _send_in_a_transaction(kafka.bootstrap, topic, b"hello")
        return await _first_value(kafka.bootstrap, topic)

    assert asyncio.run(round_trip()) == b"hello"


def test_redis_gives_back_what_was_put_in(redis_server: LocalRedis, topic_prefix: str) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"{topic_prefix}key", "hello")
        assert client.get(f"{topic_prefix}key") == b"hello"


def test_a_killed_redis_starts_again_at_the_same_address_with_nothing_kept(tmp_path: Path) -> None:
    with LocalRedis(tmp_path) as server:
        url, first_pid = server.url, server.pid
        with redis.Redis.from_url(url) as client:
            client.set("key", "value")
        server.kill()
        server.start()
        assert (server.url, server.pid != first_pid) == (url, True)
        with redis.Redis.from_url(url) as client:
            assert client.dbsize() == 0


@pytest.mark.parametrize("kind", [LocalKafka, LocalRedis])
def test_a_taken_port_is_named_with_its_remedy(kind: type[LocalKafka] | type[LocalRedis], tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LocalError, match=f"Port {port}.*taken") as caught:
            kind(tmp_path, port=port).start()
    assert f"sport = :{port}" in caught.value.remedy


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path, extra={"num.network.threads": "none"}, fast_start=True)
    with pytest.raises(LocalError, match=r"num\.network\.threads"):
        broker.start()
    assert not broker.running
