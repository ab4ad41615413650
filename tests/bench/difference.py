"""Measures the comparison of two periods: how often chance is marked, how often a real change, how long it takes.

Waits are log-normal with a spread of 1.5, their 80th percentile is ten minutes. Chance: no quantile changes; printed is
the share of pairs of periods with any mark. Power: 12 hours become three times as slow; printed are the share of them
that is marked, and the share of false ones among marks.

    python -m tests.bench.difference --pairs 300
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from reports.coverage import gaps, suggest
from reports.difference import compare
from reports.dispersion import dispersion
from state.week_grid import WeekGrid
from tests.reports.test_difference import MINUTE, period
from tests.reports.test_dispersion import months

SLOW = 12


def main() -> None:
    """Print the figures, one a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--replies", type=int, default=1_000_000)
    options = parser.parse_args()
    _chance(options.pairs)
    _bursts(options.pairs)
    _power(options.pairs // 4)
    _speed(options.replies)


def _chance(pairs: int) -> None:
    cases = (
        ("20-400 replies an hour", 20, 400, 1, (1.5, 1.5)),
        ("20-60 replies an hour", 20, 60, 1, (1.5, 1.5)),
        ("20-400, whole minutes", 20, 400, MINUTE, (1.5, 1.5)),
        ("20-400, spread 2.0 and 0.4", 20, 400, 1, (2.0, 0.4)),
    )
    for name, low, high, unit, spreads in cases:
        marked = weeks = 0
        for seed in range(pairs):
            rng = np.random.default_rng(seed)
            found = compare(*(period(rng, rng.integers(low, high, 168), spread=s, unit=unit) for s in spreads))
            marked += bool(found.significant.any())
            weeks += found.week.significant
        print(f"chance, {name}: any hour {marked / pairs:.3f}, the whole week {weeks / pairs:.3f}", flush=True)


def _bursts(pairs: int) -> None:
    for corrected in (False, True):
        marked = 0
        for seed in range(pairs):
            rng = np.random.default_rng(seed)
            parts = [months(rng, 30, 0.5) for _ in range(2)]
            factor = dispersion(parts) if corrected else None
            marked += bool(compare(*map(WeekGrid.merged, parts), dispersion=factor).significant.any())
        how = "with" if corrected else "without"
        print(f"chance, days differ by 0.5 of 1.5, {how} dispersion: any hour {marked / pairs:.3f}", flush=True)


def _power(pairs: int) -> None:
    for replies in (50, 100, 150, 200, 400):
        found = false = 0
        for seed in range(pairs):
            rng, sizes = np.random.default_rng(seed), np.full(168, replies)
            marks = compare(period(rng, sizes), period(rng, sizes, slow=SLOW)).significant
            found, false = found + int(marks[:SLOW].sum()), false + int(marks[SLOW:].sum())
        share = false / max(1, found + false)
        print(
            f"three times slower, {replies} replies: found {found / (pairs * SLOW):.3f}, false {share:.3f}", flush=True
        )


def _speed(replies: int) -> None:
    grids = [period(np.random.default_rng(seed), np.full(168, replies // 168)) for seed in range(2)]
    for name, work in (
        ("compare", lambda: compare(*grids)),
        ("gaps", lambda: gaps(grids[0], target_ms=10 * MINUTE)),
        ("suggest", lambda: suggest(grids[0], 10, target_ms=10 * MINUTE)),
        ("dispersion", lambda: dispersion([grids])),
    ):
        start = time.perf_counter()
        work()
        print(
            f"{name}, {len(grids[0].keys):,} distinct waits a period: {time.perf_counter() - start:.2f} s", flush=True
        )


if __name__ == "__main__":
    main()
