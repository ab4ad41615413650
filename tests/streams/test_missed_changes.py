"""The stream of changes against a real Redis: each change of what a hash shows is in it once, whoever told it."""

from __future__ import annotations

import asyncio

from msgspec import structs

from deploy.local.redis import LocalRedis
from streams.redis_sink import Write
from tests.streams.sink_bench import Bench, fence, running

KEY = "user:{acme}:ann"


def entry(former: str, band: str) -> dict[str, str]:
    return {"subject": "user:acme/ann", "from": former, "to": band}


def told(former: str, band: str, position: int) -> Write:
    change = entry(former, band) if former else None
    return Write(KEY, {"band": band}, fence(position), (), change)


def again(band: str, position: int) -> Write:
    missed = {former: entry(former, band) for former in ("at_risk", "watch", "healthy") if former != band}
    return Write(KEY, {"band": band}, fence(position), missed=missed)


def steps(bench: Bench) -> list[tuple[str, str]]:
    return [(found["from"], found["to"]) for _, found in bench.redis.xrange(bench.prefix + "changes")]


def test_a_change_that_died_with_its_worker_is_told_by_the_next_owner(
    redis_server: LocalRedis, topic_prefix: str
) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(told("", "healthy", 1))
            for _ in range(2):
                await bench.write(again("watch", 7))
            await bench.write(told("healthy", "watch", 5))  # the dead one's, come alive again
            assert steps(bench) == [("healthy", "watch")]
            assert bench.metrics.redis_fenced.value() == 1

    asyncio.run(scenario())


def test_a_change_that_telling_again_was_ahead_of_is_not_repeated(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(told("", "healthy", 1))
            await bench.write(again("watch", 2))
            await bench.write(told("healthy", "watch", 3))
            await bench.write(told("watch", "at_risk", 4))
            assert steps(bench) == [("healthy", "watch"), ("watch", "at_risk")]

    asyncio.run(scenario())


def test_a_change_after_one_that_got_lost_leads_from_what_is_shown(redis_server: LocalRedis, topic_prefix: str) -> None:
    #  shown   healthy ────────────────── at_risk, then healthy
    #  told    healthy ─►(lost)─► watch ─► at_risk     at_risk ─►(lost)─► watch ─► healthy
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(told("", "healthy", 1))
            await bench.write(
                structs.replace(told("watch", "at_risk", 5), change={**entry("watch", "at_risk"), "cause": "drop"})
            )
            await bench.write(
                structs.replace(told("watch", "watch", 7), change={**entry("healthy", "watch"), "cause": "drop"})
            )
            await bench.write(told("watch", "watch", 8))
            found = [(f["from"], f["to"], f["cause"]) for _, f in bench.redis.xrange(bench.prefix + "changes")]
            assert found == [("healthy", "at_risk", "drop"), ("at_risk", "watch", "rise")]

    asyncio.run(scenario())


def test_an_empty_redis_is_told_values_without_changes(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(again("watch", 2))
            assert bench.hash(KEY)["band"] == "watch"
            assert steps(bench) == []

    asyncio.run(scenario())


def test_what_is_told_again_and_replaced_while_it_waits_loses_none_of_its_changes(
    redis_server: LocalRedis, topic_prefix: str
) -> None:
    async def scenario() -> None:
        bench = Bench(redis_server.url, topic_prefix)
        async with running(bench):
            await bench.write(told("", "healthy", 1))
            bench.sink.put([again("watch", 5), told("watch", "at_risk", 6), again("at_risk", 7)])
            bench.sink.put([told("at_risk", "healthy", 8)])
            await bench.until(lambda: bench.sink.pending == 0)
            assert steps(bench) == [("healthy", "watch"), ("watch", "at_risk"), ("at_risk", "healthy")]

    asyncio.run(scenario())
