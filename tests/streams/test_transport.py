"""Chunks arrive whole, in order and once, and only transactions commit their offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.chunks import DrainTimeoutError, HoleError, Outcome
from streams.transactions import Outgoing, Transactions
from streams.transport import Chunk, ChunkConsumer
from tests.streams import kafka_topics
from tests.streams.conftest import Place
from tests.streams.counting_job import CountingJob, eventually, running

EVENTS = [b"k%d" % (number % 7) for number in range(2_500)]


def handled(job: CountingJob, partition: int) -> int:
    return sum(len(chunk.records) for chunk in job.chunks if chunk.tp.partition == partition)


def test_chunks_arrive_whole_in_order_and_bounded(place: Place) -> None:
    async def scenario() -> None:
        for partition in range(2):
            await place.fill(partition, EVENTS)
        job = place.job(max_chunk=600)
        async with running(job) as app:
            await eventually(lambda: handled(job, 0) == handled(job, 1) == 2_500)
            for partition in range(2):
                chunks = [chunk for chunk in job.chunks if chunk.tp == TP(place.topic, partition)]
                offsets = [record.offset for chunk in chunks for record in chunk.records]
                assert offsets == list(range(2_500))
                assert max(len(chunk.records) for chunk in chunks) == 600
                assert [chunk.first_offset for chunk in chunks] == [0] + [chunk.next_offset for chunk in chunks[:-1]]
                assert {chunk.generation_id for chunk in chunks} == {app.consumer_generation_id}

    asyncio.run(scenario())


def test_a_record_shows_key_value_offset_and_timestamp_without_a_wrapper(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, [b"one"])
        job = place.job()
        async with running(job):
            await eventually(lambda: bool(job.chunks))
        record: Any = job.chunks[0].records[0]
        assert (record.key, record.value, record.offset) == (None, b"one", 0)
        assert record.timestamp > 1_600_000_000_000
        assert type(record).__name__ != "ConsumerRecord"

    asyncio.run(scenario())


class HeldTransactions(Transactions):
    """Holds the first commit of partition 0 until `let_go` is set."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.let_go = asyncio.Event()
        self.order: list[tuple[int, int]] = []

    async def commit_all(self, offsets: Mapping[TP, int], records: Any) -> None:
        ((tp, next_offset),) = offsets.items()
        if tp.partition == 0 and not any(partition == 0 for partition, _ in self.order):
            self.order.append((0, next_offset))
            await self.let_go.wait()
        else:
            self.order.append((tp.partition, next_offset))
        await super().commit_all(offsets, records)


def test_a_later_chunk_that_is_done_never_commits_past_an_earlier_one(place: Place) -> None:
    #  partition 0:  [ chunk 1: commit held ][ chunks 2 and 3: handled, then committed together ]
    #  partition 1:  [ chunk 1 ][ chunk 2 ]…   goes on meanwhile
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        await place.fill(1, EVENTS[:100])
        job = place.job(max_chunk=1_000)
        held = job.app.transactions = HeldTransactions(place.bootstrap, place.app_id)
        async with running(job):
            await eventually(lambda: handled(job, 0) == 2_500 and (1, 100) in held.order)
            assert await place.committed(0) is None
            assert held.order.count((0, 1_000)) == 1 and len([1 for number, _ in held.order if number == 0]) == 1
            held.let_go.set()
            await eventually(lambda: held.committed.get(TP(place.topic, 0)) == 2_500)
        assert [offset for number, offset in held.order if number == 0] == [1_000, 2_500]
        assert await place.reaches(0, 2_500)

    asyncio.run(scenario())


