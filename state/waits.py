"""How long was waited for an answer, by the quarter of an hour of the question.

Owns the figures of one line (a channel, a team, a measure) of one org. Kept by quarters in UTC, since every zone's
clock is put on or back by whole quarters: so any zone and any period can be read from it, and an org whose zone becomes
known late loses nothing. Invariant: the content is the sum of what was added, whatever the order. Exact to the
millisecond up to EXACT_WAITS distinct entries; above, waits are rounded by at most 1/256 of themselves.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import decode, encode, packed, unpacked
from state.cells import Cells, Counts, WideCells, narrow
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
)

_FIRST_QUARTER = 946_684_800_000 // QUARTER_MS  # of 2000; nothing older is believed
_FLUSH = 2048


class Waits:
    """Events and waits of one line, by quarter of an hour."""

    __slots__ = ("_days", "_events", "_new_events", "_new_waits", "_waits", "exact")

    def __init__(self) -> None:
        self._events, self._waits = Cells(), WideCells()
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
        self._days.update(np.unique(quarters // 96).tolist())
        self._events.add(quarters.astype(np.uint64), weights)

    def add_waits(self, asked_ms: Longs, waits_ms: Longs, firsts: NDArray[np.bool_], weights: Counts) -> None:
        """Count waits (all of shape n) that began at *asked_ms*."""
        waits = waits_ms if self.exact else rounded_ms(waits_ms)
        quarters = asked_ms // QUARTER_MS - _FIRST_QUARTER
        self._days.update(np.unique(quarters // 96).tolist())
        self._waits.add(keys_of(quarters, firsts, waits), weights)
        if self.exact and len(self._waits) > EXACT_WAITS:
            keys, counts = self._waits.read()
            if len(keys) > EXACT_WAITS:
                self.exact = False
                self._waits = _rounded(keys, counts)

    def grid(self, zone: str, months: range | None = None) -> WeekGrid:
        """Return the week of *months* (calendar months in *zone*; None = all there are)."""
        return week_of_spans([self], zone, months)

    def take_touched(self) -> set[int]:
        """Return the months (UTC) to which something was added since last asked."""
        self._flush()
        days, self._days = self._days, set()
        return {month_of((day * 96 + _FIRST_QUARTER) * QUARTER_MS, "UTC") for day in days}

    def months(self, zone: str) -> list[int]:
        """Return the calendar months in *zone* in which anything happened, ascending."""
        self._flush()
        quarters = np.concatenate([self._events.read()[0].astype(np.int64), places_of(self._waits.read()[0])])
        days = np.unique((quarters + _FIRST_QUARTER) // 96) * 96 * QUARTER_MS
        edges = np.concatenate([days, days + 24 * HOUR_MS - 1])  # of one UTC day both ends: its local days
        if zone == "UTC" or not len(days):
            return sorted({month_of(int(at), zone) for at in edges})
        all_months = {month_of(int(at), zone) for at in edges}
        return sorted(month for month in all_months if not self.slice(zone, range(month, month + 1)).is_empty)

    def slice(self, zone: str, months: range) -> Waits:
        """Return what *months* (in *zone*) hold."""
        events, event_counts, keys, counts = self.span(zone, months)
        found = Waits()
        found._events, found._waits = Cells(events.astype(np.uint64), event_counts), WideCells(keys, counts)
        found.exact = self.exact
        return found

    def merge(self, other: Waits) -> None:
        """Add all of *other*."""
        self._flush()
        other._flush()
        self._events.add(*other._events.read())
        keys, counts = other._waits.read()
        if self.exact and not other.exact:
            self.exact, self._waits = False, _rounded(*self._waits.read())
        elif other.exact and not self.exact:
            keys, counts = _rounded(keys, counts).read()
        self._waits.add(keys, counts)

    def drop_before(self, time_ms: int) -> None:
        """Forget what began before *time_ms*."""
        self._flush()
        edge = time_ms // QUARTER_MS - _FIRST_QUARTER
        (events, event_counts), (keys, counts) = self._events.read(), self._waits.read()
        recent, late = events >= max(edge, 0), places_of(keys) >= edge
        self._events, self._waits = Cells(events[recent], event_counts[recent]), WideCells(keys[late], counts[late])

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        self._flush()
        self._events.merge()
        self._waits.merge()
        return not len(self._events) and not len(self._waits)

    @property
    def size_bytes(self) -> int:
        """Memory held by the arrays, in bytes."""
        self._flush()
        return self._events.size_bytes + self._waits.size_bytes

    def dump(self) -> bytes:
        """Return the content as bytes, compressed; equal contents give equal bytes."""
        self._flush()
        (events, event_counts), (keys, counts) = self._events.read(), self._waits.read()
        parts: list[Any] = [np.diff(events.astype(np.int64), prepend=0), event_counts]
        parts += [np.diff(keys.astype(np.int64), prepend=0), counts]
        return zlib.compress(encode([self.exact, *(packed(narrow(part)) for part in parts)]), 6)

    @classmethod
    def load(cls, raw: bytes) -> Waits:
        """Return what `dump` was called on.

        Raises:
            ValueError: If *raw* is something else.
        """
        try:
            exact, *parts = decode(zlib.decompress(raw))
            events, event_counts, keys, counts = (unpacked(part).astype(np.int64) for part in parts)
        except (zlib.error, TypeError) as error:
            raise ValueError("not the waits of a line") from error
        found = cls()
        found.exact = exact
        found._events = Cells(np.cumsum(events).astype(np.uint64), event_counts)
        found._waits = WideCells(np.cumsum(keys).astype(np.uint64), counts)
        return found

    def span(self, zone: str, months: range | None) -> tuple[Longs, Longs, Wides, Longs]:
        """Return of *months* in *zone*: quarters since 2000 and counts of events, keys and counts of waits."""
        self._flush()
        (events, event_counts), (keys, counts) = self._events.read(), self._waits.read()
        quarters = events.astype(np.int64)
        if months is None:
            return quarters, event_counts, keys, counts
        edges = [month_start_ms(m, zone) // QUARTER_MS - _FIRST_QUARTER for m in (months.start, months.stop)]
        start, stop = (max(edge, 0) for edge in edges)
        here = slice(*np.searchsorted(quarters, [start, stop]))
        there = slice(*np.searchsorted(places_of(keys), [start, stop]))
        return quarters[here], event_counts[here], keys[there], counts[there]

    def _flush(self) -> None:
        if self._new_events:
            rows = np.array(self._new_events, np.int64)
            self._new_events = []
            self.add_events((rows[:, 0] + _FIRST_QUARTER) * QUARTER_MS, rows[:, 1])
        if self._new_waits:
            rows = np.array(self._new_waits, np.int64)
            self._new_waits = []
            self.add_waits((rows[:, 0] + _FIRST_QUARTER) * QUARTER_MS, rows[:, 2], rows[:, 1] != 0, rows[:, 3])


def week_of_spans(lines: Iterable[Waits], zone: str, months: range | None) -> WeekGrid:
    """Return the week of several lines together, over *months* in *zone* (None = all there are)."""
    found = list(lines)
    spans = [waits.span(zone, months) for waits in found]
    if not spans:
        return WeekGrid.empty()
    events, event_counts, keys, counts = (np.concatenate(parts) for parts in zip(*spans, strict=True))
    by_hour = np.zeros(WEEK_HOURS, np.int64)
    np.add.at(by_hour, _hours(events, zone), event_counts)
    places = keys & np.uint64((1 << (WAIT_BITS + 1)) - 1)
    hours = _hours(places_of(keys), zone).astype(np.uint64)
    return WeekGrid.of_keys(hours << np.uint64(WAIT_BITS + 1) | places, counts, by_hour, all(w.exact for w in found))


def _hours(quarters: Longs, zone: str) -> Longs:
    return hours_of_week((quarters + _FIRST_QUARTER) * QUARTER_MS, zone)


def _rounded(keys: Wides, counts: Counts) -> WideCells:
    found = WideCells()
    found.add(rounded_keys(keys), counts)
    found.merge()
    return found
