"""Times score documents on their way into Redis: spelled from a real shard, through the real sink and its script.

A shard with *users* users and a week behind them gives their documents (what a tick tells of a user: thirty attributes'
reasons, split, history, and a place in the ranking of the org). They are put into a sink as a commit puts them, and
timed from the first `put` until nothing waits: on the clock, and the processor time of the worker's side (packing,
sending, replies) and of the server. *empty*: the server knows none of them; *again*: it holds them all, under an older
fence, as in every tick after the first. Spelling is timed apart: it is done before the commit.

Goal: 100,000 writes in at most 3 seconds.

    python -m tests.bench.redis_writes --users 100000 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from msgspec import structs

from agents.documents import Documents, fence_of
from agents.wiring import limits_of
from deploy.local.redis import LocalRedis
from state.effects import Effect, UserScore
from state.shard import Shard
from state.week import HOUR_MS
from streams.clock import WallClock
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.model_file import load_model
from streams.redis_sink import RedisSink, Source
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.bench.filled import fill_shard, subjects_of

PREFIX = "bench:"
GOAL_SECONDS, GOAL_WRITES = 3.0, 100_000


def documents(users: int, events: int) -> tuple[list[Write], float]:
    """Return the writes of *users* users of a filled shard, and the processor seconds that spelling them took."""
    settings, model = Settings(), load_model("")
    names = [name for part in subjects_of(settings, users) for name in part]
    said: list[Effect] = []
    shard = Shard(0, model, limits_of(settings))
    fill_shard(shard, names, events, int(time.time() * 1000) // HOUR_MS * HOUR_MS, told=said.extend)
    spell = Documents(model, topic_names(settings), 0, settings.latency.min_count)
    scores = [effect for effect in said if isinstance(effect, UserScore)]
    began = time.process_time()
    found = [spell.user(score, shard.position, 0)[1] for score in scores]
    seconds = time.process_time() - began
    if len(found) != users:
        raise SystemExit(f"{len(found):,} documents of {users:,} users")
    return found, seconds


async def write(url: str, writes: list[Write]) -> dict[str, float]:
    """Put *writes* into a sink of its own, and return how long that took.

    Raises:
        SystemExit: If Redis did not take each of them.
    """
    settings, metrics = Settings(), Metrics()
    sink = RedisSink(
        url, PREFIX, settings.redis.ttl_hours * 3600, settings.redis.batch, len(writes) + 1, metrics, WallClock(),
        Source(tuple),
    )  # fmt: skip
    task = asyncio.create_task(sink.run())
    server = redis.Redis.from_url(url)
    while not sink.status[0]:  # noqa: ASYNC110  # connected, and the script is there
        await asyncio.sleep(0.01)
    server_began, own_began, began = _server_seconds(server), time.process_time(), time.perf_counter()
    sink.put(writes)
    if not await sink.drain(600):
        raise SystemExit(f"Redis did not take them: {sink.last_error}")
    figures = {
        "seconds": time.perf_counter() - began,
        "own_processor_seconds": time.process_time() - own_began,
        "server_processor_seconds": _server_seconds(server) - server_began,
    }
    server.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if metrics.redis_writes.value("applied") != len(writes):
        raise SystemExit(f"not all were applied: {metrics.redis_writes.values}")
    return figures


def _server_seconds(server: Any) -> float:
    """Return the processor time that the server has used."""
    used = server.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def check(url: str, writes: list[Write]) -> None:
    """Compare what Redis holds with what was written.

    Raises:
        SystemExit: If anything differs: then no time counts.
    """
    server: Any = redis.Redis.from_url(url, decode_responses=True)
    for write_ in writes[:: max(1, len(writes) // 500)]:
        ((ranking, member, score),) = write_.ranks
        if server.hgetall(PREFIX + write_.key) != write_.fields or server.zscore(PREFIX + ranking, member) != score:
            raise SystemExit(f"{write_.key} is not what was written")
    if (held := sum(1 for _ in server.scan_iter(f"{PREFIX}user:*", count=10_000))) != len(writes):
        raise SystemExit(f"Redis holds {held:,} users instead of {len(writes):,}")
    server.close()


def later(writes: list[Write], number: int) -> list[Write]:
    """Return *writes* as a later tick would tell them."""
    fence = fence_of(0, 1_000_000 + number)
    return [structs.replace(each, fields={**each.fields, "fence": fence}, fence=fence) for each in writes]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", help="an existing server, whose keys under `bench:` are overwritten")
    parser.add_argument("--users", type=int, default=GOAL_WRITES)
    parser.add_argument("--events", type=int, default=12, help="activities of a user in the week")
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    writes, spelling = documents(wanted.users, wanted.events)
    rounds: list[dict[str, float]] = []
    with ExitStack() as stack:
        url = wanted.redis
        if url is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orgpulse-bench-")))
            url = stack.enter_context(LocalRedis(place / "redis")).url
        for number in range(wanted.rounds + 1):
            told = later(writes, number)
            rounds.append(asyncio.run(write(url, told)))
        check(url, told)
        server = redis.Redis.from_url(url)
        held_bytes = int(server.info("memory")["used_memory"]) / wanted.users
    print(f"{'seconds':12} {'on the clock':>14} {'own processor':>14} {'server processor':>17}")
    for number, figures in enumerate(rounds):
        print("{:12} {:14.2f} {:14.2f} {:17.2f}".format("again" if number else "empty", *figures.values()))
    best = min(rounds[1:], key=lambda figures: figures["seconds"])
    of_goal = best["seconds"] * GOAL_WRITES / wanted.users
    slower = max(best["own_processor_seconds"], best["server_processor_seconds"]) * GOAL_WRITES / wanted.users
    print(f"the busier side works for {slower:.2f} s per 100,000: what remains on an idle machine with two cores")
    print(f"spelling {spelling:.2f} s; {held_bytes:,.0f} bytes a user in Redis")
    print(f"goal: 100,000 writes in at most 3 s: {of_goal:.2f} s, {'met' if of_goal <= GOAL_SECONDS else 'missed'}")
    print(json.dumps({"rounds": rounds, "spelling_seconds": spelling, "redis_bytes_per_user": held_bytes}))


if __name__ == "__main__":
    main()
