"""Raw topics are read whole, each time; rest is rest, with as many ticks under way as there always are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reports.collect import RAW_TOPICS, Samples, read_raw, same_at_rest, unrest
from streams.bulk_sender import BulkSender
from streams.settings import Settings, override
from streams.topics import create_topics

MESSAGES = 200
READS = 40


@pytest.mark.kafka
def test_every_read_of_the_raw_topics_is_whole(kafka: Any, topic_prefix: str) -> None:
    names = {"kafka.brokers": kafka.bootstrap, "kafka.prefix": topic_prefix, "kafka.application": topic_prefix + "app"}
    create_topics(override(Settings(), names))
    sent = [(f"{topic_prefix}product-events", str(n).encode(), b"%d" % n) for n in range(MESSAGES)]

    async def send() -> None:
        async with BulkSender(kafka.bootstrap) as sender:
            assert await sender.send(sent) == MESSAGES

    asyncio.run(send())
    counts = [len(read_raw(kafka.bootstrap, topic_prefix)) for _ in range(READS)]
    assert counts == [MESSAGES] * READS


def page(lags: dict[tuple[str, int], float], mark: float = 600.0) -> Samples:
    """Return what a worker of two partitions shows whose messages are all committed but *lags*."""
    topics = [*(name for name in RAW_TOPICS if name != "identities"), "activities"]
    every = {(topic, number): 0.0 for topic in topics for number in (0, 1)} | lags
    return {
        "orgpulse_lag_messages": {(("partition", str(n)), ("topic", topic)): lag for (topic, n), lag in every.items()},
        "orgpulse_redis_pending_writes": {(): 0.0},
        "orgpulse_redis_resync_ratio": {(): 1.0},
        "orgpulse_watermark_timestamp_seconds": {(("partition", str(number)),): mark + number for number in (0, 1)},
    }


def test_ticks_of_every_partition_may_be_under_way_but_no_message() -> None:
    assert unrest([page({("activities", 0): 12.0, ("activities", 1): 11.0})], 2, "activities") == ""
    assert "activities lags by 13" in unrest([page({("activities", 0): 13.0})], 2, "activities")
    assert "transactions lags by 1" in unrest([page({("transactions", 1): 1.0})], 2, "activities")


def test_what_is_told_anew_every_ten_minutes_is_not_read_halfway() -> None:
    """Partition 1 is a second ahead.

    0           599 600                 1200
    ├───────────┼───┼───────────────────┼──►   each partition's window of ten minutes must stay the same
    """
    assert same_at_rest([page({}, 600.0)]) == same_at_rest([page({}, 1198.0)])
    assert len({same_at_rest([page({}, mark)]) for mark in (598.0, 599.0, 600.0)}) == 3
