"""Workers that come, go, are killed or fall asleep lose nothing and count nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from streams.chunks import Outcome
from streams.transport import Chunk
from tests.streams.conftest import Place
from tests.streams.counting_job import eventually, running

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


@contextlib.asynccontextmanager
async def worker(place: Place, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker process; kill it at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.streams.counting_job", json.dumps(place.options(**options)),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            await process.wait()


def events(count: int) -> list[bytes]:
    source = random.Random(count)
    return [b"k%d" % source.randrange(50) for _ in range(count)]


async def handled(place: Place) -> int:
    return sum([await place.committed(partition) or 0 for partition in range(place.partitions)])


async def reach(place: Place, count: int) -> None:
    """Wait until at least *count* events are committed (the source has no markers, so offsets count events)."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await handled(place) < count:  # noqa: ASYNC110  # another process has no event to wait for
            await asyncio.sleep(0.05)


async def filled(place: Place, count: int) -> Counter[bytes]:
    expected: Counter[bytes] = Counter()
    for partition in range(place.partitions):
        values = events(count // place.partitions + partition)
        expected.update(values)
        await place.fill(partition, values)
    return expected


async def ready(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of the worker's next recovery."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await process.stdout.readline() == b"ready\n"


async def code_of(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await process.wait()


def test_a_second_worker_that_joins_and_leaves_costs_nothing(place: Place) -> None:
    async def scenario() -> None:
        expected = await filled(place, 12_000)
        options = {"max_chunk": 50, "slow_seconds": 0.02}
        async with worker(place, **options) as first:
            await reach(place, 1_000)
            async with worker(place, **options) as second:
                await ready(second)
                expected += await filled(place, 12_000)  # on a busy machine the first may have done all by now
                await reach(place, 4_000)
                before = await handled(place)
                second.send_signal(signal.SIGTERM)
                assert await code_of(second) == 0
                assert before < expected.total()
            await reach(place, expected.total())
            first.send_signal(signal.SIGTERM)
            assert await code_of(first) == 0
        assert await place.counts() == expected

    asyncio.run(scenario())


def test_both_members_work_after_a_join_and_lost_partitions_leave_the_table(place: Place) -> None:
    async def scenario() -> None:
        ours, theirs = place.job(), place.job()
        for partition in range(2):
            await place.fill(partition, [b"x"] * 10)
        async with running(ours):
            await eventually(lambda: sum(ours.app.transactions.committed.values()) == 20)
            async with running(theirs):
                await eventually(lambda: len(ours.app.live) == len(theirs.app.live) == 1)
                assert ours.app.live != theirs.app.live
                assert ours.totals() == {b"x": 10}
                for partition in range(2):
                    await place.fill(partition, [b"x"] * 100)
                await eventually(lambda: ours.totals().total() == theirs.totals().total() == 110)
            await eventually(lambda: ours.app.flowing and len(ours.app.live) == 2)
            assert ours.totals() == {b"x": 220}
            assert ours.app.rebalances == 3
        assert (ours.app.failure, theirs.app.failure) == (None, None)

    asyncio.run(scenario())


def test_a_killed_worker_loses_nothing_and_repeats_nothing(place: Place) -> None:
    async def scenario() -> None:
        expected = await filled(place, 12_000)
        async with worker(place, max_chunk=50, slow_seconds=0.002) as process:
            await reach(place, 4_000)
            process.kill()
            assert await code_of(process) == -signal.SIGKILL
        assert await handled(place) < expected.total()
        async with worker(place) as process:
            await reach(place, expected.total())
            process.send_signal(signal.SIGTERM)
            assert await code_of(process) == 0
        assert await place.counts() == expected

    asyncio.run(scenario())


def test_a_sleeper_that_wakes_up_is_fenced_and_ends_with_one(place: Place) -> None:
    async def scenario() -> None:
        expected = await filled(place, 4_000)
        async with worker(place, max_chunk=50, slow_seconds=0.2) as sleeper:
            await reach(place, 200)
            sleeper.send_signal(signal.SIGSTOP)
            async with worker(place, max_chunk=500) as heir:
                await reach(place, expected.total())
                sleeper.send_signal(signal.SIGCONT)
                assert await code_of(sleeper) == 1
                assert sleeper.stderr is not None
                assert b"worker stopped: FencedError: " in await sleeper.stderr.read()
                heir.send_signal(signal.SIGTERM)
                assert await code_of(heir) == 0
        assert await place.counts() == expected

    asyncio.run(scenario())


def test_a_handler_that_raises_ends_the_worker_with_one_and_loses_nothing(place: Place) -> None:
    async def scenario() -> None:
        expected = await filled(place, 2_000)
        async with worker(place, max_chunk=100, fail_at=5) as process:
            assert await code_of(process) == 1
            assert process.stderr is not None
            said = (await process.stderr.read()).decode()
            assert "worker stopped: ValueError: the handler does not like this chunk" in said
        assert await handled(place) <= 400
        async with running(place.job()) as app:
            await eventually(lambda: sum(app.transactions.committed.values()) == expected.total())
        assert await place.counts() == expected

    asyncio.run(scenario())


def test_a_worker_without_a_broker_ends_with_one_and_one_line(place: Place) -> None:
    async def scenario() -> None:
        async with worker(Place("127.0.0.1:1", "nobody-")) as lonely:
            assert await code_of(lonely) == 1
            assert lonely.stderr is not None
            lines = (await lonely.stderr.read()).decode().splitlines()
            assert len([line for line in lines if line.startswith("worker stopped: KafkaConnectionError: ")]) == 1

    asyncio.run(scenario())


def test_a_fetch_that_waits_across_a_rebalance_takes_nothing_of_the_new_assignment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    #  ours:    [ fetch waits ……………………………………………… ]
    #  group:          [ second joins ][ records come ][ flows ]
    monkeypatch.setattr("streams.transport.LIVE_WAIT_SECONDS", 4.0)

    async def scenario() -> None:
        ours, theirs = place.job(), place.job()

        async def commit_alone(chunk: Chunk) -> Outcome:
            ours.chunks.append(chunk)
            return Outcome([], chunk.next_offset)  # an empty changelog: the recovery needs no fetch

        async def fill_first(tps: frozenset[TP]) -> None:
            for tp in tps:
                await place.fill(tp.partition, [b"x"] * 100)
            for _ in range(50):
                await asyncio.sleep(0.02)

        ours.handle = theirs.handle = commit_alone  # type: ignore[method-assign]
        for number in range(2):
            await place.fill(number, [b"x"] * 10)
        async with running(ours):
            await eventually(lambda: sum(ours.app.transactions.committed.values()) == 20)
            ours.app.on_recovered = fill_first
            async with running(theirs):
                await eventually(lambda: ours.app.rebalances == 2 and ours.app.flowing)
                (mine,) = ours.app.live
                await eventually(lambda: ours.app.transactions.committed.get(mine) == 110)

    asyncio.run(scenario())
