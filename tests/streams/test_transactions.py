"""A transaction carries all of a chunk's effect and its offset, or nothing, and only the owner's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import NotLeaderForPartitionError, RequestTimedOutError
from faust.types import TP

from streams.lanes import own_lane
from streams.transactions import (
    CommitFailedError,
    FencedError,
    NotOwnedError,
    Outgoing,
    RecordTooLargeError,
    Transactions,
    TransactionSettings,
)
from tests.streams.conftest import Place
from tests.streams.counting_job import eventually, running
from tests.streams.kafka_topics import read_all


def outgoing(place: Place, value: bytes) -> Outgoing:
    return Outgoing(place.changelog, 0, b"k", value)


async def values(place: Place) -> list[bytes | None]:
    return [value for _, _, value in (await read_all(place.bootstrap, place.changelog, 2))[0]]


def test_records_and_offset_go_out_together_and_an_offset_alone_too(place: Place) -> None:
    async def scenario() -> None:
        tp = TP(place.topic, 0)
        mine = Transactions(place.bootstrap, place.app_id)
        await mine.own([tp])
        await mine.commit(tp, 5, [outgoing(place, b"%d" % number) for number in range(40_000)])
        assert await place.reaches(0, 5)
        await mine.commit(tp, 9, [])
        assert await place.reaches(0, 9)
        assert (mine.committed, mine.commits) == ({tp: 9}, 2)
        await mine.disown([tp])
        assert await values(place) == [b"%d" % number for number in range(40_000)]

    asyncio.run(scenario())


def test_a_transaction_cut_off_before_its_end_leaves_neither_records_nor_offset(place: Place) -> None:
    async def scenario() -> None:
        tp = TP(place.topic, 0)
        former, new = (Transactions(place.bootstrap, place.app_id) for _ in range(2))
        await former.own([tp])
        await former.commit(tp, 1, [outgoing(place, b"whole")])
        await former._stage_with_patience(former._producers[own_lane(tp)], {tp: 7}, [outgoing(place, b"cut off")])
        await new.own([tp])
        assert await values(place) == [b"whole"]
        assert await place.committed(0) == 1
        for side in (former, new):
            await side.disown([tp])

    asyncio.run(scenario())


def test_a_new_owner_ends_the_former_owners_open_transaction(place: Place) -> None:
    async def scenario() -> None:
        tp = TP(place.topic, 0)
        former, new = (Transactions(place.bootstrap, place.app_id) for _ in range(2))
        await former.own([tp])
        await former._producers[own_lane(tp)].begin_transaction()
        await former._producers[own_lane(tp)].send_and_wait(place.changelog, b"open", partition=0)
        await new.own([tp])
        await new.commit(tp, 1, [outgoing(place, b"new")])
        assert await values(place) == [b"new"]
        assert await place.reaches(0, 1)
        for side in (former, new):
            await side.disown([tp])

    asyncio.run(scenario())


@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_former_owner_is_fenced_and_writes_nothing(place: Place, count: int) -> None:
    async def scenario() -> None:
        tp = TP(place.topic, 0)
        former, new = (Transactions(place.bootstrap, place.app_id) for _ in range(2))
        await former.own([tp])
        await former.commit(tp, 1, [outgoing(place, b"first")])
        await new.own([tp])
        both = [outgoing(place, b"zombie"), Outgoing(place.changelog, 1, b"k", b"zombie")]
        with pytest.raises(FencedError):
            await former.commit(tp, 9, both * count)
        await new.commit(tp, 2, [outgoing(place, b"second")])
        assert await values(place) == [b"first", b"second"]
        assert await place.reaches(0, 2)
        for side in (former, new):
            await side.disown([tp])

    asyncio.run(scenario())


def test_an_error_that_may_pass_is_tried_again_and_nothing_is_written_twice(place: Place) -> None:
    async def scenario() -> None:
        tp = TP(place.topic, 0)
        mine = Transactions(place.bootstrap, place.app_id, TransactionSettings(first_pause_seconds=0.01))
        await mine.own([tp])
        send, tries = mine._send, []

        async def fail_twice(producer: Any, records: Any) -> None:
            await send(producer, records)
            tries.append(len(records))
            if len(tries) < 3:
                raise NotLeaderForPartitionError()

        mine._send = fail_twice  # type: ignore[method-assign]
        await mine.commit(tp, 1, [outgoing(place, b"once")])
        await mine.disown([tp])
        assert tries == [1, 1, 1]
        assert await values(place) == [b"once"]

    asyncio.run(scenario())


def test_trying_again_has_an_end(place: Place) -> None:
    async def scenario() -> None:
        tp = TP(place.topic, 0)
        mine = Transactions(place.bootstrap, place.app_id, TransactionSettings(attempts=2, first_pause_seconds=0.01))
        await mine.own([tp])
        tries = []

        async def fail(producer: Any, records: Any) -> None:
            tries.append(1)
            raise NotLeaderForPartitionError()

        mine._send = fail  # type: ignore[method-assign]
        with pytest.raises(CommitFailedError):
            await mine.commit(tp, 1, [outgoing(place, b"never")])
        assert (len(tries), mine.committed) == (2, {})
        await mine.disown([tp])

    asyncio.run(scenario())


def test_an_unknown_end_of_a_transaction_is_never_tried_again(place: Place) -> None:
    async def scenario() -> None:
        tp = TP(place.topic, 0)
        mine = Transactions(place.bootstrap, place.app_id)
        await mine.own([tp])
        producer: Any = mine._producers[own_lane(tp)]
        end, ends = producer.commit_transaction, []

        async def answer_is_lost() -> None:
            await end()
            ends.append(1)
            raise RequestTimedOutError()

        producer.commit_transaction = answer_is_lost
        with pytest.raises(CommitFailedError):
            await mine.commit(tp, 1, [outgoing(place, b"perhaps")])
        assert len(ends) == 1
        assert await values(place) == [b"perhaps"]
        await mine.disown([tp])

    asyncio.run(scenario())


def test_only_an_owner_commits(place: Place) -> None:
    async def scenario() -> None:
        with pytest.raises(NotOwnedError):
            await Transactions(place.bootstrap, place.app_id).commit(TP(place.topic, 0), 1, [])

    asyncio.run(scenario())


def test_a_failed_commit_stops_the_worker_and_is_not_taken_for_committed(place: Place) -> None:
    async def scenario() -> None:
        await place.fill(0, [b"x" * 2_000])
        job = place.job(transactions={"max_record_bytes": 1_000})
        lost: list[BaseException] = []
        job.app.on_lost = lost.append
        async with running(job):
            await eventually(lambda: job.app.failure is not None)
        assert isinstance(job.app.failure, RecordTooLargeError) and lost == [job.app.failure]
        assert not job.chunks[0].done
        assert TP(place.topic, 0) not in job.app.transactions.committed
        assert await place.committed(0) is None
        assert await place.counts() == {}

    asyncio.run(scenario())
