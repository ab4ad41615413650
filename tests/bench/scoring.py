"""Times the scoring pass on one core: cut points and scores of a whole population, and a shard's evaluation of it.

Compared with plain numpy (quantile, searchsorted, weighted sum; no contributions) and with a Python loop over users
that gives the same outcome (from cut points that are given), extrapolated from a sample. The loop's outcome must be
equal before times count. One core: the process is tied to one processor, and seconds are those it worked (on an idle
machine, those on the clock). Values are heavy-tailed whole numbers with many ties; every eighth attribute is a
continuous sum.

    python -m tests.bench.scoring --users 1000000 --rounds 3
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import time
import tracemalloc
from bisect import bisect_right
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from state.activity import SEPARATOR
from state.health import DECILES, FULL, Mask, Matrix, Model
from state.kinds import LOWER_IS_BETTER, single_measures
from state.ring import RollingWeek
from state.scoreboard import Scoreboard
from state.scoring import Scores, cut_points, population_of, score_users
from state.subjects import Subjects
from state.week import HOUR_MS, WEEK_HOURS
from streams.model_file import load_model

SAMPLE = 20_000
USERS_PER_ORG = 20
DIRTY = 1_000
NOW_HOUR = 480_000
GOAL_USERS, GOAL_SECONDS, GOAL_TIMES_LOOP = 1_000_000, 1.0, 30
_CHUNK = 1_000_000


def matrix_of(rng: np.random.Generator, model: Model, users: int) -> tuple[Matrix, Mask]:
    """Return attribute values as a population has them, and where there is data, both of shape (users, A)."""
    shape = (users, len(model.attributes))
    values, known = np.zeros(shape, np.int64, order="F"), np.ones(shape, bool, order="F")
    for i, attribute in enumerate(model.attributes):
        if attribute.is_ranked:
            sums, counts = rng.lognormal(9, 2.5, users), rng.pareto(1.2, users) * rng.uniform(0.3, 3)
            values[:, i] = np.minimum(sums if i % 8 == 0 else counts, 2**40)
            if attribute.kind in LOWER_IS_BETTER:
                values[:, i] *= -1
        else:
            values[:, i] = rng.choice([0, FULL // 4, FULL], users)
        if attribute.missing == "reweight":
            known[:, i] = rng.random(users) < 0.4
    return values, known


def cuts_of(model: Model, values: Matrix, known: Mask) -> dict[str, list[int]]:
    """Return the population's cut points, counted as the system counts them."""
    found = population_of(model, values, known)
    return {name: cut_points(*counted) for name, counted in found.items()}


def plain_numpy(model: Model, values: Matrix) -> Any:
    """Return scores as one would write them first: no data policy, no contributions, cut points from quantiles."""
    score = np.zeros(len(values))
    for i, attribute in enumerate(model.attributes):
        edges = np.quantile(values[:, i], np.arange(1, DECILES) / DECILES)
        score += attribute.weight * np.searchsorted(edges, values[:, i], side="right") / DECILES
    return score / model.weights.sum()


