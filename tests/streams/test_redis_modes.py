"""What can become of a Redis, one mode at a time: each is noticed, said and mended without anybody's help."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.local.redis import LocalRedis
from streams.redis_sink import Source, Write
from tests.streams.sink_bench import WAIT_SECONDS, Bench, Wire, fence, running, user

EVERYBODY = [user(f"u{number}", "50.00", 5, change=None) for number in range(300)]
BY_SCORE = "p:org:{acme}:users:by-score"


async def everybody_is_back(bench: Bench, resyncs: int = 1) -> None:
    await bench.until(lambda: bench.metrics.redis_resyncs.value() >= resyncs)
    assert await bench.sink.drain(WAIT_SECONDS), bench.sink.status
    assert bench.redis.zcard(BY_SCORE) == 300
    assert bench.metrics.redis_resync_ratio.value() == 1


def flush(server: LocalRedis, client: Any, _: Path) -> None:
    client.flushall()


def follow_and_lead_again(server: LocalRedis, client: Any, tmp_path: Path) -> None:
    with LocalRedis(tmp_path / "other") as other:
        client.execute_command("REPLICAOF", "127.0.0.1", other.url.split(":")[2].split("/")[0])
        while client.dbsize():  # it takes over the other one's content, which is none
            pass
        client.execute_command("REPLICAOF", "NO", "ONE")


def swap_databases(server: LocalRedis, client: Any, _: Path) -> None:
    client.execute_command("SWAPDB", "0", "1")


@pytest.mark.parametrize("lose_it", [flush, follow_and_lead_again, swap_databases])
def test_an_idle_sink_notices_that_redis_lost_what_it_held_though_it_never_failed(
    own_redis: LocalRedis, tmp_path: Path, lose_it: Callable[[LocalRedis, Any, Path], None]
) -> None:
    async def scenario() -> None:
        async with running(Bench(own_redis.url, "p:", lambda: EVERYBODY)) as bench:
            await bench.write(*EVERYBODY)
            await asyncio.to_thread(lose_it, own_redis, bench.redis, tmp_path)
            assert bench.redis.zcard(BY_SCORE) == 0
            await everybody_is_back(bench)

    asyncio.run(scenario())


def test_two_sinks_of_one_redis_do_not_take_each_other_for_a_fault(redis_server: LocalRedis, topic_prefix: str) -> None:
    async def scenario() -> None:
        one, other = Bench(redis_server.url, topic_prefix), Bench(redis_server.url, topic_prefix)
        async with running(one), running(other):
            looks = {"one": 0, "other": 0}
            for name, bench in (("one", one), ("other", other)):
                look = bench.sink._identity.change

                async def counted(client: Any, name: str = name, look: Any = look) -> str:
                    looks[name] += 1
                    found: str = await look(client)
                    return found

                bench.sink._identity.change = counted  # type: ignore[method-assign]
            await one.until(lambda: min(looks.values()) >= 2)
            assert one.metrics.redis_resyncs.value() == other.metrics.redis_resyncs.value() == 0

    asyncio.run(scenario())


def test_a_redis_set_back_to_an_old_snapshot_gets_the_newer_values_and_loses_what_nobody_knows(tmp_path: Path) -> None:
    now = [user("u1", "90.00", 9, change=None), user("u2", "80.00", 9, change=None)]

    def unknown(keys: Sequence[str]) -> list[Write]:
        known = {write.key for write in now}
        names = [key.split(":", 2)[2] for key in keys if key.startswith("user:{acme}:")]
        names += [key.split("\0")[1] for key in keys if key.startswith("org:{acme}:users:by-score\0")]
        return [user(name, "", 9, change=None) for name in names if f"user:{{acme}}:{name}" not in known]

    async def scenario() -> None:
        with LocalRedis(tmp_path / "redis", persistent=True) as server:
            bench = Bench(server.url, "p:")
            bench.use(Source(lambda: now, lambda: 2, unknown))
            async with running(bench):
                await bench.write(user("u1", "10.00", 1, change=None), user("gone", "20.00", 1, change=None))
                bench.redis.hset("p:user:{acme}:foreign", mapping={"name": "somebody else's"})
                server.stop()
                shutil.copytree(tmp_path / "redis", tmp_path / "snapshot")
                server.start()
                await bench.write(*now, user("gone", "", 8, change=None))
                await bench.until(lambda: bench.metrics.redis_resyncs.value() == 1)
                assert await bench.sink.drain(WAIT_SECONDS)
                server.stop()
                shutil.rmtree(tmp_path / "redis")
                shutil.copytree(tmp_path / "snapshot", tmp_path / "redis")
                server.start()
                assert bench.hash("user:{acme}:gone")["score"] == "20.00"  # the fault has happened
                await bench.until(lambda: bench.metrics.redis_resyncs.value() == 2)
                assert await bench.sink.drain(WAIT_SECONDS)
                assert bench.redis.zrange(BY_SCORE, 0, -1, withscores=True) == [("u2", 80.0), ("u1", 90.0)]
                assert bench.hash("user:{acme}:gone") == {"deleted": "1", "fence": fence(9)}
                assert bench.hash("user:{acme}:foreign") == {"name": "somebody else's"}

    asyncio.run(scenario())


def test_what_an_older_owner_calls_unknown_is_kept_where_a_newer_one_wrote_it(
    redis_server: LocalRedis, topic_prefix: str
) -> None:
    async def scenario() -> None:
        old, new = Bench(redis_server.url, topic_prefix), Bench(redis_server.url, topic_prefix)
        old.use(Source(tuple, lambda: 0, lambda keys: [user("ann", "", 5, change=None)] if keys else []))
        async with running(old), running(new):
            await new.write(user("ann", "70.00", 6))
            old.sink.request_resync("it slept")
            await old.until(lambda: old.metrics.redis_fenced.value() > 0)
            assert await old.sink.drain(WAIT_SECONDS)
            assert new.hash("user:{acme}:ann")["score"] == "70.00"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("break_it", "mend_it", "kind"),
    [
        ([("ACL", "SETUSER", "default", "-hset")], [("ACL", "SETUSER", "default", "+hset")], "NOPERM"),
        ([("ACL", "SETUSER", "default", "resetkeys")], [("ACL", "SETUSER", "default", "allkeys")], "NOPERM"),
        ([("CONFIG", "SET", "requirepass", "x"), ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")],
         [("CONFIG", "SET", "requirepass", "")], "NOAUTH"),
        ([("CONFIG", "SET", "min-replicas-to-write", "1")], [("CONFIG", "SET", "min-replicas-to-write", "0")],
         "NOREPLICAS"),
    ],
)  # fmt: skip
def test_a_redis_that_does_not_let_us_write_is_waited_for_and_said(
    own_redis: LocalRedis, break_it: list[tuple[str, ...]], mend_it: list[tuple[str, ...]], kind: str
) -> None:
    async def scenario() -> None:
        async with running(Bench(own_redis.url, "p:", lambda: EVERYBODY)) as bench:
            await bench.write(user("u1", "10.00", 1))
            for command in break_it:
                bench.redis.execute_command(*command)
            bench.sink.put([user("u1", "20.00", 2)])
            await bench.until(lambda: bench.metrics.redis_errors.value(kind) >= 2)
            ok, detail = bench.sink.status
            assert not ok and kind in detail and "since 1970-01-01T00:00:07Z" in detail and "1 waiting" in detail
            for command in mend_it:
                bench.redis.execute_command(*command)
            assert await bench.sink.drain(WAIT_SECONDS)
            assert bench.hash("user:{acme}:u1")["score"] == "20.00"
            assert bench.sink.status == (True, "takes writes")

    asyncio.run(scenario())


def test_a_very_slow_redis_gets_the_newest_values_while_what_waits_stays_within_its_limit(
    own_redis: LocalRedis,
) -> None:
    async def scenario() -> None:
        wire = Wire(own_redis.url)
        async with wire as url, running(Bench(url, "p:", max_pending=1000, batch=100, look_at=own_redis.url)) as bench:
            wire.delay_seconds = 0.1  # each way; the time limit of the bench's sink is 0.5
            for score in range(10):
                bench.sink.put([user(f"u{number}", f"{score}.00", score + 1, change=None) for number in range(100)])
                assert bench.sink.pending <= 1000
                await asyncio.sleep(0)
            assert await bench.sink.drain(WAIT_SECONDS)
            assert wire.slow_bytes > 0
            assert bench.metrics.redis_errors.values == {}
            assert {score for _, score in bench.redis.zrange(BY_SCORE, 0, -1, withscores=True)} == {9.0}

    asyncio.run(scenario())


def test_a_connection_cut_in_the_middle_of_a_pipeline_loses_nothing_and_tells_no_change_twice(
    own_redis: LocalRedis,
) -> None:
    async def scenario() -> None:
        wire = Wire(own_redis.url)
        async with wire as url, running(Bench(url, "p:", batch=500, look_at=own_redis.url)) as bench:
            for turn in range(5):
                wire.cut_after_bytes = 15_000 * (turn + 1)
                writes = [user(f"u{number}", f"{turn}.{number}", turn + 1) for number in range(500)]
                await bench.write(*writes)
            assert wire.cuts == 5
            assert bench.redis.zcard(BY_SCORE) == 500
            changes = bench.changes()
            assert len(changes) == len(set(changes)) == 2500

    asyncio.run(scenario())


def test_everything_is_told_again_before_its_lifetime_ends(own_redis: LocalRedis) -> None:
    async def scenario() -> None:
        bench = Bench(own_redis.url, "p:", lambda: EVERYBODY, ttl=4)
        async with running(bench):
            await bench.write(*EVERYBODY)
            for resyncs in (1, 2, 3):  # 6 seconds
                await everybody_is_back(bench, resyncs)
            assert bench.redis.ttl("p:user:{acme}:u1") > 0

    asyncio.run(scenario())


def test_a_sink_whose_redis_was_never_there_says_so_and_writes_when_it_comes(own_redis: LocalRedis) -> None:
    async def scenario() -> None:
        own_redis.kill()
        async with running(Bench(own_redis.url, "p:")) as bench:
            assert not bench.sink.status[0]
            bench.sink.put([user("u1", "10.00", 1)])
            await bench.until(lambda: not bench.sink.healthy)
            assert "ConnectionError" in bench.sink.status[1]
            own_redis.start()
            assert await bench.sink.drain(WAIT_SECONDS)
            assert bench.hash("user:{acme}:u1")["score"] == "10.00"

    asyncio.run(scenario())
