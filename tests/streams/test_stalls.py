"""A partition that stands still with messages waiting is noticed, and no other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka.errors import KafkaError
from faust.types import TP

from streams import log_reader
from streams.faust_app import Position
from streams.log_reader import Follower
from streams.stalls import StalledError, Stalls, StallWatch, Stuck
from streams.transport import LIVE_WAIT_SECONDS
from tests.streams.conftest import Place
from tests.streams.counting_job import CountingJob, eventually, running

EVENTS = [b"k%d" % (number % 7) for number in range(700)]


def test_a_partition_that_stands_still_with_messages_waiting_is_noticed() -> None:
    stalls = Stalls(10.0)
    for now in range(11):
        stalls.check({"events-1": Position(5, 9)}, float(now))
    with pytest.raises(StalledError, match="events-1 stands at 5 for 11 s; 4 messages wait"):
        stalls.check({"events-1": Position(5, 9)}, 11.0)


def test_one_that_moves_is_done_or_was_away_meanwhile_is_not() -> None:
    stalls = Stalls(10.0)
    for now in range(100):
        stalls.check({"moves": Position(now // 8, 1000), "done": Position(7, 7)}, float(now))
    stalls.check({"comes": Position(1, 2)}, 100.0)
    stalls.check({}, 105.0)  # another worker has it
    stalls.check({"comes": Position(1, 2)}, 112.0)
    stalls.check({"comes": Position(1, 2)}, 121.0)


def test_one_that_waits_for_a_long_chunk_that_gets_on_is_not_and_one_whose_chunk_hangs_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All partitions of a topic have one handler: a chunk of a minute, of one, kept the others waiting."""
    tps = [TP("activities", 0), TP("activities", 1)]

    class Chunks:
        at_work: ClassVar = {"activities": 7}
        steps = 0

    class App:
        started = flowing = True
        rebalances, chunks = 0, Chunks()
        held_back: Any = None

        async def ask_ends(self) -> dict[TP, int]:
            return {}

        def positions(self, _: Any) -> dict[TP, Position]:
            return dict.fromkeys(tps, Position(5, 9))

    now = 0.0
    monkeypatch.setattr("streams.stalls.time.monotonic", lambda: now)
    app = App()
    watch = StallWatch(app, lambda: True, lambda: 0, lambda error: None, limit_seconds=10.0)  # type: ignore[arg-type]

    async def look(*, seconds: int, gets_on: bool, calls: bool = False) -> None:
        nonlocal now
        for _ in range(seconds):
            now += 1.0
            Chunks.steps += gets_on
            Chunks.at_work["activities"] += calls
            await watch._look()

    asyncio.run(look(seconds=60, gets_on=True))
    with pytest.raises(StalledError, match="stands at 5 for 11 s"):
        asyncio.run(look(seconds=12, gets_on=False))
    asyncio.run(look(seconds=2, gets_on=True))
    with pytest.raises(StalledError, match="stands at 5 for 11 s"):  # the handler is well: others' chunks come and go
        asyncio.run(look(seconds=12, gets_on=True, calls=True))
    app.held_back = SimpleNamespace(waiting=lambda: frozenset(tps))  # for the quota: nothing has got stuck
    asyncio.run(look(seconds=60, gets_on=False))


def test_a_recovery_that_gets_nowhere_is_noticed_and_one_that_goes_on_is_not() -> None:
    stuck = Stuck(10.0)
    for now in range(50):
        stuck.check((1, now // 8), float(now))
    stuck.check(None, 50.0)  # it reads
    for now in range(60, 71):
        stuck.check((1, 7), float(now))
    with pytest.raises(StalledError, match="nothing was recovered for 11 s"):
        stuck.check((1, 7), 71.0)


def watched(job: CountingJob, said: list[BaseException]) -> StallWatch:
    return StallWatch(job.app, lambda: True, lambda: 0, said.append, limit_seconds=1.0, ask_seconds=0.2)


def test_a_partition_that_reading_forgot_is_noticed_in_a_running_worker(place: Place) -> None:
    async def scenario() -> None:
        job, said = place.job(), list[BaseException]()
        watch = watched(job, said)
        async with running(job) as app:
            await place.fill(0, EVENTS)
            await eventually(lambda: sum(job.totals().values()) == 700)
            await watch.start()
            await asyncio.sleep(2)
            assert said == []
            app.consumer._active_partitions.clear()
            await asyncio.sleep(2 * LIVE_WAIT_SECONDS)  # a fetch under way may still take something
            await place.fill(0, EVENTS)
            await eventually(lambda: bool(said))
        await watch.stop()
        assert isinstance(said[0], StalledError) and "700 messages wait" in str(said[0])

    asyncio.run(scenario())


def test_a_consumer_that_answers_nothing_any_more_is_noticed(place: Place) -> None:
    async def scenario() -> None:
        job, said = place.job(), list[BaseException]()
        watch = watched(job, said)

        async def never() -> Any:
            await asyncio.Event().wait()

        async with running(job) as app:
            app.ask_ends = never
            await watch.start()
            await eventually(lambda: bool(said))
        await watch.stop()
        assert "answers no questions" in str(said[0])

    asyncio.run(scenario())


def test_a_worker_whose_fetching_ended_fails_instead_of_waiting_for_ever(place: Place) -> None:
    async def scenario() -> None:
        job = place.job()
        async with running(job) as app:
            thread = app.consumer._thread
            thread.thread_loop.call_soon_threadsafe(thread._consumer._fetcher._fetch_task.cancel)
            await eventually(lambda: app.failure is not None)
        assert isinstance(app.failure, KafkaError) and "no longer fetches" in str(app.failure)

    asyncio.run(scenario())


def test_a_follower_whose_fetching_ended_reads_on_with_a_new_consumer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = log_reader.plain_consumer
    monkeypatch.setattr(log_reader, "plain_consumer", lambda *args: made.append(make(*args)) or made[-1])

    async def scenario() -> None:
        await place.fill(0, EVENTS)
        seen: list[bytes | None] = []
        follower = Follower(place.bootstrap, [place.topic], lambda topic, record: seen.append(record.value))
        await follower.start()
        made[0]._fetcher._fetch_task.cancel()
        await place.fill(0, [b"afterwards"])
        await eventually(lambda: b"afterwards" in seen)
        await follower.stop()

    asyncio.run(scenario())
    assert len(made) == 2
