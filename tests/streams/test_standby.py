"""A standby has a partition's table before it owns the partition, and takes over without reading it again."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.streams.conftest import Place
from tests.streams.counting_job import CountingJob, eventually, running

KEYS = 3_000


def keys(partition: int) -> list[bytes]:
    return [b"%d-%d" % (partition, number) for number in range(KEYS)]


def warm(job: CountingJob, expected: int) -> bool:
    """Whether the tables of *job*, its own and those that it follows, hold *expected* keys."""
    return sum(len(job.table.items(partition)) for partition in range(2)) == expected


def restored(job: CountingJob) -> int:
    return int(job.app.tables.recovery.restored_records)


def test_a_standby_takes_over_without_reading_the_changelog_again(place: Place) -> None:
    async def scenario() -> None:
        ours, theirs = place.job(standby_replicas=1), place.job(standby_replicas=1)
        async with running(theirs):
            async with running(ours):
                await eventually(lambda: len(ours.app.live) == len(theirs.app.live) == 1)
                for partition in range(2):
                    await place.fill(partition, keys(partition))
                await eventually(lambda: warm(ours, 2 * KEYS) and warm(theirs, 2 * KEYS))
                before = restored(theirs)
                assert before >= KEYS  # what it follows came from the changelog
            await eventually(lambda: theirs.app.flowing and len(theirs.app.live) == 2)
            assert restored(theirs) - before < 1.1 * KEYS  # its own partition is read anew, the other one is there
            for partition in range(2):
                await place.fill(partition, keys(partition))
            await eventually(lambda: theirs.totals().total() == 4 * KEYS)
            assert theirs.totals() == Counter({key: 2 for partition in range(2) for key in keys(partition)})
            assert await place.counts() == theirs.totals()
        assert theirs.app.failure is None

    asyncio.run(scenario())


def test_partitions_that_come_and_go_leave_tables_that_equal_their_changelogs(place: Place) -> None:
    async def scenario() -> None:
        jobs = [place.job(standby_replicas=1) for _ in range(3)]
        sent: Counter[bytes] = Counter()

        async def more() -> None:
            for partition in range(2):
                values = keys(partition)[:500]
                await place.fill(partition, values)
                sent.update(values)

        async with running(jobs[0]):
            await more()
            async with running(jobs[1]):
                await more()
                async with running(jobs[2]):
                    await more()
                    await eventually(lambda: sum(len(job.app.live) for job in jobs) == 2)
                await more()
            await more()
            await eventually(lambda: jobs[0].totals() == sent)
            await eventually(lambda: len(jobs[0].app.live) == 2)
        assert [job.app.failure for job in jobs] == [None] * 3
        assert await place.counts() == sent

    asyncio.run(scenario())


def test_without_replicas_nothing_is_followed(place: Place) -> None:
    async def scenario() -> None:
        ours, theirs = place.job(), place.job()
        async with running(ours), running(theirs):
            await eventually(lambda: len(ours.app.live) == len(theirs.app.live) == 1)
            await place.fill(0, keys(0))
            await place.fill(1, keys(1))
            await eventually(lambda: ours.totals().total() + theirs.totals().total() == 2 * KEYS)
            assert warm(ours, KEYS) and warm(theirs, KEYS)

    asyncio.run(scenario())
