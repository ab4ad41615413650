"""What is held back on a real Kafka: seen as lag, in the way of no stop or rebalance, and never lost or doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from streams.held_back import HeldBack
from streams.settings_quota import QuotaSettings
from tests.streams.conftest import Place
from tests.streams.counting_job import CountingJob, eventually, running

pytestmark = pytest.mark.kafka

EVENTS = [b"k%d" % (number % 7) for number in range(3_000)]
EXPECTED = Counter({value: 2 * number for value, number in Counter(EVENTS).items()})
SLOW = 40
PATIENCE_SECONDS = 120.0


def held_job(place: Place, per_second: int = SLOW) -> CountingJob:
    """Return a job that is held to its quota."""
    job = place.job()
    quota = QuotaSettings(events_per_second=per_second, burst_seconds=1.0)
    job.app.held_back = HeldBack(quota, [place.topic], place.partitions)
    return job


def handled(*jobs: CountingJob) -> int:
    return sum(len(chunk.records) for job in jobs for chunk in job.chunks)


def waiting(job: CountingJob) -> frozenset[Any]:
    assert job.app.held_back is not None
    return job.app.held_back.waiting()


async def fill(place: Place) -> None:
    for partition in range(place.partitions):
        await place.fill(partition, EVENTS)


def test_what_waits_is_lag_and_is_read_on_by_whoever_comes_after_a_stop(place: Place) -> None:
    async def scenario() -> None:
        await fill(place)
        job = held_job(place)
        async with running(job) as app:
            await eventually(lambda: handled(job) > 0 and len(waiting(job)) == 2, PATIENCE_SECONDS)
            assert handled(job) < 6_000
            lag = sum(position.lag for position in app.positions(await app.ask_ends()).values())
            assert lag + handled(job) >= 6_000, "what was fetched and is held back counts as unread"
        assert not waiting(job) or job.app.failure is None
        after = place.job()
        async with running(after):
            await eventually(lambda: handled(job, after) >= 6_000, PATIENCE_SECONDS)
        assert handled(job, after) == 6_000
        assert await place.counts() == EXPECTED

    asyncio.run(scenario())


def test_others_join_while_chunks_wait_and_each_message_counts_once(place: Place) -> None:
    async def scenario() -> None:
        await fill(place)
        first, second = held_job(place), held_job(place, per_second=1_000)
        async with running(first):
            await eventually(lambda: len(waiting(first)) == 2, PATIENCE_SECONDS)
            async with running(second):
                await eventually(lambda: len(second.app.live) == 1 and handled(second) > 0, PATIENCE_SECONDS)
                await eventually(lambda: len(first.app.live) == 1 and first.app.flowing, PATIENCE_SECONDS)
                assert first.app.held_back is not None
                await eventually(lambda: first.app.held_back.events_per_second == SLOW / 2, PATIENCE_SECONDS)  # type: ignore[union-attr]
        after = place.job()
        async with running(after):
            await eventually(lambda: handled(first, second, after) >= 6_000, PATIENCE_SECONDS)
        assert all(job.app.failure is None for job in (first, second, after))
        assert await place.counts() == EXPECTED

    asyncio.run(scenario())