def python_loop(
    model: Model, values: list[list[int]], known: list[list[bool]], cuts: dict[str, list[int]]
) -> list[Any]:
    """Return (score, contributions, coverage) of each user, one after the other."""
    rules = [(a.weight, cuts.get(a.name), a.missing == "reweight", a.kind in LOWER_IS_BETTER) for a in model.attributes]
    whole = sum(a.weight for a in model.attributes)
    found = []
    for row, has in zip(values, known, strict=True):
        tops, bottom, covered = [], 0, 0
        for value, there, (weight, edges, reweighted, lower) in zip(row, has, rules, strict=True):
            x = value if edges is None else bisect_right(edges, value) * 1000 if lower or value > 0 else 0
            tops.append(x * weight if there else 0)
            covered += weight * there
            bottom += weight if there or not reweighted else 0
        score = sum(tops) // max(bottom, 1)
        parts = [top // max(bottom, 1) for top in tops]
        order = sorted(range(len(tops)), key=lambda i: -(tops[i] % max(bottom, 1)))
        for i in order[: score - sum(parts)]:
            parts[i] += 1
        found.append((score, parts, covered * FULL // whole))
    return found


def seconds_of(work: Callable[[], Any], rounds: int) -> list[float]:
    """Return how long *work* took in each round."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return found


def are_equal(scores: Scores, looped: list[Any], sample: Any) -> bool:
    """Say whether the pass and the loop agree on the rows *sample*."""
    score, parts, coverage = scores.score[sample], scores.contributions[sample], scores.coverage[sample]
    return looped == list(zip(score.tolist(), parts.tolist(), coverage.tolist(), strict=True))


def time_matrix(model: Model, users: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds of the pass over a matrix, of plain numpy, and of the loop.

    Raises:
        SystemExit: If the pass and the loop differ.
    """
    rng = np.random.default_rng(5)
    values, known = matrix_of(rng, model, users)
    cuts = cuts_of(model, values, known)
    sample = np.sort(rng.choice(users, min(SAMPLE, users), replace=False))
    rows, has = values[sample].tolist(), known[sample].tolist()
    if not are_equal(score_users(model, values, known, cuts), python_loop(model, rows, has, cuts), sample):
        raise SystemExit("the pass and the loop differ: no times")
    return {
        "cut points": seconds_of(lambda: cuts_of(model, values, known), rounds),
        "scores": seconds_of(lambda: score_users(model, values, known, cuts), rounds),
        "cut points and scores": seconds_of(
            lambda: score_users(model, values, known, cuts_of(model, values, known)), rounds
        ),
        "plain numpy": seconds_of(lambda: plain_numpy(model, values), rounds),
        "python loop": [
            s * users / len(sample) for s in seconds_of(lambda: python_loop(model, rows, has, cuts), rounds)
        ],
    }


def board_of(model: Model, users: int) -> Scoreboard:
    """Return the board of a shard of *users* users with a week behind them, about fifteen activities each."""
    rng = np.random.default_rng(6)
    measures = len(model.catalogue.measures)
    subjects, week = Subjects(), RollingWeek(model.catalogue.measures, single_measures(model))
    slots = subjects.slots([f"o{n // USERS_PER_ORG}{SEPARATOR}u{n}" for n in range(users)])
    week.grow(len(subjects))
    board = Scoreboard(model, week, subjects)
    board.grow()
    week.advance(NOW_HOUR)
    each = np.minimum(1 + rng.pareto(1.1, users) * 3, 2_000).astype(np.int64)
    who = rng.permutation(np.repeat(slots, each))
    for at in range(0, len(who), _CHUNK):
        some = who[at : at + _CHUNK]
        what = np.minimum(rng.pareto(0.8, len(some)).astype(np.int64) + 7, measures - 1)
        hours = NOW_HOUR - (rng.beta(1, 2, len(some)) * WEEK_HOURS).astype(np.int64)
        amounts = rng.lognormal(8, 2, len(some)).astype(np.int64)
        week.add(some, what, hours * HOUR_MS, np.ones(len(some), np.int64), amounts)
        board.touch(some, hours)
    return board


STAGES = {
    "  attribute values": "attribute_values",
    "  ranks and contributions": "score_users",
    "  bands, store": "_store",
    "  orgs": "_score_orgs",
}


def time_board(model: Model, users: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return seconds of a whole evaluation by stage, of one with few touched, of counting; and memory in bytes."""
    board = board_of(model, users)
    found: dict[str, list[float]] = {name: [] for name in ("evaluation", *STAGES)}
    for _ in range(rounds):
        board.touch_all()
        profile = cProfile.Profile(time.process_time)
        found["evaluation"] += seconds_of(lambda profile=profile: profile.runcall(board.evaluate), 1)
        stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # typeshed does not know it
        for name, function in STAGES.items():
            found[name].append(sum(entry[3] for (_, _, called), entry in stats.items() if called == function))

    def few() -> None:
        board.dirty[np.arange(DIRTY) * (users // DIRTY)] = True
        board.evaluate(orgs=False)

    found[f"evaluation, {DIRTY} touched"] = seconds_of(few, rounds)
    found["counting the population"] = seconds_of(
        lambda: population_of(model, *board.values_of(board.population())), rounds
    )
    board.touch_all()
    held = sum(getattr(board, name).nbytes for name in vars(board) if isinstance(getattr(board, name), np.ndarray))
    tracemalloc.start()
    board.evaluate()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, {"board_bytes": held + board.week.size_bytes, "evaluation_bytes": peak}


def _verdict(met: bool) -> str:  # a yes or no is all it is about
    return "met" if met else "missed"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    model = load_model("")
    times = time_matrix(model, wanted.users, wanted.rounds)
    board_times, memory = time_board(model, wanted.users, wanted.rounds)
    times |= board_times
    print(f"{'seconds':28} {'min':>9} {'median':>9} {'max':>9}")
    for name, seconds in times.items():
        print(f"{name:28} {min(seconds):9.3f} {median(seconds):9.3f} {max(seconds):9.3f}")
    best = {name: round(min(seconds), 4) for name, seconds in times.items()}
    figures: dict[str, Any] = {"users": wanted.users, **memory}
    for yardstick in ("plain numpy", "python loop"):
        figures[f"times {yardstick}"] = round(best[yardstick] / best["cut points and scores"], 1)
    for name, value in figures.items():
        print(f"{name:28} {value:>14,}")
    scaled, times_loop = best["cut points and scores"] * GOAL_USERS / wanted.users, figures["times python loop"]
    print(f"goal: 1,000,000 users in at most {GOAL_SECONDS} s: {scaled:.2f} s, {_verdict(scaled <= GOAL_SECONDS)}")
    print(f"goal: at least {GOAL_TIMES_LOOP} × a loop: {times_loop} ×, {_verdict(times_loop >= GOAL_TIMES_LOOP)}")
    print(json.dumps(figures | best))


if __name__ == "__main__":
    main()
