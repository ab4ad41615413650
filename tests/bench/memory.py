"""Measures memory per active user of the store: shards in this process, no servers.

*users* users, each with *events* activities of the past week over twelve measures,
go through four shards as packed rows, as `ingest` would send them. Reported are the
growth of the process's resident memory, what a checkpoint holds, and with `--parts`
the bytes of every array and Python object by part of the shard.

    python -m tests.bench.memory --users 200000 --events 25
    python -m tests.bench.memory --users 10000 --weeks 12 --parts
    python -m tests.bench.memory --users 10000 --idle-weeks 12 --parts
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np

from state.activity import SEPARATOR, Rows, Tick
from state.shard import Limits, Shard
from streams.model_file import load_model
from tests.bench.store_size import by_part, sizes

PARTITIONS = 4
CHUNK = 5_000
HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
USERS_PER_ORG = 20
MEASURES = [
    "search", "advanced_search", "export", "share", "content_viewed", "dashboard_viewed", "comment", "session",
    "syslog_change", "login", "annotation", "report_opened",
]  # fmt: skip


def resident_bytes() -> int:
    """Return this process's resident memory, once what was freed is given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def chunk(
    rng: np.random.Generator, partition: int, users: int, orgs: int, start_ms: int, span_ms: int, number: int
) -> Rows:
    """Return one packed chunk of random activities of one partition's *users*, of *orgs* orgs, within a time span."""
    who = rng.integers(0, users, CHUNK)
    names, subject = np.unique(who, return_inverse=True)
    subjects = [f"o{partition}-{u % orgs}{SEPARATOR}u{partition}-{u}" for u in names.tolist()]
    times = start_ms + np.sort(rng.integers(0, span_ms, CHUNK))
    return Rows(
        "product-events", partition, number * CHUNK, subjects, MEASURES, subject.astype("<u2").tobytes(),
        rng.integers(0, len(MEASURES), CHUNK).astype("u1").tobytes(), times.astype("<i8").tobytes(), b"",
        rng.integers(1, 1 << 63, CHUNK).astype("<u8").tobytes(), b"", np.arange(CHUNK).astype("<u4").tobytes(),
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--events", type=int, default=25, help="a user and week")
    parser.add_argument("--parts", action="store_true", help="say which part of a shard holds how much")
    parser.add_argument("--weeks", type=int, default=1, help="how many weeks of that load, the last one until now")
    parser.add_argument("--idle-weeks", type=int, default=0, help="weeks after it in which one user alone is active")
    wanted = parser.parse_args()
    model, rng = load_model(""), np.random.default_rng(5)
    before = resident_bytes()
    shards = [Shard(p, model, Limits()) for p in range(PARTITIONS)]
    users = wanted.users // PARTITIONS
    per_shard = max(1, wanted.users * wanted.events * wanted.weeks // PARTITIONS // CHUNK)
    start = int(time.time() * 1000) - WEEK_MS * wanted.weeks
    began = time.process_time()
    for number in range(per_shard):
        moment = start + number * (WEEK_MS * wanted.weeks - HOUR_MS) // per_shard
        for shard in shards:
            rows = chunk(rng, shard.partition, users, users // USERS_PER_ORG, moment, HOUR_MS, number)
            shard.apply(rows, 2 * number)
    for shard in shards:
        shard.apply(Tick(0, 1), 2 * per_shard)
    folded = time.process_time() - began
    for week in range(wanted.idle_weeks):
        for shard in shards:
            rows = chunk(rng, shard.partition, 1, 1, shard.watermark_ms + WEEK_MS - HOUR_MS, HOUR_MS, per_shard + week)
            shard.apply(rows, 2 * per_shard + week)
            shard.apply(Tick(0, 2 + week), 2 * per_shard + week)
    active = PARTITIONS * users if wanted.idle_weeks else sum(sum(shard.board.bands().values()) for shard in shards)
    grown = resident_bytes() - before
    held = sum((sizes(shard) for shard in shards), Counter[str]())
    checkpoint = sum(len(raw) for shard in shards for raw in shard.checkpoint().values())
    figures = {
        "users": active,
        "events": per_shard * CHUNK * PARTITIONS,
        "resident_bytes_per_user": round(grown / active),
        "counted_bytes_per_user": round(held.total() / active),
        "checkpoint_bytes_per_user": round(checkpoint / active),
        "processor_seconds": round(folded, 1),
    }
    if wanted.parts:
        for part, size in by_part(held).most_common():
            print(f"{part:28} {size / active:>14,.1f} bytes per user")
            mine = Counter({name: n for name, n in held.items() if name.startswith(part + ".")})
            for name, n in mine.most_common(16):
                if n / active >= 1:
                    print(f"    {name:32} {n / active:>14,.1f}")
    for name, value in figures.items():
        print(f"{name:28} {value:>14,}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
