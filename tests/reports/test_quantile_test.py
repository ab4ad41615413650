"""The test of a quantile's change promises no more than it holds, with any ties and counts."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from reports import quantile_test
from reports.quantile_test import adjusted, at_least, p_value
from tests.state.worlds import examples


def p_of(before: np.ndarray, after: np.ndarray, quantile: float, level: float = 1.0) -> float:
    """Return the p-value of two samples of plain values."""
    values, where = np.unique(np.concatenate([before, after]), return_inverse=True)
    old, new = (np.bincount(part, minlength=len(values)).astype(np.int64) for part in np.split(where, [len(before)]))
    slower = bool(np.quantile(after, quantile) > np.quantile(before, quantile))
    return p_value(old, new, quantile, slower=slower, level=level)


@examples(300)
@given(st.integers(1, 400), st.data())
def test_the_chance_of_at_least_so_many_agrees_with_scipy(total: int, data: st.DataObject) -> None:
    low, drawn = data.draw(st.integers(0, total)), data.draw(st.integers(0, total))
    hits = data.draw(st.integers(max(0, drawn + low - total), min(low, drawn)))
    expected = scipy.stats.hypergeom.sf(hits - 1, total, low, drawn)
    found = at_least(hits, low, drawn, total)
    if hits * total > low * drawn:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
    else:
        assert found == 1.0
        assert expected > 0.35


def test_the_chance_is_right_and_cheap_for_ten_million_replies() -> None:
    found = at_least(4_004_000, 8_000_000, 5_000_000, 10_000_000)
    normal = scipy.stats.norm.sf((4_004_000 - 0.5 - 4_000_000) / math.sqrt(5e6 * 0.8 * 0.2 * 0.5))
    assert found == pytest.approx(normal, rel=0.01)


@examples(25)
@given(
    st.lists(st.integers(0, 12), min_size=8, max_size=11),
    st.integers(3, 6),
    st.sampled_from([0.25, 0.5, 0.8, 0.9]),
)
@example(list(range(11)), 5, 0.5)
def test_of_all_ways_to_deal_out_the_same_waits_a_share_p_has_so_small_a_p_value(
    waits: list[int], size: int, quantile: float
) -> None:
    values = np.array(waits)
    found = []
    for chosen in combinations(range(len(values)), size):
        here = np.isin(np.arange(len(values)), chosen)
        found.append(p_of(values[here], values[~here], quantile))
    p_values = np.array(found)
    for p in np.unique(p_values[~np.isnan(p_values)]):
        assert np.mean(p_values <= p) <= p * (1 + 1e-9)


@examples(200)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_the_likelihood_agrees_with_a_search_over_plain_values(
    before: list[int], after: list[int], quantile: float
) -> None:
    def deviance(sample: np.ndarray, value: int) -> float:
        share = min(max(quantile, np.mean(sample < value)), np.mean(sample <= value))
        pair = [share, 1 - share], [quantile, 1 - quantile]
        return 2 * len(sample) * float(scipy.stats.entropy(*pair))

    old, new = np.array(before), np.array(after)
    least = min(deviance(old, value) + deviance(new, value) for value in (*before, *after))
    counts = [np.bincount(sample, minlength=31).astype(np.int64) for sample in (old, new)]
    assert quantile_test._likelihood_p(*counts, quantile) == pytest.approx(
        scipy.stats.chi2.sf(least, 1), rel=1e-6, abs=1e-12
    )


@examples(200)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
)
def test_the_p_value_is_the_same_with_the_periods_swapped(before: list[int], after: list[int]) -> None:
    old, new = np.array(before), np.array(after)
    if np.quantile(old, 0.8) != np.quantile(new, 0.8):
        assert p_of(old, new, 0.8) == pytest.approx(p_of(new, old, 0.8), rel=1e-9, nan_ok=True)


def test_the_order_of_replies_within_a_period_plays_no_part_and_no_random_number_is_drawn() -> None:
    rng = np.random.default_rng(3)
    old, new = rng.lognormal(10, 2, 300), rng.lognormal(10.4, 2, 200)
    state = np.random.get_state()[1].tolist()
    assert p_of(old, new, 0.8) == p_of(old[::-1], rng.permutation(new), 0.8)
    assert np.random.get_state()[1].tolist() == state


@pytest.mark.parametrize("other", [1, 600])
def test_a_quantile_that_leaves_a_heavy_tie_is_found_on_both_its_sides(other: int) -> None:
    """
    1      60 60 60 60 60 60     the quantile comes to the tie from below,
           60 60 60 60 60 60 600 or leaves it upwards
    """
    shares = (90, 60) if other == 1 else (10, 40)
    old, new = (np.repeat([60, other], [100 - share, share]) for share in shares)
    assert p_of(old, new, 0.8) < 0.01


@pytest.mark.parametrize("shares", [((95, 0, 5), (15, 80, 5)), ((10, 88, 2), (10, 40, 50))])
def test_the_side_of_a_heavy_tie_on_which_nothing_moved_hides_nothing(
    shares: tuple[tuple[int, int, int], tuple[int, int, int]],
) -> None:
    old, new = (np.repeat([1, 60, 600], share) for share in shares)
    assert p_of(old, new, 0.8) < 0.01


def test_a_tie_that_holds_both_quantiles_is_no_change() -> None:
    old = np.repeat([60, 600], [85, 15])
    new = np.repeat([60, 600], [100, 0])
    assert p_of(old, new, 0.8) == pytest.approx(1.0)


def test_so_few_replies_that_nothing_could_be_significant_are_not_tested() -> None:
    assert math.isnan(p_of(np.array([1, 2, 3]), np.array([100, 200, 300]), 0.8, level=0.05))
    assert math.isnan(p_of(np.ones(500), np.ones(500), 0.8, level=0.05))


@examples(100)
@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 1)), max_size=30))
def test_corrected_p_values_agree_with_scipy(p_values: list[float]) -> None:
    given_p = np.array(p_values, float)
    known = ~np.isnan(given_p)
    found = adjusted(given_p)
    assert np.isnan(found[~known]).all()
    assert found[known].tolist() == pytest.approx(scipy.stats.false_discovery_control(given_p[known]).tolist())


@examples(300)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=14),
    st.lists(st.integers(4, 9), min_size=1, max_size=14),
    st.sampled_from([0.2, 0.5, 0.8]),
)
def test_what_is_not_tested_could_not_have_been_significant(
    before: list[int], after: list[int], quantile: float
) -> None:
    found = p_of(np.array(before), np.array(after), quantile, level=10.0)
    if found <= 0.05:
        assert p_of(np.array(before), np.array(after), quantile, level=0.05) == found
