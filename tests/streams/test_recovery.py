"""A worker starts from what is committed, all of it, and never in silence from somewhere else."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from types import SimpleNamespace

import faust
import pytest
from faust.types import TP

from streams.chunks import Outcome
from streams.consumer_thread import Fetched
from streams.recovery import ShrunkenLogError, WrongTopicError
from streams.transactions import Outgoing, Transactions
from streams.transport import Chunk
from tests.streams import kafka_topics
from tests.streams.conftest import Place
from tests.streams.counting_job import CountingJob, eventually, running

AT_ONCE_SECONDS = 45.0  # on a busy machine; what is asked of a thread that has ended is never answered
EVENTS = [b"k%d" % (number % 7) for number in range(700)]


async def commit(place: Place, offset: int, records: list[Outgoing]) -> None:
    tps = [TP(place.topic, number) for number in range(place.partitions)]
    former = Transactions(place.bootstrap, place.app_id)
    await former.own(tps)
    await former.commit(tps[0], offset, records)
    await former.disown(tps)


def test_a_restart_finds_the_table_although_its_changelog_ends_in_a_marker(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        await commit(place, 0, [Outgoing(place.changelog, 0, b"k%d" % number, b"100") for number in range(7)])
        job = place.job()
        async with running(job) as app:
            assert app.failure is None
            await eventually(lambda: sum(job.totals().values()) == 1_400)
        assert set((await place.counts()).values()) == {200}

    asyncio.run(scenario())


def test_tombstones_remove_and_aborted_records_are_not_seen(place: Place) -> None:
    async def scenario() -> None:
        both = [Outgoing(place.changelog, 0, b"stays", b"1"), Outgoing(place.changelog, 0, b"goes", b"1")]
        await commit(place, 0, both)
        await commit(place, 0, [Outgoing(place.changelog, 0, b"goes", None)])
        await kafka_topics.fill_in_transaction(
            place.bootstrap, place.changelog, 0, [(b"stays", b"666"), (b"new", b"666")], abort=True
        )
        job = place.job()
        async with running(job) as app:
            assert app.failure is None
            assert job.table.items(0) == [(b"stays", b"1")]

    asyncio.run(scenario())


def test_a_changelog_of_nothing_but_aborted_records_ends_its_recovery(place: Place) -> None:
    async def scenario() -> None:
        await kafka_topics.fill_in_transaction(place.bootstrap, place.changelog, 1, [(b"a", b"1")] * 3, abort=True)
        job = place.job()
        async with running(job) as app:
            assert app.failure is None and job.table.items(1) == []

    asyncio.run(scenario())


def test_records_of_an_unassigned_changelog_partition_touch_no_table(place: Place) -> None:
    async def scenario() -> None:
        job = place.job()
        async with running(job) as app:
            stray = SimpleNamespace(offset=3, key=b"stray", value=b"1")
            app.tables.recovery.take(Fetched({TP(place.changelog, 99): [stray]}, {}))
            assert app.failure is None
            assert [job.table.items(number) for number in (0, 1, 99)] == [[], [], []]

    asyncio.run(scenario())


def test_hooks_run_in_order_and_no_chunk_comes_before_the_last_of_them(place: Place) -> None:
    # Whatever were delivered while the hook waits would be lost: the queues are emptied after it (#596).
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        await commit(place, 0, [Outgoing(place.changelog, 0, b"before", b"1")])
        job = place.job(max_chunk=50)
        seen: list[object] = []

        async def owned(tps: frozenset[TP]) -> None:
            seen.append(("owned", sorted(tps), job.app.transactions.owned == tps))

        async def recovered(tps: frozenset[TP]) -> None:
            for _ in range(20):
                await asyncio.sleep(0.02)
            tp = TP(place.topic, 0)
            seen.append(("recovered", job.table.items(0), job.app.committed_offset(tp), len(job.chunks)))

        job.app.on_owned, job.app.on_recovered = owned, recovered
        async with running(job):
            await eventually(lambda: sum(job.totals().values()) == 701)
        tps = [TP(place.topic, 0), TP(place.topic, 1)]
        assert seen == [("owned", tps, True), ("recovered", [(b"before", b"1")], 0, 0)]
        assert sum((await place.counts()).values()) == 701

    asyncio.run(scenario())


def test_no_last_write_is_asked_for_before_the_recovery_has_ended(place: Place) -> None:
    async def scenario() -> None:
        job = place.job()
        reached, asked = asyncio.Event(), []

        async def never_ready(tps: frozenset[TP]) -> None:
            reached.set()
            await asyncio.Event().wait()

        async def revoke(tps: frozenset[TP]) -> None:
            asked.append(tps)

        job.app.on_recovered, job.app.on_revoke = never_ready, revoke
        starting = asyncio.create_task(job.app.start())
        await asyncio.wait_for(reached.wait(), 60)
        await job.app.stop()
        await starting
        assert (asked, job.app.failure) == ([], None)

    asyncio.run(scenario())


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stop_in_the_middle_of_an_assignment_ends_in_time(place: Place) -> None:
    # The consumer's thread ends while it is still asked for something; that must not end it halfway.
    async def scenario() -> None:
        job = place.job()
        reached = asyncio.Event()

        async def ask_for_ever(tps: frozenset[TP]) -> None:
            while True:
                await job.app.consumer._thread.layouts([place.topic])
                reached.set()

        job.app.on_owned = ask_for_ever
        starting = asyncio.create_task(job.app.start())
        await asyncio.wait_for(reached.wait(), 60)
        began = time.monotonic()
        await job.app.stop()
        await starting
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert job.app.failure is None
        assert not job.app.consumer._thread._thread.is_alive()

    asyncio.run(scenario())


def test_a_hook_that_fails_stops_the_worker_before_any_chunk(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        job = place.job()

        async def broken(tps: frozenset[TP]) -> None:
            raise ValueError("no such state")

        job.app.on_recovered = broken
        async with running(job):
            assert str(job.app.failure) == "no such state"
        assert job.chunks == []

    asyncio.run(scenario())


async def stops_as_shrunken(job: CountingJob, pattern: str) -> None:
    async with running(job):
        await eventually(lambda: job.app.failure is not None)
    assert isinstance(job.app.failure, ShrunkenLogError)
    assert re.search(pattern, str(job.app.failure))
    assert job.chunks == []


def test_a_log_made_anew_stops_the_worker(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        await commit(place, 701, [])
        await stops_as_shrunken(place.job(), "committed 701, but the log ends at 700")

    asyncio.run(scenario())


def test_unread_records_that_were_deleted_stop_the_worker(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        await commit(place, 100, [])
        await kafka_topics.cut(place.bootstrap, place.topic, 0, 101)
        await stops_as_shrunken(place.job(), "committed 100, but the log begins at 101")

    asyncio.run(scenario())


def test_a_log_cut_before_the_first_commit_is_read_from_where_it_begins(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        await kafka_topics.cut(place.bootstrap, place.topic, 0, 600)
        job = place.job()
        async with running(job):
            await eventually(lambda: sum(job.totals().values()) == 100)

    asyncio.run(scenario())


def test_records_deleted_under_a_running_worker_stop_it(place: Place) -> None:
    async def scenario() -> None:
        for number in range(80):
            await place.fill(0, [b"%d" % number * 400])
        job = place.job(fetch_bytes=500)
        gate = asyncio.Event()
        fold = job.handle

        async def wait(chunk: Chunk) -> Outcome | None:
            await gate.wait()
            return await fold(chunk)

        job.handle = wait  # type: ignore[method-assign]
        async with running(job):
            await kafka_topics.cut(place.bootstrap, place.topic, 0, 79)
            gate.set()
            await eventually(lambda: job.app.failure is not None)
        assert isinstance(job.app.failure, ShrunkenLogError)

    asyncio.run(scenario())


def test_a_missing_topic_or_one_of_another_width_stops_the_worker(place: Place) -> None:
    # Faust would say that it is ready, and consume nothing for ever.
    async def scenario() -> None:
        gone, wide = place.job(topic=place.topic + "-gone"), place.job(partitions=3)
        for job, pattern in ((gone, "-gone does not exist"), (wide, "has 2 partitions instead of 3")):
            async with running(job):
                assert isinstance(job.app.failure, WrongTopicError)
            assert re.search(pattern, str(job.app.failure))

    asyncio.run(scenario())


def test_tables_are_written_through_stage_only_and_others_are_refused(place: Place) -> None:
    async def scenario() -> None:
        job = place.job()
        with pytest.raises(TypeError, match="stage"):
            job.table[b"k"] = b"v"
        with pytest.raises(TypeError, match="ChunkTable"):
            job.app.tables.add(faust.Table(job.app, name="other"))
        record = job.table.stage(0, b"k", b"v", keep=False)
        assert record == Outgoing(place.changelog, 0, b"k", b"v") and job.table.items(0) == []

    asyncio.run(scenario())


def listening_sockets() -> set[str]:
    mine = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in mine}


def test_a_worker_listens_on_nothing(place: Place) -> None:
    async def scenario() -> None:
        before = listening_sockets()
        async with running(place.job()):
            assert listening_sockets() == before

    asyncio.run(scenario())
