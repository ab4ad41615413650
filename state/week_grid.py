"""The week as 168 hours: what happened in each, and how long it was waited for.

Owns counts and distributions by hour of the week, of one period in one zone: `events` are messages written (or whatever
else is counted), waits are how long replies to them (or what else is measured) took. Invariant: merging grids in any
order gives the same grid.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import decode, encode, packed, unpacked
from state.cells import Counts, narrow, sum_by_key
from state.week import WEEK_HOURS

WAIT_BITS = 39
"""A wait is below 2³⁹ ms, about 17 years; longer than any horizon."""
_FIRST = np.uint64(1 << WAIT_BITS)
_WAIT = np.uint64((1 << WAIT_BITS) - 1)
_HOUR_SHIFT = WAIT_BITS + 1

EXACT_WAITS = 20_000
"""Distinct waits (of a line: with their quarter, those taken back included) up to which they are exact to the ms."""
RELATIVE_ERROR = 1 / 256
_BITS = 7  # a rounded wait keeps so many bits after its leading one

Ratios = NDArray[np.float64]
Longs = NDArray[np.int64]
Wides = NDArray[np.uint64]


def keys_of(places: Longs, firsts: NDArray[np.bool_], waits_ms: Longs) -> Wides:
    """Return for each wait (shape n) a key that sorts by place, then first or not, then wait."""
    return (places.astype(np.uint64) << np.uint64(_HOUR_SHIFT)) | (firsts * _FIRST) | waits_ms.astype(np.uint64)


def places_of(keys: Wides) -> Longs:
    """Return the places that `keys_of` was given."""
    return (keys >> np.uint64(_HOUR_SHIFT)).astype(np.int64)


def waits_of(keys: Wides) -> Longs:
    """Return the waits (ms) that `keys_of` was given."""
    return (keys & _WAIT).astype(np.int64)


def rounded_ms(waits_ms: Longs) -> Longs:
    """Return each wait (shape n, ms) as the middle of its bucket; below 256 ms it stays as it is.

    >>> rounded_ms(np.array([200, 100_000, 100_001])).tolist()
    [200, 100096, 100096]
    """
    bits = np.frexp(waits_ms.astype(np.float64))[1]  # exact: waits are far below 2⁵³
    shift = np.maximum(bits - _BITS - 1, 0)
    middle = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    found: Longs = ((waits_ms >> shift) << shift) + middle
    return found


def rounded_keys(keys: Wides) -> Wides:
    """Return *keys* with their waits rounded (`rounded_ms`)."""
    return (keys & ~_WAIT) | rounded_ms(waits_of(keys)).astype(np.uint64)


def squeezed(exact: bool, columns: list[Any]) -> bytes:
    """Return integer arrays, each as narrow as it can be, and whether waits are exact, compressed."""
    return zlib.compress(encode([exact, *(packed(narrow(column)) for column in columns)]), 6)


def unsqueezed(raw: bytes) -> tuple[bool, list[Longs]]:
    """Return what `squeezed` was given.

    Raises:
        ValueError: If *raw* is something else.
    """
    try:
        exact, *columns = decode(zlib.decompress(raw))
        return exact, [unpacked(column).astype(np.int64) for column in columns]
    except (zlib.error, TypeError) as error:
        raise ValueError("neither a line's waits nor a week of them") from error


@dataclass(frozen=True)
class WeekGrid:
    """168 cells, the first is Monday 00:00.

    Attributes:
        events: How many messages were written in each hour, shape (168,).
        keys: Of each distinct wait: hour, whether it was the first reply, and the wait (see `keys_of`), ascending.
        counts: How often it occurred, shape like `keys`.
        exact: Whether waits are exact to the millisecond; else they are off by at most 1/256 of themselves.
    """

    events: Longs
    keys: Wides
    counts: Longs
    exact: bool = True

    @classmethod
    def empty(cls) -> WeekGrid:
        """Return a week in which nothing happened."""
        return cls(np.zeros(WEEK_HOURS, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.int64))

    @classmethod
    def of(
        cls, hours: Longs, firsts: NDArray[np.bool_], waits_ms: Longs, events: Longs, counts: Counts | None = None
    ) -> WeekGrid:
        """Return the grid of waits (shape n: hour of the week, first or not, ms, how often) and *events* (168)."""
        once = np.ones(len(hours), np.int64) if counts is None else counts
        return cls.of_keys(keys_of(hours, firsts, waits_ms), once, events.astype(np.int64))

    @classmethod
    def of_keys(cls, keys: Wides, counts: Counts, events: Longs, exact: bool = True) -> WeekGrid:
        """Return the grid of waits by key (shape n, in any order, repeated or not) and *events* (168)."""
        distinct, summed = sum_by_key(keys, counts)
        return cls(events, distinct[summed != 0], summed[summed != 0], exact)

    @classmethod
    def merged(cls, grids: Iterable[WeekGrid]) -> WeekGrid:
        """Return all of *grids* together."""
        found = list(grids)
        if not found:
            return cls.empty()
        keys, counts = (np.concatenate(parts) for parts in zip(*((g.keys, g.counts) for g in found), strict=True))
        return cls.of_keys(keys, counts, np.sum([g.events for g in found], axis=0), all(g.exact for g in found))

    @property
    def hours(self) -> Longs:
        """Return the hour of the week of each distinct wait."""
        return places_of(self.keys)

    @property
    def waits_ms(self) -> Longs:
        """Return each distinct wait in ms."""
        return waits_of(self.keys)

    @property
    def firsts(self) -> NDArray[np.bool_]:
        """Say of each distinct wait whether it was for the first reply."""
        found: NDArray[np.bool_] = (self.keys & _FIRST) != 0
        return found

    @property
    def replies(self) -> Longs:
        """Return how many waits each hour holds, shape (168,)."""
        return _by_hour(self.hours, self.counts)

    @property
    def answered(self) -> Longs:
        """Return to how many events of each hour there was a reply, shape (168,)."""
        return _by_hour(self.hours[self.firsts], self.counts[self.firsts])

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return not len(self.keys) and not self.events.any()

    def within(self, target_ms: int) -> Longs:
        """Return to how many events of each hour the first reply came within *target_ms*, shape (168,)."""
        kept = self.firsts & (self.waits_ms <= target_ms)
        return _by_hour(self.hours[kept], self.counts[kept])

    def cell(self, hour: int, *, first: bool = False) -> tuple[Longs, Longs]:
        """Return the distinct waits of an hour in ms, ascending, and how often each occurred (*first*: firsts only)."""
        return self._waits((self.hours == hour) & (self.firsts | (not first)))

    def quantiles_ms(self, quantile: float, *, first: bool = False) -> Ratios:
        """Return the *quantile* (0–1) of each hour's waits in ms, linear between neighbours; NaN = no wait."""
        kept = self.firsts | (not first)
        hours, waits, counts = self.hours[kept], self.waits_ms[kept], self.counts[kept]
        order = np.lexsort((waits, hours))
        hours, waits, counts = hours[order], waits[order], counts[order]
        return _quantiles(hours, waits, counts, quantile)

    def quantile_ms(self, quantile: float, *, first: bool = False) -> float | None:
        """Return the *quantile* (0–1) of all waits of the week in ms; None = there is none."""
        waits, counts = self._waits(self.firsts | (not first))
        if not len(waits):
            return None
        return float(_quantiles(np.zeros(len(waits), np.int64), waits, counts, quantile)[0])

    def rolled(self, hours: int) -> WeekGrid:
        """Return the grid with every cell *hours* later in the week."""
        places = (self.hours + hours) % WEEK_HOURS
        keys = keys_of(places, self.firsts, self.waits_ms)
        return WeekGrid.of_keys(keys, self.counts, np.roll(self.events, hours), self.exact)

    def bounded(self) -> WeekGrid:
        """Return the grid with waits rounded if there are more than EXACT_WAITS distinct ones (see `rounded_ms`)."""
        if len(self.keys) <= EXACT_WAITS:
            return self
        return WeekGrid.of_keys(rounded_keys(self.keys), self.counts, self.events, False)

    def dump(self) -> bytes:
        """Return the grid as bytes, compressed."""
        return squeezed(self.exact, [self.events, np.diff(self.keys.astype(np.int64), prepend=0), self.counts])

    @classmethod
    def load(cls, raw: bytes) -> WeekGrid:
        """Return what `dump` was called on.

        Raises:
            ValueError: If *raw* is something else.
        """
        exact, (events, keys, counts) = unsqueezed(raw)
        return cls(events, np.cumsum(keys).astype(np.uint64), counts, exact)

    def _waits(self, kept: NDArray[np.bool_]) -> tuple[Longs, Longs]:
        keys, counts = sum_by_key(self.keys[kept] & _WAIT, self.counts[kept])
        return keys.astype(np.int64), counts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WeekGrid) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]


def _by_hour(hours: Longs, counts: Longs) -> Longs:
    found = np.zeros(WEEK_HOURS, np.int64)
    np.add.at(found, hours, counts)
    return found


def _quantiles(hours: Longs, waits: Longs, counts: Longs, quantile: float) -> Ratios:
    """Return the quantile of each of 168 hours, from waits in order of hour and wait."""
    totals = _by_hour(hours, counts)
    ends = np.cumsum(counts)
    starts = np.cumsum(totals) - totals
    place = (totals - 1) * quantile
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, totals - 1)
    found: Ratios = np.full(WEEK_HOURS, np.nan)
    some = totals > 0
    below, above = (waits[np.searchsorted(ends, (starts + rank)[some], side="right")] for rank in (low, high))
    found[some] = below + (above - below) * (place - low)[some]
    return found


def described(grid: WeekGrid) -> dict[int, tuple[int, int, int]]:
    """Return the hours in which anything happened: hour → events, replies, answered.

    >>> described(WeekGrid.empty())
    {}
    """
    rows: list[Any] = [grid.events.tolist(), grid.replies.tolist(), grid.answered.tolist()]
    return {hour: cell for hour, cell in enumerate(zip(*rows, strict=True)) if any(cell)}
