"""Coefficients and their intervals agree with SciPy and with the plain definitions; what can't be said is said in
words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.correlate import Floats, pearson, spearman

RNG = np.random.default_rng(4)


def heavy(n: int) -> tuple[Floats, Floats]:
    x = RNG.pareto(1.2, n)
    return x, 3 * x + RNG.pareto(1.1, n) * 5


@pytest.mark.parametrize("n", [4, 5, 30, 2_000])
def test_pearson_and_its_interval_are_those_of_scipy(n: int) -> None:
    x, y = heavy(n)
    ours, theirs = pearson(x, y), stats.pearsonr(x, y)
    low, high = theirs.confidence_interval(0.95)
    assert (ours.n, ours.why) == (n, "")
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.statistic, low, high), abs=1e-12)


def test_spearman_shares_ranks_and_widens_the_interval_as_bonett_and_wright_say() -> None:
    x, y = np.floor(heavy(300)[0] * 3), np.floor(heavy(300)[1])  # many equal values
    ours = spearman(x, y)
    rho = stats.spearmanr(x, y).statistic
    error = math.sqrt((1 + rho**2 / 2) / 297) * stats.norm.ppf(0.975)
    expected = (rho, math.tanh(math.atanh(rho) - error), math.tanh(math.atanh(rho) + error))
    assert (ours.value, ours.low, ours.high) == pytest.approx(expected, abs=1e-12)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(11), 0
    for _ in range(2_000):
        x = rng.normal(size=40)
        y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=40)
        found = pearson(x, y)
        held += found.low <= 0.5 <= found.high
    assert 0.93 < held / 2_000 < 0.97


def test_the_interval_by_org_is_that_of_leaving_out_one_after_the_other() -> None:
    orgs = np.repeat(np.arange(12), 6)
    level = np.repeat(RNG.normal(size=12), 6)
    x, y = level + RNG.normal(size=72), level + RNG.normal(size=72)
    found = pearson(x, y, orgs)
    zs = [math.atanh(np.corrcoef(x[orgs != n], y[orgs != n])[0, 1]) for n in range(12)]
    error = math.sqrt(11 / 12 * sum((z - np.mean(zs)) ** 2 for z in zs)) * stats.norm.ppf(0.975)
    z = math.atanh(found.value)
    assert (found.group_low, found.group_high) == pytest.approx((math.tanh(z - error), math.tanh(z + error)), abs=1e-9)


def test_weeks_of_one_org_do_not_count_as_so_many_orgs() -> None:
    """Each org has one value for all its weeks: the interval by org holds the truth, the one by pairs hardly ever
    does."""
    rng, by_pairs, by_orgs = np.random.default_rng(7), 0, 0
    orgs = np.repeat(np.arange(40), 25)
    for _ in range(300):
        found = pearson(rng.normal(size=40)[orgs], rng.normal(size=40)[orgs], orgs)
        by_pairs += found.low <= 0 <= found.high
        by_orgs += found.group_low <= 0 <= found.group_high
    assert by_orgs > 0.88 * 300 and by_pairs < 0.5 * 300


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        ([], [], "0 pairs: at least 4 are needed"),
        ([1.0, 2.0, 3.0], [3.0, 5.0, 1.0], "3 pairs: at least 4 are needed"),
        ([2.0] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "always the same value"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.1] * 6, "always the same value"),
    ],
)
def test_what_has_no_coefficient_has_a_reason(x: list[float], y: list[float], why: str) -> None:
    for method in (pearson, spearman):
        found = method(np.array(x), np.array(y), np.arange(len(x)))
        assert found.why == why
        assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.group_high)


def test_points_on_a_line_and_very_large_amounts_are_no_trouble() -> None:
    found = pearson(np.arange(9.0), 7 - 2 * np.arange(9.0))
    assert found.value == pytest.approx(-1) and found.high < -0.999 and not math.isnan(found.low)
    x, y = heavy(50)
    large = pearson(x * 1e180, y * 1e200)
    assert large.value == pytest.approx(pearson(x, y).value, abs=1e-12)


def test_groups_without_which_nothing_differs_have_no_interval_by_org() -> None:
    found = pearson(np.array([1.0, 2, 3, 4, 9]), np.array([2.0, 2, 2, 2, 8]), np.array([0, 0, 1, 1, 2]))
    assert math.isnan(found.group_low) and not math.isnan(found.low)
