"""Is the quantile of one sample of waits another than that of a second one, or is the difference chance?

Owns the test and the correction for many of them at once. Invariant: it is a formula, without random numbers, over
distinct waits and how often they occurred, so equal input gives equal output and the work is bounded by the distinct
waits, however many replies they stand for.

Two p-values are worked out, and the greater one holds:

    split       All waits are put together and cut at their quantile θ. If both samples come from one distribution,
                how many waits of the first lie up to θ is hypergeometric, with any counts and any ties: this p-value is
                exact (Mood's median test at another quantile than ½). Where ties of more than TIE of all waits sit at
                θ, the cuts before and after them are both tried, at half the level each.
    likelihood  Over every θ: how unlikely is it that a share *quantile* of both samples lies up to θ? Twice the log of
                the likelihood ratio, at the θ where it is least, follows χ² with one degree of freedom (empirical
                likelihood). It assumes nothing of the shapes: samples of one quantile and different spread, which the
                split would mark too often, pass. A θ whose ties hold the quantile in both samples speaks for equality.

Not chosen: permuting the difference of quantiles (one of 168 cells wants p below 0.0003, so tens of thousands of rounds
for each; and, like the split alone, it tells different shapes from different quantiles badly); a bootstrap (its tails
are too thin with few replies and ties); Mann-Whitney (it finds that waits moved, which their quantile may not have).

Replies are taken as independent; what is done where they are not, `dispersion` says.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

TIE = 0.01
"""The share of all waits that may be tied at the cut before both of its sides are tried."""
_REACH = 12  # standard deviations: what lies beyond is less than e⁻⁷² of what is added up

Longs = NDArray[np.int64]
Ratios = NDArray[np.float64]


def p_value(before: Longs, after: Longs, quantile: float, *, slower: bool, level: float) -> float:
    """Return the two-sided p-value of a change of the *quantile* (0–1, both excluded); NaN = too few replies.

    Args:
        before: How often each distinct wait occurred, from short to long, shape n.
        after: The same of the second sample, for the same waits.
        quantile: Which one is compared.
        slower: Whether it is greater in the second sample.
        level: If no outcome at these counts could come below it, nothing is tested.

    >>> p_value(np.array([40, 0]), np.array([0, 40]), 0.8, slower=True, level=0.05) < 1e-4
    True
    >>> p_value(np.array([2, 0]), np.array([0, 2]), 0.8, slower=True, level=0.05)
    nan
    """
    sizes = int(before.sum()), int(after.sum())
    cuts = _cuts(before + after, quantile) if all(sizes) else []
    if not cuts or _least(cuts, sizes, quantile) > level:
        return math.nan
    quick = before if slower else after
    below = np.concatenate(([0], np.cumsum(quick)))
    tails = [at_least(int(below[cut]), low, int(below[-1]), sum(sizes)) for cut, low in cuts]
    return max(min(1.0, 2 * len(cuts) * min(tails)), _likelihood_p(before, after, quantile))


def at_least(hits: int, low: int, drawn: int, total: int) -> float:
    """Return the chance that of *drawn* out of *total*, *low* of which are marked, at least *hits* are marked.

    A chance above about a half is told as 1.

    >>> round(at_least(3, 3, 3, 6), 6)  # one of 20
    0.05
    """
    if hits * total <= low * drawn:
        return 1.0
    high = total - low
    spread = math.sqrt(drawn * (low / total) * (high / total) * (total - drawn) / max(total - 1, 1))
    last = min(low, drawn, hits + int(_REACH * spread) + 50)
    start = _log_choose(low, hits) + _log_choose(high, drawn - hits) - _log_choose(total, drawn)
    steps = np.arange(hits, last, dtype=np.float64)
    ratios = (low - steps) / (steps + 1) * ((drawn - steps) / (high - drawn + steps + 1))
    return math.exp(start) * (1 + float(np.cumprod(ratios).sum()))


def adjusted(p_values: Ratios) -> Ratios:
    """Return p-values (shape n, NaN = not tested) corrected for their number, by Benjamini and Hochberg.

    Of marks at corrected p-values up to q, a share q is false at most, on average; where nothing changed, q is the
    greatest chance of any mark.

    >>> adjusted(np.array([0.01, np.nan, 0.04])).tolist()
    [0.02, nan, 0.04]
    """
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]
    grown = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    found: Ratios = np.full(len(p_values), np.nan)
    found[order] = np.minimum(np.minimum.accumulate(grown[::-1])[::-1], 1.0)
    return found


def _cuts(both: Longs, quantile: float) -> list[tuple[int, int]]:
    """Return where all waits are cut: how many distinct ones lie below, and how many replies."""
    ends = np.cumsum(both)
    total = int(ends[-1])
    at = int(np.searchsorted(ends, quantile * total))
    low, high = int(ends[at] - both[at]), int(ends[at])
    sides = [(at, low), (at + 1, high)]
    if high - low <= max(1.0, TIE * total):
        sides = sides[:1] if quantile * total - low < high - quantile * total else sides[1:]
    return [(cut, count) for cut, count in sides if 0 < count < total]


def _least(cuts: list[tuple[int, int]], sizes: tuple[int, int], quantile: float) -> float:
    """Return the least p-value that two samples of *sizes* can have: all of the quick one before all of the other."""
    found = []
    for quick, slow in (sizes, sizes[::-1]):
        split = 2 * len(cuts) * min(at_least(min(low, quick), low, quick, quick + slow) for _, low in cuts)
        deviance = 2 * min(quick * -math.log(quantile), slow * -math.log(1 - quantile))
        found.append(max(split, _tail(deviance)))
    return min(found)


def _likelihood_p(before: Longs, after: Longs, quantile: float) -> float:
    return _tail(float(np.min(_deviance(before, quantile) + _deviance(after, quantile))))


def _tail(deviance: float) -> float:
    """Return the chance of a greater χ² with one degree of freedom."""
    return math.erfc(math.sqrt(max(deviance, 0.0) / 2))


def _deviance(counts: Longs, quantile: float) -> Ratios:
    """Return for each wait twice the log likelihood ratio of *quantile* being there, 0 where it may be (shape n)."""
    total = int(counts.sum())
    ends = np.cumsum(counts)
    low = np.clip(quantile * total, ends - counts, ends)
    return 2 * (_entropy(low, quantile * total) + _entropy(total - low, (1 - quantile) * total))


def _entropy(found: Ratios, expected: float) -> Ratios:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(found > 0, found * np.log(found / expected), 0.0)


def _log_choose(total: int, drawn: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(drawn + 1) - math.lgamma(total - drawn + 1)
