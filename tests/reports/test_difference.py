"""Did it get better? Noise is not sold as progress, and what is real is found."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from reports.difference import Difference, State, compare, movers
from state.waits import rounded_ms
from state.week_grid import WeekGrid
from tests.faults.extent import N
from tests.state.worlds import examples

PAIRS = 200 if N else 60
MINUTE = 60_000
FIGURES = ("before_ms", "after_ms", "change_ms", "p_value", "p_adjusted")


def period(
    rng: np.random.Generator, sizes: np.ndarray, *, spread: float = 1.5, slow: int = 0, unit: int = 1
) -> WeekGrid:
    """Return a period with *sizes* (168) log-normal waits whose 80th percentile is ten minutes.

    The first *slow* hours are three times as slow; waits are cut down to whole *unit* ms.
    """
    hours = np.repeat(np.arange(168), sizes)
    deviations = rng.standard_normal(len(hours)) - scipy.stats.norm.ppf(0.8)
    waits = np.exp(math.log(10 * MINUTE) + spread * deviations) * np.where(hours < slow, 3, 1)
    whole = (np.minimum(waits, 2**38) // unit * unit).astype(np.int64)
    return WeekGrid.of(hours, np.ones(len(hours), np.bool_), whole, np.zeros(168, np.int64))


def small(rows: list[tuple[int, bool, int]]) -> WeekGrid:
    """Return the grid of (hour, first, wait in ms)."""
    hours, firsts, waits = (np.array(column) for column in zip(*rows, strict=True)) if rows else np.zeros((3, 0))
    return WeekGrid.of(hours.astype(int), firsts.astype(bool), waits.astype(int), np.zeros(168, np.int64))


ROWS = st.lists(st.tuples(st.sampled_from([0, 1, 167]), st.booleans(), st.integers(0, 50)), max_size=80)


@pytest.mark.parametrize(
    ("fewest", "most", "unit", "spreads"),
    [
        (20, 200, 1, (1.5, 1.5)),
        (20, 200, MINUTE, (1.5, 1.5)),
        (20, 200, 1, (2.0, 0.4)),
    ],
    ids=["unequal counts", "waits in whole minutes", "one quantile, different spread"],
)
def test_if_no_quantile_changed_the_share_of_pairs_with_any_mark_is_at_most_the_level(
    fewest: int, most: int, unit: int, spreads: tuple[float, float]
) -> None:
    marked = weeks = 0
    for seed in range(PAIRS):
        rng = np.random.default_rng(seed)
        grids = [period(rng, rng.integers(fewest, most, 168), spread=spread, unit=unit) for spread in spreads]
        found = compare(*grids)
        marked += bool(found.significant.any())
        weeks += found.week.significant
    allowed = scipy.stats.binom.ppf(0.999, PAIRS, 0.05)
    assert marked <= allowed
    assert weeks <= allowed


def test_three_times_slower_hours_are_found_with_two_hundred_replies_and_few_others_are_marked() -> None:
    found = false = 0
    pairs, slow = 20, 12
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        sizes = np.full(168, 200)
        marks = compare(period(rng, sizes), period(rng, sizes, slow=slow)).significant
        found += int(marks[:slow].sum())
        false += int(marks[slow:].sum())
    assert found / (pairs * slow) > 0.9
    assert false / (found + false) < 0.08


@examples(150)
@given(ROWS, ROWS, st.booleans(), st.sampled_from([0.25, 0.5, 0.8]))
def test_figures_agree_with_pandas(
    before: list[tuple[int, bool, int]], after: list[tuple[int, bool, int]], first: bool, quantile: float
) -> None:
    found = compare(small(before), small(after), quantile=quantile, min_count=3, first=first)
    for rows, shown, count, week in (
        (before, found.before_ms, found.before_count, found.week.before_ms),
        (after, found.after_ms, found.after_count, found.week.after_ms),
    ):
        frame = pd.DataFrame(rows, columns=["hour", "first", "wait"]).astype({"hour": int, "wait": float})
        frame = frame[frame["first"].astype(bool)] if first else frame
        by_hour = frame.groupby("hour")["wait"]
        assert count.tolist() == by_hour.size().reindex(range(168), fill_value=0).tolist()
        expected = by_hour.quantile(quantile)[by_hour.size() >= 3].reindex(range(168))
        np.testing.assert_allclose(shown, expected)
        assert week == (pytest.approx(frame["wait"].quantile(quantile)) if len(frame) >= 3 else None)
    np.testing.assert_array_equal(found.change_ms, found.after_ms - found.before_ms)


@examples(100)
@given(ROWS, ROWS)
def test_state_says_which_period_has_data(
    before: list[tuple[int, bool, int]], after: list[tuple[int, bool, int]]
) -> None:
    found = compare(small(before), small(after), min_count=2)
    for hour in range(168):
        sides = found.before_count[hour] >= 2, found.after_count[hour] >= 2
        expected = {(0, 0): State.NEITHER, (1, 0): State.BEFORE, (0, 1): State.AFTER, (1, 1): State.BOTH}[sides]
        assert found.state[hour] == expected
        assert math.isnan(found.change_ms[hour]) == (expected != State.BOTH)
        assert not (found.significant[hour] and math.isnan(found.p_value[hour]))


def test_the_same_figures_come_from_grids_merged_in_any_order() -> None:
    rng = np.random.default_rng(5)
    parts = [period(rng, rng.integers(0, 60, 168), slow=slow) for slow in (0, 50, 0, 90)]
    one = compare(WeekGrid.merged(parts[:2]), WeekGrid.merged(parts[2:]))
    other = compare(WeekGrid.merged(parts[1::-1]), WeekGrid.merged(parts[:1:-1]))
    for name in FIGURES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.week == other.week


def test_a_handful_of_replies_is_never_marked_but_told_to_be_too_few() -> None:
    old, new = small([(3, True, 1)] * 5), small([(3, True, 1_000_000)] * 5)
    found = compare(old, new, min_count=5)
    assert found.change_ms[3] == 999_999
    assert np.flatnonzero(found.too_few).tolist() == [3]
    assert not found.significant.any()
    assert found.week.p_value is None
    assert not found.week.significant


def test_only_first_replies_are_tested_if_only_they_are_shown() -> None:
    old = small([(3, True, n) for n in range(100)] + [(3, False, 500)] * 200)
    new = small([(3, True, n + 1) for n in range(100)] + [(3, False, 90_000)] * 200)
    assert compare(old, new).significant[3]
    assert compare(old, new, first=True).p_value[3] > 0.5


def test_a_period_that_is_rounded_is_not_another_one_for_that() -> None:
    rng = np.random.default_rng(7)
    exact = period(rng, np.full(168, 3000), spread=0.1)
    rounded = WeekGrid.of(exact.hours, exact.firsts, rounded_ms(exact.waits_ms), exact.events, exact.counts)
    found = compare(exact, WeekGrid(rounded.events, rounded.keys, rounded.counts, exact=False))
    assert np.abs(found.change_ms / found.before_ms).max() < 1 / 256
    assert found.p_value.min() > 0.9


def test_the_biggest_movers_come_first_and_significant_ones_before_all_others() -> None:
    rng = np.random.default_rng(1)
    sizes = np.where(np.arange(168) < 20, 300, 25)
    found = compare(period(rng, sizes), period(rng, sizes, slow=3))
    most = movers(found, 10)
    slower = [(row.significant, row.change_ms) for row in most.slower]
    assert sorted(row.name for row in most.slower[:3]) == ["mon-00", "mon-01", "mon-02"]
    assert [mark for mark, _ in slower] == [True] * 3 + [False] * 7
    assert sorted(slower, reverse=True) == slower
    assert len(most.faster) == 10
    assert all(row.change_ms < 0 for row in most.faster)
    assert_rows_agree(found, most.slower[0].hour)


def assert_rows_agree(found: Difference, hour: int) -> None:
    row = found.row(hour)
    for name in FIGURES[:4]:
        assert getattr(row, name) == getattr(found, name)[hour]
    assert (row.before_count, row.after_count) == (found.before_count[hour], found.after_count[hour])


def test_a_row_without_data_has_none() -> None:
    row = compare(WeekGrid.empty(), WeekGrid.empty()).row(0)
    assert (row.before_ms, row.after_ms, row.change_ms, row.p_value, row.significant) == (None, None, None, None, False)


@pytest.mark.parametrize(("quantile", "level"), [(0.0, 0.05), (1.0, 0.05), (0.8, 0.0), (0.8, 1.0), (math.nan, 0.05)])
def test_a_quantile_or_level_outside_of_0_and_1_is_refused(quantile: float, level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        compare(WeekGrid.empty(), WeekGrid.empty(), quantile=quantile, level=level)
