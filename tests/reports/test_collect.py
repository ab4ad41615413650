"""Raw topics are read whole, each time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reports.collect import read_raw
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
