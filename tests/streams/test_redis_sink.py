"""The sink against real servers: fences, restarts, freezes, refusals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from deploy.local.redis import LocalRedis
from streams.redis_sink import Write
from tests.streams.sink_bench import WAIT_SECONDS, Bench, fence, running, user


def test_an_older_fence_is_refused_and_counted(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(user("u1", "70.00", 10))
            await bench.write(user("u1", "20.00", 9))
            assert bench.hash("user:{acme}:u1")["score"] == "70.00"
            assert bench.redis.zscore(topic_prefix + "org:{acme}:users:by-score", "u1") == 70.0
            assert bench.changes() == ["70.00"]
            assert bench.metrics.redis_fenced.value() == 1

    asyncio.run(scenario())


def test_an_equal_fence_writes_again_but_appends_its_change_once(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(user("u1", "70.00", 10))
            await bench.write(user("u1", "70.00", 10))
            assert bench.changes() == ["70.00"]
            assert bench.metrics.redis_writes.values == {("applied",): 1, ("repeated",): 1}

    asyncio.run(scenario())


def test_a_write_is_absolute_and_every_key_has_a_lifetime(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(Write("totals", {"orgs": "1", "gone": "1"}, fence(1)))
            await bench.write(Write("totals", {"orgs": "2"}, fence(2)), user("u1", "70.00", 2))
            assert bench.hash("totals") == {"orgs": "2", "fence": fence(2)}
            keys = bench.redis.keys(topic_prefix + "*")
            assert len(keys) == 5  # and the sink's own marker
            assert all(0 < bench.redis.ttl(key) <= 1000 for key in keys)

    asyncio.run(scenario())


def test_a_latency_map_of_340_fields_fits_in_one_write(redis_server: LocalRedis, topic_prefix: str) -> None:
    fields = {f"f{number}": str(number) for number in range(1400)}

    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(Write("latency:{acme}", fields, fence(1)))
            assert bench.hash("latency:{acme}") == {**fields, "fence": fence(1)}

    asyncio.run(scenario())


def test_a_deleted_subject_is_not_resurrected_by_an_older_write(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            await bench.write(user("u1", "70.00", 10))
            await bench.write(user("u1", "", 12, change=None))
            await bench.write(user("u1", "70.00", 11))
            assert bench.hash("user:{acme}:u1") == {"deleted": "1", "fence": fence(12)}
            assert bench.redis.zscore(topic_prefix + "org:{acme}:users:by-score", "u1") is None
            await bench.write(user("u1", "30.00", 13))
            assert bench.hash("user:{acme}:u1") == {"score": "30.00", "band": "watch", "fence": fence(13)}

    asyncio.run(scenario())


def test_coalesced_writes_keep_every_change_in_order(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        bench = Bench(redis_server.url, topic_prefix)
        bench.sink.put([user("u1", f"{score}.00", score) for score in (10, 20, 30)])
        bench.sink.put([user("u1", "15.00", 15)])
        assert bench.sink.pending == 3  # one write, two changes of those it replaced
        async with running(bench):
            assert await bench.sink.drain(WAIT_SECONDS)
            assert bench.hash("user:{acme}:u1")["score"] == "30.00"
            assert bench.changes() == ["10.00", "20.00", "30.00"]
            assert bench.metrics.redis_writes.value("applied") == 1

    asyncio.run(scenario())


def test_a_key_of_another_type_spoils_its_own_write_only(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            bench.redis.set(topic_prefix + "user:{acme}:u1", "not ours")
            await bench.write(user("u1", "70.00", 1), user("u2", "60.00", 1))
            assert bench.hash("user:{acme}:u2")["score"] == "60.00"
            assert bench.metrics.redis_writes.value("spoiled") == 1

    asyncio.run(scenario())


def test_a_redis_that_comes_back_empty_gets_everything_again(own_redis: LocalRedis) -> None:
    async def scenario() -> None:
        state = [user(f"u{number}", "50.00", 5, change=None) for number in range(1500)]
        async with running(Bench(own_redis.url, "p:", lambda: iter(state), batch=200)) as bench:
            await bench.write(*state)
            own_redis.kill()
            bench.sink.put([user("new", "10.00", 6)])
            await bench.until(lambda: not bench.sink.healthy)
            assert bench.metrics.redis_up.value() == 0
            assert bench.sink.last_error
            own_redis.start()
            assert await bench.sink.drain(WAIT_SECONDS)
            assert bench.sink.healthy and bench.metrics.redis_up.value() == 1
            assert bench.redis.zcard("p:org:{acme}:users:by-score") == 1501
            assert bench.metrics.redis_resyncs.value() == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("batch", [1, 100])
def test_a_resync_does_not_swallow_the_changes_that_still_wait(
    redis_server: LocalRedis, topic_prefix: str, batch: int
) -> None:
    async def scenario() -> None:
        state = [user(f"u{number}", "50.00", 5) for number in range(300)]
        silent = [user(f"u{number}", "50.00", 5, change=None) for number in reversed(range(300))]
        bench = Bench(redis_server.url, topic_prefix, lambda: silent, batch=batch)
        bench.sink.put(state)
        bench.sink.request_resync("test")
        async with running(bench):
            assert await bench.sink.drain(WAIT_SECONDS)
            assert len(bench.changes()) == 300

    asyncio.run(scenario())


def test_an_idle_sink_notices_that_redis_was_restarted(own_redis: LocalRedis) -> None:
    async def scenario() -> None:
        state = [user("u1", "50.00", 5, change=None)]
        async with running(Bench(own_redis.url, "p:", lambda: state)) as bench:
            await bench.write(*state)
            own_redis.kill()
            own_redis.start()
            await bench.until(lambda: bool(bench.redis.exists("p:user:{acme}:u1")))

    asyncio.run(scenario())


def test_a_frozen_redis_bounds_what_waits_and_catches_up_when_it_thaws(own_redis: LocalRedis) -> None:
    latest: dict[str, Write] = {}

    async def scenario() -> None:
        async with running(Bench(own_redis.url, "p:", lambda: list(latest.values()), max_pending=1000)) as bench:
            await bench.write(user("gone", "10.00", 1))
            os.kill(own_redis.pid, signal.SIGSTOP)
            try:
                bench.sink.put([user("gone", "", 2, change=None)])
                for number in range(5000):
                    write = user(f"u{number}", "50.00", 3)
                    latest[write.key] = write
                    bench.sink.put([write])
                    assert bench.sink.pending <= 1000
                await bench.until(lambda: not bench.sink.healthy)
            finally:
                os.kill(own_redis.pid, signal.SIGCONT)
            assert await bench.sink.drain(WAIT_SECONDS)
            assert bench.redis.zcard("p:org:{acme}:users:by-score") == 5000
            assert "score" not in bench.hash("user:{acme}:gone")
            assert bench.metrics.redis_dropped.value() > 0
            assert bench.metrics.redis_resyncs.value() == 1
            subjects = [entry["subject"] for _, entry in bench.redis.xrange("p:changes")]
            assert len(subjects) == len(set(subjects)), "a change was appended twice"
            await bench.write(user("later", "50.00", 4))
            assert bench.hash("user:{acme}:later")["score"] == "50.00"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("break_it", "mend_it", "kind"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM"),
    ],
)
def test_a_redis_that_refuses_writes_is_waited_for_and_said(
    own_redis: LocalRedis, break_it: tuple[str, ...], mend_it: tuple[str, ...], kind: str
) -> None:
    async def scenario() -> None:
        async with running(Bench(own_redis.url, "p:")) as bench:
            await bench.write(user("u1", "10.00", 1))
            bench.redis.execute_command(*break_it)
            bench.sink.put([user("u1", "20.00", 2)])
            await bench.until(lambda: bench.metrics.redis_errors.value(kind) >= 2)
            assert not bench.sink.healthy
            assert bench.sink.last_error.startswith(kind)
            assert bench.sink.pending > 0
            bench.redis.execute_command(*mend_it)
            assert await bench.sink.drain(WAIT_SECONDS)
            assert bench.hash("user:{acme}:u1")["score"] == "20.00"
            assert bench.changes() == ["10.00", "20.00"]

    asyncio.run(scenario())


def test_a_script_that_redis_forgot_is_loaded_again(own_redis: LocalRedis) -> None:
    async def scenario() -> None:
        async with running(Bench(own_redis.url, "p:")) as bench:
            await bench.write(user("u1", "10.00", 1))
            bench.redis.script_flush()
            await bench.write(user("u1", "20.00", 2))
            assert bench.hash("user:{acme}:u1")["score"] == "20.00"
            assert bench.metrics.redis_errors.value("NOSCRIPT") == 1

    asyncio.run(scenario())


def test_an_unreachable_redis_never_holds_up_put_and_drain_says_so() -> None:
    async def scenario() -> None:
        async with running(Bench("redis://127.0.0.1:1/0", "p:")) as bench:
            bench.sink.put([user("u1", "10.00", 1)])
            await bench.until(lambda: not bench.sink.healthy)
            assert not await bench.sink.drain(0.05)

    asyncio.run(scenario())


def test_a_state_that_cannot_be_read_ends_the_sink_loudly(own_redis: LocalRedis) -> None:
    def broken() -> Iterator[Write]:
        yield user("u1", "10.00", 1)
        raise LookupError("state changed under way")

    async def scenario() -> None:
        bench = Bench(own_redis.url, "p:", broken)
        bench.sink.request_resync("test")
        with pytest.raises(LookupError):
            await bench.sink.run()
        bench.redis.close()

    asyncio.run(scenario())
