"""The rate of messages: curves that are known, and what is left of them."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.rate import FEWEST_POINTS, PENALTY, REACH_WINDOWS, WINDOW_SECONDS, CumulativeCurve, latest_rate
from tests.state.worlds import examples

FIRST = 2_900_000  # a window of 2025
WEEK = 7 * 144


def windows_of(counts: list[int]) -> list[tuple[int, int]]:
    return list(enumerate(counts, FIRST))


def at(*windows: float) -> np.ndarray:
    """Return seconds since the epoch, given in windows after the first one's begin."""
    return (FIRST + np.array(windows)) * WINDOW_SECONDS


def test_a_constant_rate_is_found_everywhere_exactly() -> None:
    curve = CumulativeCurve(windows_of([30] * 144))
    rates = curve.per_minute(at(*np.linspace(0, 144, 500)))
    assert curve.smoothed
    np.testing.assert_allclose(rates, 3.0, atol=1e-9)
    np.testing.assert_allclose(curve.messages(at(0, 72, 144)), [0, 2160, 4320], atol=1e-6)


@pytest.mark.parametrize(("hours", "kept"), [(1, 0.47), (2, 0.92), (3, 0.985), (8, 0.999)])
def test_of_a_sine_the_share_is_kept_that_the_penalty_says(hours: int, kept: float) -> None:
    period, base, swing = hours * 6, 1000.0, 400.0
    edges = np.arange(WEEK + 1)
    smooth = base * edges - swing * period / (2 * math.pi) * np.cos(2 * math.pi * edges / period)
    counts = np.diff(np.round(smooth)).astype(int).tolist()
    middle = np.arange(300, 700, 0.05)
    rates = CumulativeCurve(windows_of(counts)).per_minute(at(*middle)) * 10
    height = (rates.max() - rates.min()) / (2 * swing)
    assert height == pytest.approx(kept, abs=0.015)
    assert height == pytest.approx(1 / (1 + PENALTY * (2 * math.pi / period) ** 4), abs=0.025)
    # Away from the ends the curve itself is met within the share that is lost and 1 %.
    true = base + swing * np.sin(2 * math.pi * middle / period)
    assert np.abs(rates - true).max() < (1 - kept + 0.025) * swing


def test_a_burst_keeps_its_messages_and_its_place() -> None:
    counts = [0] * 100
    counts[50] = 600
    curve = CumulativeCurve(windows_of(counts))
    times = at(*np.arange(0, 100, 0.01))
    rates = curve.per_minute(times)
    assert times[rates.argmax()] == pytest.approx(at(50.5)[0], abs=WINDOW_SECONDS / 100)
    assert 20 < rates.max() < 40, "60 a minute for ten minutes, smoothed"
    assert rates.sum() * 0.1 == pytest.approx(600, rel=0.08), "what would be below zero beside it is cut off"
    far = np.abs(times - at(50.5)[0]) > 16 * WINDOW_SECONDS
    assert rates[far].max() < 1e-3


def test_a_gap_is_a_rate_of_zero_and_its_windows_need_not_be_named() -> None:
    named = windows_of([20] * 50 + [0] * 50 + [20] * 50)
    dense, sparse = CumulativeCurve(named), CumulativeCurve([w for w in named if w[1]])
    times = at(*np.linspace(0, 150, 400))
    np.testing.assert_array_equal(dense.per_minute(times), sparse.per_minute(times))
    assert dense.per_minute(at(75.0))[0] < 1e-6
    with pytest.raises(ValueError, match="twice"):
        CumulativeCurve([*named, named[0]])


@pytest.mark.parametrize("counts", [[], [12], [12, 0], [12, 0, 30]])
def test_with_few_points_the_rate_is_the_plain_difference_and_says_so(counts: list[int]) -> None:
    curve = CumulativeCurve(windows_of(counts))
    assert not curve.smoothed and len(curve.edges) < FEWEST_POINTS
    middles = at(*(n + 0.5 for n in range(len(counts))))
    assert curve.per_minute(middles).tolist() == [n / 10 for n in counts]
    assert curve.per_minute(at(-1.0, 99.0)).tolist() == [0.0, 0.0]
    assert curve.messages(at(99.0)).tolist() == [float(sum(counts))]


def test_from_five_points_on_there_is_a_spline() -> None:
    assert CumulativeCurve(windows_of([1, 2, 3, 4])).smoothed


@given(st.lists(st.integers(0, 100_000), max_size=80), st.integers(0, 79))
@examples(60)
def test_no_rate_is_negative_and_the_same_windows_give_the_same(counts: list[int], stretch: int) -> None:
    counts = counts + [0] * stretch
    times = at(*np.linspace(-3, len(counts) + 3, 300))
    rates = CumulativeCurve(windows_of(counts)).per_minute(times)
    assert (rates >= 0).all() and np.isfinite(rates).all()
    assert rates.tobytes() == CumulativeCurve(windows_of(counts)[::-1]).per_minute(times).tobytes()


@given(st.lists(st.integers(0, 10_000), min_size=REACH_WINDOWS, max_size=200))
@examples(60)
def test_the_latest_rate_is_the_slope_of_the_whole_curve_at_its_end(counts: list[int]) -> None:
    whole = FIRST + len(counts) - 1
    exact = CumulativeCurve(windows_of(counts)).per_minute(at(len(counts)))[0]
    running = [(whole + 1, 12_345)]
    assert latest_rate(windows_of(counts) + running, whole) == pytest.approx(exact, abs=0.0006 + 1e-6 * sum(counts))


def test_a_week_of_windows_takes_milliseconds() -> None:
    counts = np.random.default_rng(7).poisson(40, WEEK).tolist()
    minutes = at(*np.arange(0, WEEK, 0.1))
    CumulativeCurve(windows_of(counts))  # loads SciPy
    took = []
    for _ in range(5):
        began = time.perf_counter()
        rates = CumulativeCurve(windows_of(counts)).per_minute(minutes)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1, f"{min(took) * 1000:.1f} ms"
    assert rates.mean() == pytest.approx(4.0, abs=0.1)
