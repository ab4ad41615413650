"""What came back in a recovery is told in the background: beside what is put, and never in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from deploy.local.redis import LocalRedis
from streams.redis_sink import Source, Write
from tests.streams.sink_bench import Bench, fence, running, user


def people(first: int, count: int, position: int) -> list[Write]:
    return [user(f"u{number}", "70.00", position, change=None) for number in range(first, first + count)]


def held(bench: Bench) -> int:
    return sum(1 for _ in bench.redis.scan_iter(f"{bench.prefix}user:*", count=1000))


def test_all_that_came_back_is_told_whatever_partitions_hold_nothing(
    redis_server: LocalRedis, topic_prefix: str
) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix, batch=100)) as bench:
            for first, count in ((0, 700), (700, 0), (700, 350)):
                bench.sink.tell(iter(people(first, count, 5)), count)
            assert bench.metrics.redis_resync_ratio.value() == 0
            assert await bench.sink.drain(20)
            assert held(bench) == 1050
            assert bench.metrics.redis_resync_ratio.value() == 1
            assert bench.metrics.redis_resyncs.value() == 0  # nothing was lost, and no key is looked for

    asyncio.run(scenario())


def test_what_is_put_goes_out_while_telling_has_to_wait(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        bench = Bench(redis_server.url, topic_prefix)
        bench.sink.may_tell = lambda: False
        async with running(bench):
            bench.sink.tell(iter(people(0, 50, 5)), 50)
            bench.sink.put([user("u1", "20.00", 7)])
            await bench.until(lambda: bench.hash("user:{acme}:u1").get("score") == "20.00")
            assert held(bench) == 1
            bench.sink.may_tell = lambda: True
            assert await bench.sink.drain(20)
            assert held(bench) == 50
            assert bench.hash("user:{acme}:u1") == {"score": "20.00", "band": "watch", "fence": fence(7)}  # the newer
            assert bench.metrics.redis_fenced.value() == 1

    asyncio.run(scenario())


def test_telling_everything_takes_the_place_of_what_came_back(redis_server: LocalRedis, topic_prefix: str) -> None:
    asked: list[str] = []

    def came_back() -> Iterator[Write]:
        for write in people(0, 500, 5):
            asked.append(write.key)
            yield write

    async def scenario() -> None:
        bench = Bench(redis_server.url, topic_prefix, batch=20)
        bench.use(Source(lambda: people(0, 500, 9)))
        bench.sink.request_resync("test")
        bench.sink.tell(came_back(), 500)  # a part of everything
        async with running(bench):
            assert await bench.sink.drain(20)
            assert not asked
            assert held(bench) == 500 and bench.hash("user:{acme}:u499")["fence"] == fence(9)

    asyncio.run(scenario())


def test_nothing_counts_as_told_before_the_end_however_much_more_there_is_than_was_thought(
    redis_server: LocalRedis, topic_prefix: str
) -> None:
    ratios: list[float] = []

    async def scenario() -> None:
        bench = Bench(redis_server.url, topic_prefix, batch=20)

        def came_back() -> Iterator[Write]:
            for write in people(0, 100, 5):
                ratios.append(bench.metrics.redis_resync_ratio.value() or 0.0)
                yield write

        async with running(bench):
            bench.sink.tell(came_back(), 30)
            assert await bench.sink.drain(20)
            assert bench.metrics.redis_resync_ratio.value() == 1 and held(bench) == 100

    asyncio.run(scenario())
    assert max(ratios) < 1
