"""Times what reply latency costs one shard (processor time): matching, folding, maps, months; and what it holds.

Messages of several orgs and channels, four in ten of them replies with heavy-tailed waits, a few deletions, go through
a shard as packed rows, as the log has them, with a tick now and then; no servers. Open messages must stay within
their limit.

    python -m tests.bench.latency --messages 10000000
    python -m tests.bench.latency --messages 2000000 --orgs 2000
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from state.activity import SEPARATOR, Rows, Tick
from state.limits import Limits
from state.shard import Shard
from streams.model_file import load_model
from tests.bench.memory import resident_bytes

CHUNK = 5_000
USERS, CHANNELS = 2_000, 12
CHUNKS_PER_TICK = 20
YEAR_MS = 365 * 24 * 3_600_000
START_MS = 1_640_995_200_000  # 2022-01-01


def hashed(numbers: Any) -> Any:
    """Return ids spread over 64 bits, as hashes are; 0 stays 0."""
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(32))).astype("<u8")


class Talk:
    """Makes messages in order of time; a reply is to one of the last, mostly to one of the very last."""

    def __init__(self, messages: int, orgs: int, seed: int = 5) -> None:
        self._rng, self._step_ms = np.random.default_rng(seed), max(1, 3 * YEAR_MS // messages)
        self._orgs = orgs

    def chunk(self, number: int) -> Rows:
        """Return chunk *number*; a message's org goes by its number, so that a reply finds one of its own org."""
        rng, ids = self._rng, np.arange(number * CHUNK, (number + 1) * CHUNK)
        back = (1 + rng.pareto(0.7, CHUNK) * 3).clip(max=1e7).astype(np.int64) * self._orgs
        parents = np.where((rng.random(CHUNK) < 0.4) & (back <= ids), ids - back, -1)
        deleted = (rng.random(CHUNK) < 0.005) & (parents >= 0)
        people = (rng.pareto(1.2, CHUNK) * USERS / 20).astype(np.int64) % USERS
        who, subject = np.unique(ids % self._orgs * USERS + people, return_inverse=True)
        times = START_MS + ids * self._step_ms
        return Rows(
            "chat-messages", 0, number * CHUNK, [f"o{n // USERS}{SEPARATOR}u{n}" for n in who.tolist()],
            ["message", "message_deleted"], subject.astype("<u2").tobytes(), deleted.astype("u1").tobytes(),
            times.astype("<i8").tobytes(), b"", hashed(ids + 1).tobytes(), hashed(parents + 1).tobytes(),
            np.arange(CHUNK).astype("<u4").tobytes(), places=["", *(f"#c{n}" for n in range(1, CHANNELS))],
            place=(rng.pareto(1.0, CHUNK).astype(np.int64) % CHANNELS).astype("<u2").tobytes(),
        )  # fmt: skip


def seconds_of(work: Callable[[], Any]) -> float:
    """Return how much of the processor's time *work* took."""
    began = time.process_time()
    work()
    return time.process_time() - began


def fill(shard: Shard, messages: int, orgs: int) -> dict[str, float]:
    """Let *messages* go through *shard*; return seconds, and the most there were open.

    Raises:
        SystemExit: If more were open than allowed.
    """
    talk, found, offset = Talk(messages, orgs), {"fold": 0.0, "ticks": 0.0, "slowest_tick": 0.0, "open_most": 0.0}, 0
    for number in range(messages // CHUNK):
        rows = talk.chunk(number)
        found["fold"] += seconds_of(lambda rows=rows, at=offset: shard.apply(rows, at))
        offset += 1
        found["open_most"] = max(found["open_most"], len(shard.replies))
        if found["open_most"] > Limits().max_open_messages:
            raise SystemExit(f"{found['open_most']:,.0f} messages are open: more than allowed")
        if number % CHUNKS_PER_TICK == CHUNKS_PER_TICK - 1:
            took = seconds_of(lambda at=offset, n=number: shard.apply(Tick(0, n // 500 + 1, catching_up=True), at))
            found["ticks"], found["slowest_tick"] = found["ticks"] + took, max(found["slowest_tick"], took)
            offset += 1
    return found


def measure(shard: Shard, messages: int, orgs: int, before: int) -> dict[str, float]:
    """Return the figures of a run."""
    spent = fill(shard, messages, orgs)
    resident, open_now = resident_bytes(), len(shard.replies)
    latency, org = shard.latency, "o0"
    month = latency.months(org)[-2]
    parts = shard.checkpoint()
    sizes = {
        part: sum(len(raw) for name, raw in parts.items() if name.startswith(part)) for part in ("latency", "repl")
    }
    zones = {entry.name: entry.zone for entry in shard.subjects.orgs}
    latency.take_overall(zones)
    shard._latencies()
    quiet = seconds_of(shard._latencies)
    shard.apply(Talk(messages, orgs).chunk(messages // CHUNK), 2 * messages)  # something new, in the running month
    busy = seconds_of(shard._latencies)
    running = seconds_of(lambda: latency.take_overall(zones))
    for name in latency.orgs():
        latency.zone_changed(name)  # every month anew
    return {
        "microseconds_a_message": spent["fold"] / messages * 1e6,
        "seconds_folding": spent["fold"],
        "seconds_ticks": spent["ticks"],
        "slowest_tick_ms": spent["slowest_tick"] * 1000,
        "open_at_most": spent["open_most"],
        "open_at_the_end": open_now,
        "resident_mb": (resident - before) / 1e6,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "lines": sum(len(latency.lines(name)) for name in latency.orgs()),
        "lines_mb": latency.size_bytes / 1e6,
        "checkpoint_latency_mb": sizes["latency"] / 1e6,
        "checkpoint_replies_mb": sizes["repl"] / 1e6,
        "map_ms": 1000 * seconds_of(lambda: shard._map(org)),
        "month_document_ms": 1000 * seconds_of(lambda: latency.month(org, month)),
        "maps_after_nothing_ms": 1000 * quiet,
        "maps_after_a_chunk_ms": 1000 * busy,
        "overall_running_month_ms": 1000 * running,
        "overall_all_months_ms": 1000 * seconds_of(lambda: latency.take_overall(zones)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--orgs", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    wanted = parser.parse_args()
    before, profile = resident_bytes(), cProfile.Profile()
    shard = Shard(0, load_model(""), Limits())
    run = profile.runcall if wanted.profile else (lambda work, *given: work(*given))
    found = run(measure, shard, wanted.messages, wanted.orgs, before)
    figures = {name: round(value, 2) for name, value in found.items()}
    for name, value in figures.items():
        print(f"{name:26} {value:>14,}")
    print(json.dumps({"messages": wanted.messages, "orgs": wanted.orgs} | figures))
    if wanted.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
