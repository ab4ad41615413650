"""How long was waited for an answer, by the quarter of an hour of the question.

Owns the figures of one line (a channel, a team, a measure) of one org. Kept by quarters in UTC, since every zone's
clock is put on or back at a quarter: so any zone and any period can be read from it, and an org whose zone becomes
known late loses nothing. (In Newfoundland, Labrador and New Brunswick until 2011, Palestine in 2010 and 2011 and at
Casey until 2022 it was a minute past one: the 14 minutes after still count by the clock before.)

Invariant: the content is the sum of what was added, whatever the order, and whenever it was read or dumped in between.
Exact to the millisecond up to EXACT_WAITS distinct entries; above, waits are rounded by at most 1/256 of themselves,
for good. Entries that were taken back count too: else it would depend on the order whether there were ever too many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import distinct
from state.cells import Cells, Counts, WideCells, sum_by_key
from state.week import HOUR_MS, QUARTER_MS, WEEK_HOURS, hours_of_week, month_of, month_start_ms
from state.week_grid import (
    EXACT_WAITS,
    WAIT_BITS,
    Longs,
    WeekGrid,
    Wides,
    keys_of,
    places_of,
    rounded_keys,
    rounded_ms,
    squeezed,
    unsqueezed,
    waits_of,
)

_FIRST_QUARTER = 946_684_800_000 // QUARTER_MS  # of 2000; nothing older is believed
_FLUSH = 2048
_PLACE_SHIFT = WAIT_BITS + 1
_LAST_PLACE = (1 << (64 - _PLACE_SHIFT)) - 1  # in 2478


class Waits:
    """Events and waits of one line, by quarter of an hour."""

    __slots__ = ("_back", "_days", "_events", "_new_events", "_new_waits", "_waits", "exact")

    def __init__(self) -> None:
        self._events, self._waits = Cells(), WideCells()
        self._back = WideCells()  # what was taken back of `_waits` while exact
        self._new_events: list[tuple[int, int]] = []  # quarter since 2000, weight
        self._new_waits: list[tuple[int, bool, int, int]] = []  # quarter, first, ms, weight
        self._days: set[int] = set()  # days since 2000 (UTC) to which something was added
        self.exact = True

    def add_event(self, time_ms: int, weight: int = 1) -> None:
        """Count what happened at *time_ms* (*weight* −1: take it back)."""
        self._new_events.append((time_ms // QUARTER_MS - _FIRST_QUARTER, weight))
        if len(self._new_events) > _FLUSH:
            self._flush()

    def add_wait(self, asked_ms: int, wait_ms: int, *, first: bool, weight: int = 1) -> None:
        """Count a wait that began at *asked_ms* (*weight* −1: take it back)."""
        self._new_waits.append((asked_ms // QUARTER_MS - _FIRST_QUARTER, first, wait_ms, weight))
        if len(self._new_waits) > _FLUSH:
            self._flush()

    def add_events(self, times_ms: Longs, weights: Counts) -> None:
        """Count what happened at *times_ms* (shape n)."""
        quarters = times_ms // QUARTER_MS - _FIRST_QUARTER
        self._days.update(distinct(quarters // 96).tolist())
        self._events.add(quarters.astype(np.uint64), weights)

    def add_waits(self, asked_ms: Longs, waits_ms: Longs, firsts: NDArray[np.bool_], weights: Counts) -> None:
        """Count waits (all of shape n) that began at *asked_ms*."""
        waits = waits_ms if self.exact else rounded_ms(waits_ms)
        quarters = asked_ms // QUARTER_MS - _FIRST_QUARTER
        self._days.update(distinct(quarters // 96).tolist())
        keys = keys_of(quarters, firsts, waits)
        if self.exact and (weights < 0).any():
            back = weights < 0
            self._back.add(keys[back], weights[back])
            keys, weights = keys[~back], weights[~back]
        self._waits.add(keys, weights)
        self._bound()

    def grid(self, zone: str, months: range | None = None) -> WeekGrid:
        """Return the week of *months* (calendar months in *zone*; None = all there are)."""
        return week_of_lines([self], zone, months)

    def take_touched_days(self) -> list[int]:
        """Return the starts of the days (UTC, ms) to which something was added since last asked."""
        self._flush()
        days, self._days = self._days, set()
        return [(day * 96 + _FIRST_QUARTER) * QUARTER_MS for day in sorted(days)]

    def months(self, zone: str) -> list[int]:
        """Return the calendar months in *zone* in which anything happened, ascending."""
        self._flush()
        quarters = np.concatenate([self._events.read()[0].astype(np.int64), places_of(self._left()[0])])
        days = distinct((quarters + _FIRST_QUARTER) // 96) * 96 * QUARTER_MS
        edges = np.concatenate([days, days + 24 * HOUR_MS - 1])  # of one UTC day both ends: its local days
        if zone == "UTC" or not len(days):
            return sorted({month_of(int(at), zone) for at in edges})
        all_months = {month_of(int(at), zone) for at in edges}
        return sorted(month for month in all_months if not self.slice(zone, range(month, month + 1)).is_empty)

    def slice(self, zone: str, months: range) -> Waits:
        """Return what *months* (in *zone*) hold."""
        self._flush()
        edges = [month_start_ms(m, zone) // QUARTER_MS - _FIRST_QUARTER for m in (months.start, months.stop)]
        return self._between(*edges)

    def waits_between(self, start_ms: int, stop_ms: int) -> tuple[Longs, Counts]:
        """Return waits (ms) begun in the quarters from *start_ms* to before *stop_ms*, and how often each occurred."""
        self._flush()
        start, stop = (time_ms // QUARTER_MS - _FIRST_QUARTER for time_ms in (start_ms, stop_ms))
        cells = (_range_of(cells, start, stop, _PLACE_SHIFT) for cells in (self._waits, self._back))
        keys, counts = _net(*cells)
        return waits_of(keys[counts > 0]), counts[counts > 0]

    def merge(self, other: Waits) -> None:
        """Add all of *other*."""
        self._flush()
        other._flush()
        self._events.add(*other._events.read())
        if self.exact and other.exact:
            self._waits.add(*other._waits.read())
            self._back.add(*other._back.read())
            self._bound()
            return
        self._round()
        self._waits.add(*(_rounded(*other._left()).read() if other.exact else other._waits.read()))

    def drop_before(self, time_ms: int) -> None:
        """Forget what began before the quarter of *time_ms*."""
        self._flush()
        kept = self._between(time_ms // QUARTER_MS - _FIRST_QUARTER, _LAST_PLACE)
        self._events, self._waits, self._back = kept._events, kept._waits, kept._back

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened that was not taken back."""
        self._flush()
        return not len(self._events.read()[0]) and not len(self._left()[0])

    @property
    def size_bytes(self) -> int:
        """Memory held by the arrays, in bytes."""
        self._flush()
        return self._events.size_bytes + self._waits.size_bytes + self._back.size_bytes

    def dump(self) -> bytes:
        """Return the content as bytes, compressed; equal contents give equal bytes."""
        self._flush()
        parts: list[Any] = []
        for cells in (self._events, self._waits, self._back):
            keys, counts = cells.read()
            parts += [np.diff(keys.astype(np.int64), prepend=0), counts]
        return squeezed(self.exact, parts)

    @classmethod
    def load(cls, raw: bytes) -> Waits:
        """Return what `dump` was called on.

        Raises:
            ValueError: If *raw* is something else.
        """
        found = cls()
        found.exact, (events, event_counts, keys, counts, back, back_counts) = unsqueezed(raw)
        found._events = Cells(np.cumsum(events).astype(np.uint64), event_counts)
        found._waits = WideCells(np.cumsum(keys).astype(np.uint64), counts)
        found._back = WideCells(np.cumsum(back).astype(np.uint64), back_counts)
        return found

    def content(self) -> tuple[Longs, Counts, Wides, Counts]:
        """Return quarters since 2000 and counts of events, keys and counts of waits; counts are above zero.

        What was taken back may be gone already: nothing happened less than never.
        """
        self._flush()
        (events, event_counts), (keys, counts) = self._events.read(), self._left()
        some, left = event_counts > 0, counts > 0
        return events[some].astype(np.int64), event_counts[some], keys[left], counts[left]

    def settled(self) -> Waits:
        """Return the content without what was taken back: equal contents then give equal bytes, whatever came when."""
        found = Waits()
        events, event_counts, keys, counts = self.content()
        found._events, found._waits = Cells(events.astype(np.uint64), event_counts), WideCells(keys, counts)
        found.exact = self.exact
        return found

    def _between(self, start: int, stop: int) -> Waits:
        """Return what began in the quarters (since 2000) from *start* to before *stop*."""
        found = Waits()
        found.exact = self.exact
        found._events = Cells(*_range_of(self._events, start, stop, 0))
        found._waits = WideCells(*_range_of(self._waits, start, stop, _PLACE_SHIFT))
        found._back = WideCells(*_range_of(self._back, start, stop, _PLACE_SHIFT))
        return found

    def _left(self) -> tuple[Wides, Counts]:
        """Return keys and counts of the waits that were not taken back."""
        return _net(self._waits.read(), self._back.read())

    def _bound(self) -> None:
        """Round once there were more than EXACT_WAITS distinct entries."""
        if not self.exact or len(self._waits) + len(self._back) <= EXACT_WAITS:
            return
        if len(distinct(np.concatenate([self._waits.read()[0], self._back.read()[0]]))) > EXACT_WAITS:
            self._round()

    def _round(self) -> None:
        if self.exact:
            self._waits, self._back, self.exact = _rounded(*self._left()), WideCells(), False

    def _flush(self) -> None:
        if self._new_events:
            rows = np.array(self._new_events, np.int64)
            self._new_events = []
            self.add_events((rows[:, 0] + _FIRST_QUARTER) * QUARTER_MS, rows[:, 1])
        if self._new_waits:
            rows = np.array(self._new_waits, np.int64)
            self._new_waits = []
            self.add_waits((rows[:, 0] + _FIRST_QUARTER) * QUARTER_MS, rows[:, 2], rows[:, 1] != 0, rows[:, 3])


