"""One period minus another, hour by hour of the week: did it get better?

Owns the difference of two week grids and which of it is more than chance. Invariant: a change is told where both
periods have data, and marked only if the test of what is shown (the quantile, see `quantile_test`) stands the
correction for all hours at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from reports.quantile_test import adjusted, p_value
from state.cells import sum_by_key
from state.week import WEEK_HOURS, cell_name
from state.week_grid import WAIT_BITS, Longs, Ratios, WeekGrid, Wides, keys_of, places_of, rounded_ms

MIN_COUNT = 20
"""Replies below which an hour has no data."""
WEEK = "week"
"""The name of the row of all hours together."""


class State(IntEnum):
    """Which of the two periods has data."""

    NEITHER = 0
    BEFORE = 1
    AFTER = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One hour, or the whole week, in both periods; None = no data, or not tested."""

    hour: int | None
    """0–167; None = the whole week."""
    name: str
    before_ms: float | None
    after_ms: float | None
    change_ms: float | None
    """After − before: below zero is faster."""
    before_count: int
    after_count: int
    p_value: float | None
    significant: bool


@dataclass(frozen=True)
class Difference:
    """168 hours in two periods; all arrays are of shape (168,).

    Attributes:
        before_ms: The quantile of the waits; NaN = fewer than `min_count` replies.
        after_ms: The same of the second period.
        change_ms: After − before, below zero is faster; NaN unless both have data.
        before_count: Replies, however few.
        after_count: The same of the second period.
        p_value: Of each hour by itself; NaN = no data, or too few replies for any change to be significant.
        p_adjusted: Corrected for all hours tested (Benjamini-Hochberg).
        significant: Where `p_adjusted` is at most `level`.
        state: The `State` of each hour.
        week: All hours together, tested by themselves.
        quantile: Which one was compared.
        level: Which share of marks may be false; if nothing changed, the chance that there is any.
        first: Whether only first replies count.
    """

    before_ms: Ratios
    after_ms: Ratios
    change_ms: Ratios
    before_count: Longs
    after_count: Longs
    p_value: Ratios
    p_adjusted: Ratios
    significant: NDArray[np.bool_]
    state: NDArray[np.int8]
    week: Change
    quantile: float
    level: float
    first: bool

    @property
    def too_few(self) -> NDArray[np.bool_]:
        """Say of each hour whether both periods have data, but too little for any change to be significant."""
        found: NDArray[np.bool_] = (self.state == State.BOTH) & np.isnan(self.p_value)
        return found

    def row(self, hour: int) -> Change:
        """Return one hour's figures."""
        return Change(
            hour=hour,
            name=cell_name(hour),
            before_ms=_known(self.before_ms[hour]),
            after_ms=_known(self.after_ms[hour]),
            change_ms=_known(self.change_ms[hour]),
            before_count=int(self.before_count[hour]),
            after_count=int(self.after_count[hour]),
            p_value=_known(self.p_value[hour]),
            significant=bool(self.significant[hour]),
        )


@dataclass(frozen=True, slots=True)
class Movers:
    """The hours that changed most, significant ones first."""

    faster: list[Change]
    slower: list[Change]


def compare(
    before: WeekGrid,
    after: WeekGrid,
    *,
    quantile: float = 0.8,
    min_count: int = MIN_COUNT,
    first: bool = False,
    level: float = 0.05,
    dispersion: Ratios | None = None,
) -> Difference:
    """Return *after* minus *before*: the *quantile* (0–1, both excluded) of waits, or of first replies' only.

    Hours with fewer than *min_count* replies have no data. *level*: which share of marks may be false. *dispersion*:
    see there; None = replies are independent. Messages never answered have no wait; `coverage` tells of them.

    Raises:
        ValueError: If *quantile* or *level* is not between 0 and 1.

    >>> waits = np.full(50, 60_000)
    >>> def of(minutes): return WeekGrid.of(waits * 0, waits > 0, waits * minutes, np.zeros(168))
    >>> found = compare(of(9), of(2))
    >>> found.week.change_ms, bool(found.significant[0])
    (-420000.0, True)
    """
    if not 0 < quantile < 1 or not 0 < level < 1:
        raise ValueError(f"quantile {quantile} and level {level} must be between 0 and 1")
    grids = (before, after)
    counts = [grid.answered if first else grid.replies for grid in grids]
    enough = [count >= max(min_count, 1) for count in counts]
    shown = [grid.quantiles_ms(quantile, first=first) for grid in grids]
    old, new = (np.where(known, figures, np.nan) for known, figures in zip(enough, shown, strict=True))
    state = (enough[0] * State.BEFORE + enough[1] * State.AFTER).astype(np.int8)
    samples = _Samples.of(before, after, first)
    spread = np.ones(WEEK_HOURS) if dispersion is None else dispersion
    p_values = samples.p_values(new - old, spread, quantile, level)
    corrected = adjusted(p_values)
    figures = (old, new, new - old, counts[0], counts[1], p_values, corrected, corrected <= level, state)
    week = _week(grids, samples, spread, (quantile, min_count, first, level))
    return Difference(*figures, week, quantile, level, first)


