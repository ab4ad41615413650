"""The week of 168 hours against pandas."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.week import WEEK_HOURS
from state.week_grid import WAIT_BITS, WeekGrid, described, keys_of, places_of
from tests.state.worlds import examples

HOUR_MS = 3_600_000
LONGEST = (1 << WAIT_BITS) - 1
QUANTILES = (0.0, 0.5, 0.8, 0.95, 1.0)
Row = tuple[int, bool, int]  # hour of the week, first or not, ms
durations = st.one_of(st.integers(0, 5), st.integers(0, 10**9), st.integers(0, LONGEST))
rows = st.tuples(st.sampled_from([0, 1, 24, 100, 167]), st.booleans(), durations)


def grid_of(found: list[Row], events: list[int] | None = None) -> WeekGrid:
    hours, firsts, waits = (np.array(c) for c in zip(*found, strict=True)) if found else ([], [], [])
    written = np.bincount(np.array(events or [], np.int64), minlength=WEEK_HOURS)
    return WeekGrid.of(np.array(hours, np.int64), np.array(firsts, bool), np.array(waits, np.int64), written)


def table_of(found: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=["hour", "first", "ms"]).astype({"first": bool, "ms": "int64"})


@examples(150)
@given(st.lists(rows, max_size=60))
def test_quantiles_are_those_of_pandas_over_all_waits(found: list[Row]) -> None:
    grid, table = grid_of(found), table_of(found)
    for first in (False, True):
        own = table[table["first"]] if first else table
        for quantile in QUANTILES:
            by_hour = own.groupby("hour")["ms"].quantile(quantile).reindex(range(WEEK_HOURS))
            np.testing.assert_allclose(grid.quantiles_ms(quantile, first=first), by_hour, rtol=1e-12)
            whole = grid.quantile_ms(quantile, first=first)
            assert (whole is None) == own.empty
            if whole is not None:
                assert whole == pytest.approx(float(own["ms"].quantile(quantile)), rel=1e-12)


@examples(100)
@given(st.lists(rows, max_size=60), st.lists(st.integers(0, 167), max_size=20), durations)
def test_counts_are_those_of_pandas(found: list[Row], events: list[int], target: int) -> None:
    grid, table = grid_of(found, events), table_of(found)
    every, firsts = table.groupby("hour").size(), table[table["first"]]

    def sizes(own: pd.DataFrame) -> list[int]:
        return [int(n) for n in own.groupby("hour").size().reindex(range(WEEK_HOURS), fill_value=0)]

    assert grid.events.tolist() == np.bincount(np.array(events, np.int64), minlength=WEEK_HOURS).tolist()
    assert grid.replies.tolist() == sizes(table) and grid.replies.sum() == every.sum()
    assert grid.answered.tolist() == sizes(firsts)
    assert grid.within(target).tolist() == sizes(firsts[firsts["ms"] <= target])
    assert grid.is_empty == (not found and not events)
    for hour in (0, 24, 167):
        for first in (False, True):
            own = firsts if first else table
            counted = own[own["hour"] == hour]["ms"].value_counts().sort_index()
            waits, counts = grid.cell(hour, first=first)
            assert (waits.tolist(), counts.tolist()) == (counted.index.tolist(), counted.tolist())
    assert set(described(grid)) == {*table["hour"], *events}


@examples(80)
@given(st.lists(st.tuples(st.lists(rows, max_size=20), st.lists(st.integers(0, 167), max_size=5)), max_size=6),
       st.integers(0, 999))  # fmt: skip
def test_merging_in_any_order_and_any_grouping_gives_the_same(
    parts: list[tuple[list[Row], list[int]]], seed: int
) -> None:
    whole = grid_of([r for found, _ in parts for r in found], [e for _, events in parts for e in events])
    mixed = [grid_of(*part) for part in parts]
    random.Random(seed).shuffle(mixed)
    assert WeekGrid.merged(mixed) == whole
    assert WeekGrid.merged([WeekGrid.merged(mixed[:2]), WeekGrid.empty(), WeekGrid.merged(mixed[2:])]) == whole


@examples(80)
@given(st.lists(rows, max_size=40), st.lists(st.integers(0, 167), max_size=20), st.integers(-200, 200))
def test_rolled_every_cell_is_so_much_later(found: list[Row], events: list[int], hours: int) -> None:
    later = grid_of([((h + hours) % 168, f, ms) for h, f, ms in found], [(e + hours) % 168 for e in events])
    assert grid_of(found, events).rolled(hours) == later
    assert grid_of(found, events).rolled(hours).rolled(-hours) == grid_of(found, events)


@examples(60)
@given(st.lists(rows, max_size=40), st.lists(st.integers(0, 167), max_size=20))
def test_loaded_it_is_the_same(found: list[Row], events: list[int]) -> None:
    grid = grid_of(found, events)
    assert WeekGrid.load(grid.dump()) == grid


@examples(100)
@given(st.lists(st.tuples(st.integers(0, (1 << 24) - 1), st.booleans(), durations), min_size=1, max_size=20))
def test_keys_sort_by_place_then_first_then_wait_and_give_them_back(found: list[Row]) -> None:
    places, firsts, waits = (np.array(c) for c in zip(*found, strict=True))
    keys = keys_of(places, firsts, waits)
    assert places_of(keys).tolist() == places.tolist()
    assert [found[i] for i in np.argsort(keys, kind="stable")] == sorted(found)


def test_fifty_hours_are_fifty_hours() -> None:
    #  10, 20, 30 and 50 hours: place 3 · 0.8 = 2.4 lies between 30 and 50
    grid = grid_of([(9, True, hours * HOUR_MS) for hours in (50, 10, 20, 30)])
    assert grid.quantiles_ms(0.8)[9] == pytest.approx(38 * HOUR_MS)
    assert grid.quantile_ms(1.0) == 50 * HOUR_MS


def test_first_replies_have_their_own_quantiles() -> None:
    grid = grid_of([(0, True, 1000), (0, False, 9000), (0, False, 8000)], [0, 0])
    assert (grid.quantile_ms(0.5), grid.quantile_ms(0.5, first=True)) == (8000, 1000)
    assert (grid.within(999)[0], grid.within(1000)[0]) == (0, 1)
    assert described(grid) == {0: (2, 3, 1)}


def test_in_an_empty_week_nothing_was_waited_for() -> None:
    empty = WeekGrid.empty()
    assert empty.is_empty and np.isnan(empty.quantiles_ms(0.8)).all() and empty.quantile_ms(0.8) is None
    assert WeekGrid.merged([]) == WeekGrid.merged([empty, empty]) == empty.rolled(5) == empty
    assert empty.cell(3)[0].tolist() == [] and empty.within(10**9).sum() == 0 and described(empty) == {}


def test_one_rounded_grid_makes_the_whole_rounded() -> None:
    some = grid_of([(0, True, 5)])
    rounded = WeekGrid(some.events, some.keys, some.counts, exact=False)
    assert not WeekGrid.merged([some, rounded]).exact and WeekGrid.merged([some, some]).exact
    assert rounded != some and not rounded.rolled(1).exact and not WeekGrid.load(rounded.dump()).exact


def test_counts_stand_for_so_many_waits() -> None:
    hours, firsts, waits = np.array([5, 5, 5]), np.array([True, True, True]), np.array([10, 20, 20])
    grid = WeekGrid.of(hours, firsts, waits, np.zeros(WEEK_HOURS, np.int64), np.array([3, 2, -2]))
    assert grid.replies[5] == 3 and grid.cell(5)[0].tolist() == [10]