def week_of_lines(lines: Sequence[Waits], zone: str, months: range | None) -> WeekGrid:
    """Return the week of several lines together, over *months* in *zone* (None = all there are)."""
    found = [waits if months is None else waits.slice(zone, months) for waits in lines]
    if not found:
        return WeekGrid.empty()
    events, event_counts, keys, counts = (
        np.concatenate(parts) for parts in zip(*(waits.content() for waits in found), strict=True)
    )
    by_hour = np.zeros(WEEK_HOURS, np.int64)
    np.add.at(by_hour, _hours(events, zone), event_counts)
    hours = _hours(places_of(keys), zone).astype(np.uint64) << np.uint64(_PLACE_SHIFT)
    within = keys & np.uint64((1 << _PLACE_SHIFT) - 1)
    return WeekGrid.of_keys(hours | within, counts, by_hour, all(waits.exact for waits in found))


def _hours(quarters: Longs, zone: str) -> Longs:
    return hours_of_week((quarters + _FIRST_QUARTER) * QUARTER_MS, zone)


def _range_of(cells: Cells, start: int, stop: int, shift: int) -> tuple[Wides, Counts]:
    """Return the cells whose key, without its last *shift* bits, is from *start* to before *stop*."""
    keys, counts = cells.read()
    edges = [min(max(edge, 0), _LAST_PLACE) << shift for edge in (start, stop)]
    here = slice(*np.searchsorted(keys, np.array(edges, np.uint64)))
    return keys[here], counts[here]


def _net(waits: tuple[Wides, Counts], back: tuple[Wides, Counts]) -> tuple[Wides, Counts]:
    """Return keys and counts of *waits* less those that were taken *back*."""
    if not len(back[0]):
        return waits
    keys, counts = sum_by_key(np.concatenate([waits[0], back[0]]), np.concatenate([waits[1], back[1]]))
    return keys[counts != 0], counts[counts != 0]


def _rounded(keys: Wides, counts: Counts) -> WideCells:
    found = WideCells()
    found.add(rounded_keys(keys), counts)
    found.merge()
    return found