def movers(difference: Difference, limit: int) -> Movers:
    """Return up to *limit* hours that became faster and as many that became slower, the biggest change first."""
    faster = np.flatnonzero(difference.change_ms < 0)
    slower = np.flatnonzero(difference.change_ms > 0)
    return Movers(*(_biggest(difference, hours.tolist(), limit) for hours in (faster, slower)))


def _biggest(difference: Difference, hours: Iterable[int], limit: int) -> list[Change]:
    rows = [difference.row(hour) for hour in hours]
    return sorted(rows, key=lambda row: (not row.significant, -abs(row.change_ms or 0.0), row.hour))[:limit]


@dataclass(frozen=True, slots=True)
class _Samples:
    """The waits of both periods side by side: key, and how often it occurred before and after (shape n, ascending)."""

    keys: Wides
    before: Longs
    after: Longs

    @classmethod
    def of(cls, before: WeekGrid, after: WeekGrid, first: bool) -> _Samples:
        """Return all waits by hour; rounded in both, if they are in one."""
        keys, counts = [], []
        for grid in (before, after):
            kept = grid.firsts | (not first)
            waits = grid.waits_ms[kept] if before.exact == after.exact else rounded_ms(grid.waits_ms[kept])
            keys.append(keys_of(grid.hours[kept], np.zeros(len(waits), np.bool_), waits))
            counts.append(grid.counts[kept])
        nothing = [np.zeros_like(count) for count in counts]
        return cls._summed(
            np.concatenate(keys), np.concatenate([counts[0], nothing[1]]), np.concatenate([nothing[0], counts[1]])
        )

    @classmethod
    def _summed(cls, keys: Wides, before: Longs, after: Longs) -> _Samples:
        return cls(*sum_by_key(keys, before), sum_by_key(keys, after)[1])

    def whole(self) -> _Samples:
        """Return the waits of all hours together."""
        return self._summed(self.keys & np.uint64((1 << WAIT_BITS) - 1), self.before, self.after)

    def p_values(self, change_ms: Ratios, dispersion: Ratios, quantile: float, level: float) -> Ratios:
        """Return the p-value of each hour's change (shape as given, NaN = not to be tested)."""
        edges = np.searchsorted(places_of(self.keys), np.arange(len(change_ms) + 1))
        found = np.full(len(change_ms), np.nan)
        for hour in np.flatnonzero(~np.isnan(change_ms)).tolist():
            here = slice(edges[hour], edges[hour + 1])
            slower = bool(change_ms[hour] > 0)
            before, after = (_thinned(counts[here], dispersion[hour]) for counts in (self.before, self.after))
            found[hour] = p_value(before, after, quantile, slower=slower, level=level)
        return found


def _thinned(counts: Longs, dispersion: float) -> Longs:
    """Return so many times fewer of sorted waits (shape n), evenly."""
    if dispersion <= 1:
        return counts
    return np.diff(np.floor(np.cumsum(counts) / dispersion), prepend=0.0).astype(np.int64)


def _week(
    grids: tuple[WeekGrid, WeekGrid], samples: _Samples, dispersion: Ratios, options: tuple[float, int, bool, float]
) -> Change:
    """Return all hours together; their dispersion is that of the mean reply, as if each hour had its own bad days."""
    quantile, min_count, first, level = options
    by_hour = [grid.answered if first else grid.replies for grid in grids]
    counts = [int(count.sum()) for count in by_hour]
    spread = float((dispersion * sum(by_hour)).sum() / max(1, sum(counts)))
    old, new = (
        grid.quantile_ms(quantile, first=first) if count >= max(min_count, 1) else None
        for grid, count in zip(grids, counts, strict=True)
    )
    change = None if old is None or new is None else new - old
    changes = np.array([np.nan if change is None else change])
    p = samples.whole().p_values(changes, np.array([spread]), quantile, level)[0]
    return Change(None, WEEK, old, new, change, counts[0], counts[1], _known(p), bool(p <= level))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
