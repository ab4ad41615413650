"""The population of all partitions: cut points as if it were one."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.census import Census
from state.effects import Summary
from state.scoring import cut_points
from state.telling import MAX_VALUES, thinned
from state.week import month_of
from state.week_grid import WeekGrid
from tests.state.worlds import HOUR, at, examples

NOW = at("2024-03-20T12:00")
MONTH = month_of(NOW, "UTC")


def summary_of(
    partition: int, values: list[int], round_: int = 1, replies: dict[int, list[int]] | None = None
) -> Summary:
    distinct, counts = np.unique(np.array(values, np.int64), return_counts=True)
    hours = [hour for hour, waits in (replies or {}).items() for _ in waits]
    waits = [wait for each in (replies or {}).values() for wait in each]
    events = np.bincount(hours, minlength=168) * 2 if hours else np.zeros(168, np.int64)
    grid = WeekGrid.of(np.array(hours, np.int64), np.ones(len(hours), bool), np.array(waits, np.int64), events)
    found = {"searches": (distinct.tolist(), counts.tolist())}
    grids = {MONTH: {"replies": grid.dump()}} if hours else {}
    return Summary(partition, round_, len(values), {"healthy": len(values)}, 1, found, grids, NOW)


def census_of(*summaries: Summary, least: int = 1) -> Census:
    census = Census(least)
    for each in summaries:
        census.learn(each)
    return census


partitions = st.lists(st.lists(st.integers(-30, 30), max_size=30), min_size=1, max_size=5).filter(any)


@examples(150)
@given(partitions)
def test_many_partitions_give_the_cut_points_of_one(parts: list[list[int]]) -> None:
    split = census_of(*(summary_of(n, part) for n, part in enumerate(parts))).calibrate()
    whole = census_of(summary_of(0, [v for part in parts for v in part])).calibrate()
    assert split is not None and whole is not None
    assert (split.cuts, split.population) == (whole.cuts, whole.population)


@pytest.mark.parametrize("watermark_ms", [0, -1])
def test_where_nothing_ever_happened_the_map_is_of_no_period(watermark_ms: int) -> None:
    found = census_of(Summary(0, 1, 0, {}, 0, {}, {}, watermark_ms)).overall(3, 0.8, HOUR)
    assert (found.period, found.cells, found.months, found.whole) == ("", {}, [], (None, 0, 0, 0, None, 0))
    assert census_of().overall(3, 0.8, HOUR).period == ""


@examples(60)
@given(partitions)
def test_the_order_of_arrival_does_not_matter(parts: list[list[int]]) -> None:
    summaries = [summary_of(n, part) for n, part in enumerate(parts)]
    assert census_of(*summaries).calibrate() == census_of(*reversed(summaries)).calibrate()


@examples(150)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=100))
def test_cut_k_has_k_tenths_strictly_below(values: list[int]) -> None:
    distinct, counts = np.unique(values, return_counts=True)
    cuts = cut_points(distinct, counts)
    assert cuts == sorted(cuts) and len(cuts) == 9
    for k, cut in enumerate(cuts, 1):
        candidates = [v for v in sorted(set(values)) if sum(x < v for x in values) * 10 >= k * len(values)]
        assert cut == (candidates[0] if candidates else np.iinfo(np.int64).max)


def places(parts: list[np.ndarray], limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many users are below each distinct value, truly and as thinned and merged summaries say, and users."""
    distinct, counts = np.unique(np.concatenate(parts), return_counts=True)
    thin = [thinned(*np.unique(part, return_counts=True), limit) for part in parts]
    for part, (kept, sums) in zip(parts, thin, strict=True):
        assert len(kept) <= limit and sums.sum() == len(part)
        assert set(kept.tolist()) <= set(part.tolist())
    kept, sums = (np.concatenate(columns) for columns in zip(*thin, strict=True))
    merged, place = np.unique(kept, return_inverse=True)
    upto = np.cumsum(np.bincount(place, weights=sums)).astype(np.int64)
    said = np.concatenate(([0], upto))[np.searchsorted(merged, distinct, side="right") - 1]
    return np.cumsum(counts) - counts, said, counts


