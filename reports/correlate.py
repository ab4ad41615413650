"""Correlation coefficients with how many pairs they stand on and a 95 % confidence interval.

Owns the formulas:

    Pearson     r = Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² · Σ (y - ȳ)²);  z = artanh r, standard error 1 / √(n - 3) (Fisher
    1921)
    Spearman    ρ = Pearson's r of the ranks, equal values share their mean rank;
                z = artanh ρ, standard error √((1 + ρ²/2) / (n - 3)) (Bonett and Wright 2000)
    by groups   the pairs of one org belong together, so that n of them tell less than n orgs would: leave out one org
                after the other; the jackknife's variance of z is (G - 1)/G · Σ (z₋ᵢ - z̄)² over G orgs; ranks stay as
                they are

An interval is tanh(z ± 1.95996 · standard error). Invariant: no coefficient and no interval is NaN without the reason
in words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
FEWEST_PAIRS = 4
"""With three pairs or fewer there is no interval."""
NORMAL_975 = 1.959963984540054
_SPREAD_LEFT = 1e-12
"""Share of the spread below which nothing but rounding is left of it when a group is left out."""
_NONE = float("nan")


@dataclass(frozen=True)
class Coefficient:
    """A coefficient; NaN where *why* says why there is none.

    Attributes:
        n: Pairs.
        low, high: The interval as if all pairs were independent.
        group_low, group_high: The interval by groups; NaN when no groups were named, or fewer than three.
    """

    n: int
    value: float = _NONE
    low: float = _NONE
    high: float = _NONE
    group_low: float = _NONE
    group_high: float = _NONE
    why: str = ""


def pearson(x: Floats, y: Floats, groups: NDArray[np.int64] | None = None) -> Coefficient:
    """Return Pearson's coefficient of pairs *x*, *y* (shape n each); *groups* numbers whom each pair belongs to.

    >>> import numpy as np
    >>> found = pearson(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0]))
    >>> found.n, round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (4, 0.8, -0.697, 0.996)
    >>> pearson(np.ones(5), np.arange(5.0)).why
    'always the same value'
    """
    return _of(x, y, groups, 0.0)


def spearman(x: Floats, y: Floats, groups: NDArray[np.int64] | None = None) -> Coefficient:
    """Return Spearman's coefficient of pairs *x*, *y* (shape n each); *groups* as for `pearson`."""
    if len(x) < FEWEST_PAIRS:
        return Coefficient(len(x), why=too_few(len(x)))
    return _of(rankdata(x), rankdata(y), groups, 0.5)


def too_few(n: int) -> str:
    """Return why *n* pairs have no coefficient."""
    return f"{n} pairs: at least {FEWEST_PAIRS} are needed"


def _of(x: Floats, y: Floats, groups: NDArray[np.int64] | None, more_variance: float) -> Coefficient:
    n = len(x)
    if n < FEWEST_PAIRS:
        return Coefficient(n, why=too_few(n))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Coefficient(n, why="always the same value")
    x, y = _scaled(x), _scaled(y)
    r = _bounded(float(x @ y))
    error = np.sqrt((1 + more_variance * r * r) / (n - 3))
    by_group = (_NONE, _NONE) if groups is None else _interval(r, _jackknife_error(x, y, groups))
    return Coefficient(n, r, *_interval(r, float(error)), *by_group)


def _scaled(values: Floats) -> Floats:
    """Return *values* with mean 0 and sum of squares 1; first divided by the largest, so that squares do not
    overflow."""
    values = values / np.max(np.abs(values))
    values = values - values.mean()
    scaled: Floats = values / np.sqrt(values @ values)
    return scaled


def _bounded(r: float) -> float:
    return min(max(r, -1.0), 1.0)


def _interval(r: float, error: float) -> tuple[float, float]:
    if np.isnan(error) or abs(r) >= 1:  # all on one line: z is without end
        return (_NONE, _NONE) if np.isnan(error) else (r, r)
    z = np.arctanh(r)
    return float(np.tanh(z - NORMAL_975 * error)), float(np.tanh(z + NORMAL_975 * error))


def _jackknife_error(x: Floats, y: Floats, groups: NDArray[np.int64]) -> float:
    """Return the standard error of z when one group after the other is left out; NaN when that can't be said."""
    _, of = np.unique(groups, return_inverse=True)
    count = int(of.max()) + 1
    if count < 3:
        return _NONE
    n = len(x) - np.bincount(of)
    sums = {name: v.sum() - np.bincount(of, v) for name, v in zip("xypqr", (x, y, x * x, y * y, x * y), strict=True)}
    left_x, left_y = sums["p"] - sums["x"] ** 2 / n, sums["q"] - sums["y"] ** 2 / n
    if min(left_x.min(), left_y.min()) < _SPREAD_LEFT:
        return _NONE
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.arctanh((sums["r"] - sums["x"] * sums["y"] / n) / np.sqrt(left_x * left_y))
    if not np.isfinite(z).all():
        return _NONE
    return float(np.sqrt((count - 1) / count * np.sum((z - z.mean()) ** 2)))
