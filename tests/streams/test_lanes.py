"""Partitions of one lane are committed together, by one owner, and no more often than is asked for."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from faust.types import TP

from streams.chunks import Outcome, add_chunk_agent
from streams.faust_app import ChunkApp, TornLaneError
from streams.lanes import lanes_by_number, own_lane, torn_lanes
from streams.transactions import FencedError, NotOwnedError, Outgoing, Transactions
from streams.transport import Chunk
from tests.streams.conftest import Place
from tests.streams.counting_job import CountingJob, eventually, running
from tests.streams.kafka_topics import committed, fill, make_topics, read_all

LANE_OF = lanes_by_number([])


def test_only_topics_of_another_width_have_lanes_of_their_own() -> None:
    lane_of = lanes_by_number(["narrow"])
    assert lane_of(TP("a", 1)) == lane_of(TP("b", 1)) != lane_of(TP("a", 0))
    assert lane_of(TP("narrow", 0)) == own_lane(TP("narrow", 0)) != lane_of(TP("a", 0))


def test_a_lane_of_which_a_part_is_missing_is_torn() -> None:
    whole = [TP(topic, number) for topic in "ab" for number in range(2)]
    assert torn_lanes(LANE_OF, whole, {"a": 2, "b": 2}) == []
    assert torn_lanes(LANE_OF, whole[:3], {"a": 2, "b": 2}) == ["lane-1"]
    assert torn_lanes(LANE_OF, [TP("a", 0), TP("b", 0)], {"a": 2, "b": 2}) == []
    assert torn_lanes(own_lane, whole[:3], {"a": 2, "b": 2}) == []


def test_offsets_of_a_whole_lane_go_out_in_one_transaction_and_a_new_owner_of_a_part_fences_all_of_it(
    place: Place,
) -> None:
    async def scenario() -> None:
        other = f"{place.topic}-other"
        await make_topics(place.bootstrap, [other], 2)
        mine, theirs = (Transactions(place.bootstrap, place.app_id, lane_of=LANE_OF) for _ in range(2))
        here, there, apart = TP(place.topic, 0), TP(other, 0), TP(place.topic, 1)
        await mine.own([here, there, apart])
        await mine.commit_all({here: 3, there: 4}, [Outgoing(place.changelog, 0, b"k", b"both")])
        assert (mine.commits, mine.committed) == (1, {here: 3, there: 4})
        await mine.disown([there])
        await mine.commit(here, 5, [])
        with pytest.raises(NotOwnedError):
            await mine.commit(there, 5, [])
        await theirs.own([there])
        with pytest.raises(FencedError, match=f"{place.topic}-0 at 6"):
            await mine.commit(here, 6, [Outgoing(place.changelog, 0, b"k", b"zombie")])
        await mine.commit(apart, 1, [])
        await theirs.commit(there, 7, [])
        assert [value for _, _, value in (await read_all(place.bootstrap, place.changelog, 2))[0]] == [b"both"]
        for topic, offset in ((place.topic, 5), (other, 7)):
            assert await committed(place.bootstrap, place.app_id, topic, 0) == offset
        await mine.disown([here, apart])
        await theirs.disown([there])
        assert not mine.owned and not mine.committed

    asyncio.run(scenario())


def test_chunks_of_two_topics_are_committed_together_and_at_intervals(place: Place) -> None:
    async def scenario() -> None:
        other = f"{place.topic}-other"
        await make_topics(place.bootstrap, [other], 2)
        job = place.job(lane_of=LANE_OF, commit_seconds=3_600.0)
        seen: Counter[bytes] = Counter()

        def count(chunk: Chunk) -> Outcome:
            seen.update(record.value or b"" for record in chunk.records)
            return Outcome([], chunk.next_offset)

        add_chunk_agent(job.app, other, count, name="other")
        async with running(job):
            await fill(place.bootstrap, other, 0, [b"first"])
            await eventually(lambda: job.app.transactions.commits == 1)
            await fill(place.bootstrap, other, 0, [b"second"])
            await place.fill(0, [b"third"])
            await place.fill(1, [b"of another lane"])
            await eventually(lambda: seen.total() == 2 and job.totals().total() == 2)
            await eventually(lambda: job.app.transactions.commits == 2)
            assert job.app.transactions.committed == {TP(other, 0): 1, TP(place.topic, 1): 1}
        # The end of the worker waits for no interval.
        assert job.app.transactions.commits == 3
        assert await committed(place.bootstrap, place.app_id, other, 0) == 2
        assert await place.reaches(0, 1)

    asyncio.run(scenario())


def test_a_full_chunk_is_not_put_off(place: Place) -> None:
    async def scenario() -> None:
        job = place.job(max_chunk=10, commit_seconds=3_600.0)
        async with running(job):
            await place.fill(0, [b"x"] * 10)
            await eventually(lambda: job.app.transactions.commits >= 1)
            await place.fill(0, [b"x"] * 20)
            await eventually(lambda: job.app.transactions.committed.get(TP(place.topic, 0)) == 30)

    asyncio.run(scenario())


def test_a_worker_with_a_part_of_a_lane_does_not_begin(place: Place) -> None:
    async def scenario() -> None:
        other = f"{place.topic}-other"
        await make_topics(place.bootstrap, [other], 2)
        job: CountingJob = place.job(lane_of=LANE_OF)
        app: ChunkApp = job.app
        app.expected_topics[other] = 2  # as if another version read it, too
        async with running(job):
            assert isinstance(app.failure, TornLaneError) and "lane-0, lane-1" in str(app.failure)

    asyncio.run(scenario())
