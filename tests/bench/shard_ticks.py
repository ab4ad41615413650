"""Times what one shard's work is made of: folding, evaluating and telling at a tick, and spelling; no servers.

*users* users of *orgs* orgs, four weeks of activities behind them, then *ticks* times a few chunks and a tick, as a
busy live worker has them. With `--profile`, says which functions the time goes to.

    python -m tests.bench.shard_ticks --users 10000 --orgs 500 --ticks 40
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from agents.documents import Documents
from state.activity import Tick
from state.effects import OrgScore, UserScore
from state.limits import Limits
from state.shard import Shard
from streams.model_file import load_model
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.bench.memory import CHUNK, WEEK_MS, chunk

START_MS = 2_900 * WEEK_MS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--orgs", type=int, default=500)
    parser.add_argument("--ticks", type=int, default=40)
    parser.add_argument("--chunks", type=int, default=4, help="before each tick")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    wanted = parser.parse_args()
    model, rng = load_model(""), np.random.default_rng(5)
    shard = Shard(0, model, Limits())
    documents = Documents(model, topic_names(Settings()), 0, 3)
    weeks, now = 4 * 20, START_MS
    for number in range(weeks):
        shard.apply(chunk(rng, 0, wanted.users, wanted.orgs, now, WEEK_MS // 20, number), number)
        now += WEEK_MS // 20
    shard.apply(Tick(0, 1), weeks)
    seconds = {"fold": 0.0, "tick": 0.0, "spell": 0.0}
    profile = cProfile.Profile() if wanted.profile else None
    told = 0

    def timed(part: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        if profile:
            profile.enable()
        found = work()
        if profile:
            profile.disable()
        seconds[part] += time.perf_counter() - began
        return found

    def spell(effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, UserScore):
                documents.user(effect, shard.position, 0)
            elif isinstance(effect, OrgScore):
                documents.org(effect, shard.position, 0)

    for number in range(weeks, weeks + wanted.ticks):
        for _ in range(wanted.chunks):
            rows = chunk(rng, 0, wanted.users, wanted.orgs, now, 1_000, number)
            timed("fold", partial(shard.apply, rows, number))
            now += 1_000
        effects = timed("tick", partial(shard.apply, Tick(now, 1), number))
        timed("spell", partial(spell, effects))
        told += len(effects)
    figures = {name: round(value, 3) for name, value in seconds.items()}
    figures["told"] = told
    figures["events"] = wanted.ticks * wanted.chunks * CHUNK
    for name, value in figures.items():
        print(f"{name:10} {value:>12,}")
    print(json.dumps(figures))
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