def test_faust_commits_no_offset_of_its_own_and_keeps_no_gaps(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        job = place.job(max_chunk=500)
        fold = job.handle

        async def nothing_to_commit(chunk: Chunk) -> Outcome | None:
            await fold(chunk)
            return None

        job.handle = nothing_to_commit  # type: ignore[method-assign]
        async with running(job) as app:
            await eventually(lambda: len(job.chunks) == 5 and all(chunk.done for chunk in job.chunks))
            await app.consumer.commit()
            assert await place.committed(0) is None
            assert not any(app.consumer._gap.values())
            assert not any(app.consumer._acked.values())

    asyncio.run(scenario())


def test_a_later_outcome_commits_past_chunks_that_had_none(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        job = place.job(max_chunk=500)
        fold = job.handle

        async def only_the_last(chunk: Chunk) -> Outcome | None:
            outcome = await fold(chunk)
            return outcome if chunk.next_offset == 2_500 else None

        job.handle = only_the_last  # type: ignore[method-assign]
        async with running(job) as app:
            await eventually(lambda: app.committed_offset(TP(place.topic, 0)) == 2_500)
        assert await place.reaches(0, 2_500)

    asyncio.run(scenario())


def test_what_outcomes_look_up_for_their_commit_is_looked_up_at_once_and_committed_with_them(place: Place) -> None:
    # One after the other, a row of look-ups could take longer than a commit may.
    async def scenario() -> None:
        looking, most = 0, 0

        async def looked_up(offset: int) -> list[Outgoing]:
            nonlocal looking, most
            looking += 1
            most = max(most, looking)
            await asyncio.sleep(0.3)
            looking -= 1
            return [Outgoing(place.changelog, 0, b"looked up %d" % offset, b"1")]

        job = place.job(max_chunk=100)

        async def handle(chunk: Chunk) -> Outcome:
            return Outcome([], chunk.next_offset, None, lambda: looked_up(chunk.first_offset))

        job.handle = handle  # type: ignore[method-assign]
        await place.fill(0, [b"v"] * 1_000)
        async with running(job):
            assert await place.reaches(0, 1_000)
        assert most > 1
        found = {key for records in await kafka_topics.read_all(place.bootstrap, place.changelog, place.partitions)
                 for _, key, _ in records}  # fmt: skip
        assert found == {b"looked up %d" % offset for offset in range(0, 1_000, 100)}

    asyncio.run(scenario())


def test_the_last_commit_of_on_revoke_is_made_and_only_after_chunks_under_way(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, [b"a"])
        job = place.job(slow_seconds=0.5)
        tp = TP(place.topic, 0)

        async def write_last(tps: frozenset[TP]) -> None:
            assert job.app.transactions.committed[tp] == 1
            await job.app.transactions.commit(tp, 1, [Outgoing(place.changelog, 0, b"last", b"77")])

        job.app.on_revoke = write_last
        async with running(job):
            await eventually(lambda: bool(job.chunks))
        assert job.app.failure is None
        assert await place.counts() == {b"a": 1, b"last": 77}

    asyncio.run(scenario())


def test_a_chunk_that_does_not_end_in_time_fails_the_stop_and_is_not_committed(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, [b"a"])
        job = place.job(slow_seconds=60.0, drain_seconds=0.3)
        async with running(job):
            await eventually(lambda: bool(job.chunks))
        assert isinstance(job.app.failure, DrainTimeoutError)
        assert await place.counts() == {}

    asyncio.run(scenario())


def test_positions_tell_the_lag_without_asking_the_broker(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, EVENTS)
        job = place.job(max_chunk=1_000)
        gate = asyncio.Event()
        fold = job.handle

        async def wait_first(chunk: Chunk) -> Outcome | None:
            outcome = await fold(chunk)
            await gate.wait()
            return outcome

        job.handle = wait_first  # type: ignore[method-assign]
        async with running(job) as app:
            await eventually(lambda: bool(job.chunks))
            assert app.positions()[TP(place.topic, 0)].lag == 2_500
            gate.set()
            await eventually(lambda: app.positions()[TP(place.topic, 0)].lag == 0)
            assert app.rebalances == 1
            assert 0 < app.recovery_seconds < 30

    asyncio.run(scenario())


def test_a_chunk_read_again_and_cut_shorter_is_handed_on_and_a_hole_stops_the_worker(place: Place) -> None:
    """What a rebalance can lead to when a chunk waited for room: 0–599 was seen, went, and comes again as 0–99."""

    async def scenario() -> None:
        await place.fill(0, EVENTS[:600])
        job = place.job(max_chunk=600)
        async with running(job) as app:
            await eventually(lambda: handled(job, 0) == 600)
            consumer, tp = app.consumer, TP(place.topic, 0)
            handed_on: list[Chunk] = []

            async def take(chunk: Chunk) -> None:
                handed_on.append(chunk)

            whole = job.chunks[0]
            shorter = Chunk(tp, whole.records[:100], 100, whole.generation_id, begin=0)

            class Fetcher:
                _stopped = asyncio.Event()

            async def getmany(timeout: float) -> Any:
                for chunk in (whole, shorter):
                    yield chunk.tp, chunk
                Fetcher._stopped.set()

            # A stand-in for the consumer, whose own loop goes on meanwhile.
            stand_in = SimpleNamespace(
                _stopped=asyncio.Event(),
                app=app,
                callback=take,
                consumer_stopped_errors=consumer.consumer_stopped_errors,
                getmany=getmany,
                suspend_flow=consumer.suspend_flow,
                wait_first=consumer.wait_first,
            )
            await ChunkConsumer._drain_messages(stand_in, Fetcher())
            assert handed_on == [whole, shorter]

            class Event:
                message = Chunk(tp, whole.records[200:300], 300, whole.generation_id, begin=200)

            with pytest.raises(HoleError):
                await app.chunks._handle(Event(), lambda _: None)

    asyncio.run(scenario())
