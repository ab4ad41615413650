"""Many records at once arrive once, in order, where any Kafka client would put them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reports.collect import read_raw
from streams.bulk_sender import BATCH_BYTES, BLOCK_RECORDS, BulkSender, Record
from streams.sender import Sender, SendError
from streams.settings import Settings, override
from streams.topics import create_topics

COUNT = 2 * BLOCK_RECORDS + 17


@pytest.fixture
def prefix(kafka: Any, topic_prefix: str) -> str:
    names = {"kafka.brokers": kafka.bootstrap, "kafka.prefix": topic_prefix, "kafka.application": topic_prefix + "app"}
    create_topics(override(Settings(), names))
    return topic_prefix


def send(brokers: str, records: list[Record]) -> int:
    async def work() -> int:
        async with BulkSender(brokers) as sender:
            return await sender.send(records)

    return asyncio.run(work())


@pytest.mark.kafka
def test_records_arrive_once_and_in_order_in_every_partition(kafka: Any, prefix: str) -> None:
    topics = (f"{prefix}transactions", f"{prefix}product-events")
    assert send(kafka.bootstrap, [(topics[n % 2], b"k%d" % (n % 50), b"%d" % n) for n in range(COUNT)]) == COUNT
    found = read_raw(kafka.bootstrap, prefix, ("transactions", "product-events"))
    assert sorted(int(value or b"") for *_, value, _ in found) == list(range(COUNT))
    for place in {(topic, partition) for topic, partition, *_ in found}:
        values = [int(value or b"") for topic, partition, _, _, value, _ in sorted(found, key=lambda r: r[2])
                  if (topic, partition) == place]  # fmt: skip
        assert values == sorted(values)


@pytest.mark.kafka
def test_a_key_goes_where_the_plain_sender_puts_it(kafka: Any, prefix: str) -> None:
    keys = [b"northwind", b"42", "ünïcode".encode(), b""]
    send(kafka.bootstrap, [(f"{prefix}orgs", key, b"bulk") for key in keys])
    with Sender([kafka.bootstrap]) as sender:
        for key in keys:
            sender.send(f"{prefix}orgs", key, b"plain")
    places = {(key, partition) for _, partition, _, key, _, _ in read_raw(kafka.bootstrap, prefix, ("orgs",))}
    assert len(places) == len(keys)


@pytest.mark.kafka
def test_more_bytes_than_a_batch_takes_are_split_over_batches(kafka: Any, prefix: str) -> None:
    value = b"x" * (BATCH_BYTES // 3)
    assert send(kafka.bootstrap, [(f"{prefix}users", b"one", value)] * 7) == 7
    assert len(read_raw(kafka.bootstrap, prefix, ("users",))) == 7


def test_a_broker_that_is_not_there_is_an_error_that_says_so() -> None:
    with pytest.raises(SendError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        send("127.0.0.1:1", [])