@examples(100)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(2, 40), st.booleans())
def test_thinned_populations_keep_places_within_their_bound(seed: int, parts: int, limit: int, shared: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-(10**6), 10**6, 2000)
    if shared:  # by most users of most partitions
        values[rng.random(2000) < 0.6] = rng.choice(values[:3])
    true, said, counts = places(np.array_split(values, parts), limit)
    assert (np.abs(said - true) <= counts.sum() / (limit // 2)).all()


@pytest.mark.parametrize("partitions", [4, 16])
@pytest.mark.parametrize("shared", [False, True])
def test_a_million_users_are_placed_within_a_2048th(partitions: int, shared: bool) -> None:
    rng = np.random.default_rng(3)
    values = np.exp(rng.normal(8, 3, 1_000_000)).astype(np.int64)
    if shared:
        values[:] = np.where(rng.random(len(values)) < 0.3, rng.choice([2981, 5000, 100_000], len(values)), values)
    true, said, _ = places(np.array_split(values, partitions), MAX_VALUES)
    assert np.abs(said - true).max() <= len(values) / 2048


def test_few_values_are_not_thinned() -> None:
    values, counts = np.arange(MAX_VALUES), np.ones(MAX_VALUES, np.int64)
    assert thinned(values, counts, MAX_VALUES) == (values, counts)


def test_below_the_least_population_there_is_no_calibration() -> None:
    census = census_of(summary_of(0, [1] * 40), summary_of(1, [2] * 59), least=100)
    assert census.calibrate() is None
    census.learn(summary_of(1, [2] * 60))
    assert census.calibrate() is not None


def test_a_later_summary_replaces_its_partitions_former_one() -> None:
    census = census_of(summary_of(0, [1, 2, 3]), summary_of(1, [9]), summary_of(0, [5]))
    assert census.users_active == 2
    assert census.totals() == {"orgs": 2, "users_active": 2, "healthy": 2}


def test_generations_count_up_only_when_cut_points_move() -> None:
    census = census_of(summary_of(0, list(range(10))))
    first = census.calibrate()
    assert first is not None and first.generation == 1
    census.learn(summary_of(0, [n for n in range(10) for _ in range(2)], round_=2))
    assert census.calibrate() is None  # twice the people, but the same deciles
    census.learn(summary_of(0, list(range(100)), round_=3))
    second = census.calibrate()
    assert second is not None and second.generation == 2


def test_a_restored_census_goes_on_with_its_generation() -> None:
    census = census_of(summary_of(0, list(range(20)), replies={5: [1000, 3000]}), summary_of(3, [7]))
    census.calibrate()
    fresh = Census(1)
    fresh.restore([census.dump(0), census.dump(3)], census.dump_calibration())
    raw = census.dump_month(0, MONTH)
    assert raw is not None and census.dump_month(3, MONTH) is None
    fresh.restore_month(0, MONTH, raw)
    assert fresh.overall(3, 0.5, HOUR) == census.overall(3, 0.5, HOUR)
    assert fresh.totals() == census.totals()
    assert fresh.calibration == census.calibration and fresh.calibrate() is None


def test_the_overall_map_merges_every_partitions_replies() -> None:
    census = census_of(summary_of(0, [1], replies={5: [1000, 3000], 6: [50]}), summary_of(1, [1], replies={5: [2000]}))
    found = census.overall(3, 0.5, 2500)
    assert found.cells == {5: (2000.0, 3, 6, 3, 2000.0, 2), 6: (50.0, 1, 2, 1, 50.0, 1)}
    assert (found.period, found.months, found.whole[1]) == ("2024-01/2024-03", ["2024-03"], 4)
    assert census.overall(3, 0.5, 2500) == found  # asking changes nothing


def test_a_month_stays_known_until_it_is_told_anew() -> None:
    census = census_of(summary_of(0, [1], replies={5: [1000]}), summary_of(0, [1], round_=2))
    assert census.overall(3, 0.5, HOUR).whole[1] == 1
    census.learn(msgspec.structs.replace(summary_of(0, [1], round_=3), grids={MONTH: {}}))
    assert census.overall(3, 0.5, HOUR).whole[1] == 0 and census.months() == []


def week_of_values(values: list[int], week: int) -> Summary:
    return msgspec.structs.replace(summary_of(0, values), watermark_ms=(2800 + week) * 7 * 24 * 3_600_000)


def test_a_population_that_moves_is_told_against_one_to_two_weeks_ago() -> None:
    census = Census(1)
    usual, doubled = list(range(1, 101)), list(range(2, 202, 2))
    drifts = []
    for week, values in enumerate([usual, usual, usual, doubled, doubled, doubled]):
        census.learn(week_of_values(values, week))
        census.calibrate()
        assert census.keep_reference()
        assert not census.keep_reference(), "once a week"
        restored = Census(1)
        restored.restore([census.dump(0)], census.dump_calibration(), census.dump_reference())
        assert restored.drift() == census.drift()
        drifts.append(next(iter(census.drift().values()), None))
    # By the former cut points everybody above 50 is in the top decile: an oracle by hand.
    ranks = [(min(9, max(0, (value - 1) // 10)), min(9, max(0, (value - 2) // 20))) for value in doubled]
    expected = sum(abs(former - now) for former, now in ranks) * 1000 // 100
    assert drifts[:3] == [None, 0, 0]
    assert abs((drifts[3] or 0) - expected) <= 100 and expected > 1000
    assert drifts[-1] == 0, "the new level has become the usual one"


def test_who_has_nothing_does_not_drift() -> None:
    census = Census(1)
    for week, values in enumerate([[0] * 50 + [1] * 50, [0] * 50 + [1] * 50, [0] * 98 + [5] * 2]):
        census.learn(week_of_values(values, week))
        census.calibrate()
        census.keep_reference()
    assert max(census.drift().values()) <= 9000 * 2 // 100
