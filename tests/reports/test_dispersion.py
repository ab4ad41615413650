"""One bad day is no change: replies that share their fate count as fewer."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from reports.difference import compare
from reports.dispersion import dispersion
from state.week_grid import WeekGrid
from tests.state.worlds import examples

PAIRS = 50
WEEKS = 13
SPREAD = 1.5


def months(rng: np.random.Generator, per_day: float, day_spread: float, slow: int = 0) -> list[WeekGrid]:
    """Return the three months of a quarter: *per_day* log-normal waits an hour, part of whose spread is the day's.

    The first *slow* hours of the week are three times as slow.
    """
    days = rng.normal(0, day_spread, 168 * WEEKS)
    place = np.repeat(np.arange(168 * WEEKS), rng.poisson(per_day, 168 * WEEKS))
    own = rng.normal(0, math.sqrt(SPREAD**2 - day_spread**2), len(place))
    hours, month = place // WEEKS, place % WEEKS * 3 // WEEKS
    waits = (np.exp(13 + days[place] + own) * np.where(hours < slow, 3, 1)).astype(np.int64)
    return [
        WeekGrid.of(hours[month == n], waits[month == n] >= 0, waits[month == n], np.zeros(168, np.int64))
        for n in range(3)
    ]


def marks(seed: int, day_spread: float, *, corrected: bool, slow: int = 0) -> np.ndarray:
    """Return which hours of two quarters are marked, at 30 replies an hour."""
    rng = np.random.default_rng(seed)
    old, new = months(rng, 30, day_spread), months(rng, 30, day_spread, slow)
    factor = dispersion([old, new]) if corrected else None
    return compare(WeekGrid.merged(old), WeekGrid.merged(new), dispersion=factor).significant


def test_days_that_are_bad_as_a_whole_are_not_sold_as_a_change() -> None:
    marked = sum(bool(marks(seed, 0.5, corrected=True).any()) for seed in range(PAIRS))
    assert marked <= scipy.stats.binom.ppf(0.999, PAIRS, 0.05)


def test_taken_as_independent_they_would_be() -> None:
    assert sum(bool(marks(seed, 0.5, corrected=False).any()) for seed in range(10)) > 5


def test_a_real_slowdown_is_found_all_the_same() -> None:
    slow = 12
    found = sum(int(marks(seed, 0.5, corrected=True, slow=slow)[:slow].sum()) for seed in range(10))
    assert found / (10 * slow) > 0.7


def test_independent_replies_count_almost_in_full() -> None:
    rng = np.random.default_rng(2)
    found = dispersion([months(rng, 20, 0.0), months(rng, 20, 0.0)])
    assert found.max() < 1.15


def test_busy_hours_are_dispersed_more() -> None:
    rng = np.random.default_rng(4)
    quiet, busy = months(rng, 4, 0.8), months(rng, 40, 0.8)
    parts = [
        WeekGrid.of(
            np.concatenate([a.hours[a.hours < 84], b.hours[b.hours >= 84]]),
            np.concatenate([a.firsts[a.hours < 84], b.firsts[b.hours >= 84]]),
            np.concatenate([a.waits_ms[a.hours < 84], b.waits_ms[b.hours >= 84]]),
            a.events,
        )
        for a, b in zip(quiet, busy, strict=True)
    ]
    found = dispersion([parts])
    assert 1 < found[:84].mean() < found[84:].mean() / 2


@examples(100)
@given(
    st.lists(st.tuples(st.sampled_from([0, 5]), st.integers(0, 2), st.integers(0, 20)), min_size=2, max_size=60),
    st.sampled_from([0.5, 0.8]),
)
def test_it_agrees_with_contingency_tables_in_pandas_and_scipy(
    rows: list[tuple[int, int, int]], quantile: float
) -> None:
    frame = pd.DataFrame(rows, columns=["hour", "part", "wait"])
    excess = weight = 0.0
    for _, hour in frame.groupby("hour"):
        table = pd.crosstab(hour["part"], hour["wait"] <= hour["wait"].quantile(quantile)).to_numpy()
        if table.shape[1] == 2 and len(table) > 1:
            freedom = (len(table) - 1) * len(hour) / (len(hour) - 1)
            excess += scipy.stats.chi2_contingency(table, correction=False).statistic - freedom
            weight += freedom * len(hour) / 3
    ratio = max(0.0, excess / weight) if weight else 0.0
    grids = []
    for part in range(3):
        here = frame[frame["part"] == part]
        hours, waits = here["hour"].to_numpy(np.int64), here["wait"].to_numpy(np.int64)
        grids.append(WeekGrid.of(hours, waits >= 0, waits, np.zeros(168, np.int64)))
    sizes = frame["hour"].value_counts().reindex(range(168), fill_value=0).to_numpy() / 3
    assert dispersion([grids], quantile=quantile) == pytest.approx(1 + ratio * sizes)


def test_a_period_of_one_part_or_none_says_nothing() -> None:
    rng = np.random.default_rng(2)
    assert dispersion([]).tolist() == [1.0] * 168
    assert dispersion([[], [WeekGrid.merged(months(rng, 20, 0.8))]]).tolist() == [1.0] * 168
