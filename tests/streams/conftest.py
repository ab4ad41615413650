"""Gives each test of the transport topics, a group and an event loop of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.local.redis import LocalRedis
from tests.streams import kafka_topics
from tests.streams.counting_job import CountingJob

PATIENCE_SECONDS = 60.0


class Place:
    """One source topic with two partitions, one group and its changelog, on the session's broker."""

    partitions = 2

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.app_id = f"{prefix}app"
        self.topic = f"{prefix}events"
        self.changelog = f"{self.app_id}-counts-changelog"
        self.origins = f"{self.app_id}-origins-changelog"

    def job(self, **options: Any) -> CountingJob:
        """Return a job in this place's group."""
        return CountingJob(**self.options(**options))

    def options(self, **options: Any) -> dict[str, Any]:
        """Return what `CountingJob` takes, for this process or another."""
        found = {"app_id": self.app_id, "bootstrap": self.bootstrap, "topic": self.topic, "partitions": self.partitions}
        return {**found, **options}

    async def make(self) -> None:
        """Create the topics."""
        await kafka_topics.make_topics(self.bootstrap, [self.topic, self.changelog], self.partitions)

    async def fill(self, partition: int, values: Sequence[bytes]) -> None:
        """Append events to a partition."""
        await kafka_topics.fill(self.bootstrap, self.topic, partition, values)

    async def committed(self, partition: int) -> int | None:
        """Return the group's committed offset in the source topic."""
        return await kafka_topics.committed(self.bootstrap, self.app_id, self.topic, partition)

    async def reaches(self, partition: int, offset: int) -> bool:
        """Say whether the committed offset becomes *offset*; it is visible a moment after its commit."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if await self.committed(partition) == offset:
                return True
            await asyncio.sleep(0.05)
        return False

    async def counts(self) -> dict[bytes, int]:
        """Return the counts of the committed changelog, all partitions together."""
        counts: dict[bytes, int] = {}
        for records in await kafka_topics.read_all(self.bootstrap, self.changelog, self.partitions):
            last = {key: int(value or 0) for _, key, value in records}
            for key, value in last.items():
                counts[key or b""] = counts.get(key or b"", 0) + value
        return counts


@pytest.fixture
def place(kafka: Any, topic_prefix: str) -> Place:
    """A place with its topics made."""
    found = Place(kafka.bootstrap, topic_prefix)
    asyncio.run(found.make())
    return found


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[LocalRedis]:
    """A server of this test alone, to stop and to freeze."""
    with LocalRedis(tmp_path / "redis") as server:
        yield server
