"""How much more alike are the waits of one day than those of different days?

Owns the estimate by which `difference` counts replies that share their fate as fewer than they are. A person away for a
day makes all replies of it slow: a hundred such replies say less than a hundred of different days, and taken as
independent they would sell one bad day as a change. Invariant: never below 1.

A period is looked at by its parts (its months, say). In each hour of the week the share of waits up to the period's
quantile θ varies between the parts; Pearson's X² of these shares has a mean of parts − 1 if replies are independent. If
they come in bursts, it is greater by a factor that grows with the replies a part holds, so one ratio is estimated from
all hours and periods together: dispersion = 1 + c · replies per part, c = Σ(X² − f) / Σ(f · replies per part), with f
degrees of freedom in an hour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from state.week import WEEK_HOURS
from state.week_grid import Ratios, WeekGrid


def dispersion(periods: Sequence[Sequence[WeekGrid]], *, quantile: float = 0.8, first: bool = False) -> Ratios:
    """Return by what factor each hour's replies (shape (168,)) vary more than independent ones.

    Args:
        periods: Of each period its parts, in which the same happened but for chance; more than one to learn anything.
        quantile: The one that is going to be compared (0–1).
        first: Look at first replies only.

    >>> dispersion([[WeekGrid.empty()] * 3]).max()
    np.float64(1.0)
    """
    excess, weight, sizes = 0.0, 0.0, np.zeros(WEEK_HOURS)
    for parts in periods:
        if not parts:
            continue
        totals = np.array([grid.answered if first else grid.replies for grid in parts], np.float64)
        limits = WeekGrid.merged(parts).quantiles_ms(quantile, first=first)
        below = np.array([_up_to(grid, limits, first) for grid in parts])
        size = totals.sum(axis=0) / len(parts)
        squares, freedom = _pearson(below, totals)
        excess += float((squares - freedom).sum())
        weight += float((freedom * size).sum())
        sizes = np.maximum(sizes, size)
    return 1 + max(0.0, excess / weight if weight else 0.0) * sizes


def _up_to(grid: WeekGrid, limits_ms: Ratios, first: bool) -> Ratios:
    """Return how many waits of each hour are up to the hour's limit (both of shape (168,))."""
    hours = grid.hours
    kept = (grid.waits_ms <= limits_ms[hours]) & (grid.firsts | (not first))
    return np.bincount(hours[kept], grid.counts[kept], WEEK_HOURS).astype(np.float64)


def _pearson(below: Ratios, totals: Ratios) -> tuple[Ratios, Ratios]:
    """Return X² and its mean if replies are independent, by hour (shape (168,)), of counts by part and hour."""
    whole = totals.sum(axis=0)
    share = below.sum(axis=0) / np.maximum(whole, 1)
    variance = totals * share * (1 - share)
    known = variance > 0
    squares = np.where(known, (below - totals * share) ** 2 / np.where(known, variance, 1), 0.0).sum(axis=0)
    freedom = np.maximum(known.sum(axis=0) - 1, 0)
    return np.where(freedom > 0, squares, 0.0), freedom * whole / np.maximum(whole - 1, 1)
