"""The rolling week: the last 168 whole hours and the running one.

Owns, for every subject slot, the counts and exact sums by measure of the
rolling week, in which of its hours the subject was active, and single amounts
of the measures that need them. Totals are kept up to date by adding on fold and
subtracting when an hour leaves, so reading them costs nothing. Invariant:
totals equal the sum of the hours held.

           now-168h                                        now
    ── gone ──┤ hour │ hour │ …  168 whole hours …  │ hour │ running │── not yet
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.active_hours import WORDS, Words, rotated
from state.amounts import Answer, HourlyAmounts
from state.arrays import distinct, grown, packed, unpacked
from state.cells import Cells, Counts, Keys, sum_by_key
from state.columns import NarrowColumns
from state.measures import MAX_MEASURES, Measure
from state.week import HOUR_MS, WEEK_HOURS

Slots = NDArray[np.int64]
_BITS = 64 * WORDS  # 192 bits hold the 169 hours of the window, by hour modulo 192


class RollingWeek:
    """Counts, sums and active hours of every slot of one partition; amounts one by one of the measures in *single*."""

    def __init__(self, measures: tuple[Measure, ...], single: Collection[int] = ()) -> None:
        self._measures = len(measures)
        self._active = np.array([not m.passive for m in measures])
        summed = [i for i, m in enumerate(measures) if m.summed]
        self._sum_column = np.full(self._measures, -1)
        self._sum_column[summed] = np.arange(len(summed))
        self._counts, self._sums = NarrowColumns(self._measures), NarrowColumns(len(summed))
        self._bits = np.zeros((0, WORDS), np.uint64)
        self._hours: dict[int, tuple[Cells, Cells]] = {}
        self._amounts = HourlyAmounts(single)
        self.hour = 0
        """The running hour (since 1970, UTC)."""

    def grow(self, slots: int) -> None:
        """Make room for *slots* subjects."""
        self._counts.grow(slots)
        self._sums.grow(slots)
        self._bits = grown(self._bits, slots)

    def add(
        self, slots: Slots, measures: Slots, times_ms: Slots, weights: Counts, amounts: Counts,
        lacking: NDArray[np.bool_] | None = None,
    ) -> None:  # fmt: skip
        """Fold activities (all arrays of shape n); those outside the window are left alone.

        *weights* is +1, or −1 for an activity taken back; *amounts* is already signed. Those of *lacking* (None = of
        none) are 0 and no amounts.
        """
        of_amounts = weights if lacking is None else weights * ~lacking
        hours = times_ms // HOUR_MS
        inside = (hours >= self.hour - WEEK_HOURS) & (hours <= self.hour)
        if not inside.all():
            slots, measures, hours = slots[inside], measures[inside], hours[inside]
            times_ms, weights, amounts = times_ms[inside], weights[inside], amounts[inside]
            of_amounts = of_amounts[inside]
        if not len(slots):
            return
        self._amounts.add(slots, measures, times_ms, amounts * weights, of_amounts)
        cell = slots * MAX_MEASURES + measures
        base = int(hours.min())
        # One sort for all hours: hour in the high bits, cell in the low ones.
        keys, totals = sum_by_key(((hours - base) << 40 | cell).astype(np.uint64), weights)
        summed = self._sum_column[measures] >= 0
        sum_keys, sums = sum_by_key(((hours - base)[summed] << 40 | cell[summed]).astype(np.uint64), amounts[summed])
        for hour, found, values in _by_hour(keys, totals, base):
            self._bucket(hour)[0].add(found, values)
            self._mark(hour, found)
            if (values < 0).any():
                self._mark_anew(hour, distinct(found[values < 0] // np.uint64(MAX_MEASURES)).astype(np.int64))
        for hour, found, values in _by_hour(sum_keys, sums, base):
            self._bucket(hour)[1].add(found, values)
        self._to_totals(*_of_all_hours(keys, totals), *_of_all_hours(sum_keys, sums))

    def advance(self, hour: int) -> Slots:
        """Move the running hour on; return the slots (distinct) whose totals changed by it."""
        if hour <= self.hour:
            return np.empty(0, np.int64)
        self.hour = hour
        touched = []
        for old in [h for h in self._hours if h < hour - WEEK_HOURS]:
            counts, sums = (cells.read() for cells in self._hours.pop(old))
            self._to_totals(counts[0], -counts[1], sums[0], -sums[1])
            slots = (counts[0] // np.uint64(MAX_MEASURES)).astype(np.int64)
            word, bit = divmod(old % _BITS, 64)
            self._bits[slots, word] &= ~np.uint64(1 << bit)
            touched.append(slots)
        for over in self._hours.keys() - {hour}:
            for cells in self._hours[over]:
                cells.squeeze()
        self._amounts.drop_before((hour - WEEK_HOURS) * HOUR_MS)
        return distinct(np.concatenate(touched)) if touched else np.empty(0, np.int64)

    def forget(self, slot: int) -> None:
        """Remove everything that *slot* did."""
        for cells in self._hours.values():
            for each in cells:
                each.take(slot * MAX_MEASURES, (slot + 1) * MAX_MEASURES)
        self._counts.clear(slot)
        self._sums.clear(slot)
        self._bits[slot] = 0
        self._amounts.drop_slot(slot)

    def active_hours(self, slots: Slots) -> Words:
        """Return in which hours each of *slots* was active, oldest first, as bits (see `active_hours`)."""
        return rotated(np.ascontiguousarray(self._bits[slots].T), (self.hour - WEEK_HOURS) % _BITS)

    def are_active(self, slots: Slots) -> NDArray[np.bool_]:
        """Return for each of *slots* whether it was active within the window."""
        return np.asarray(self._bits[slots].any(axis=1))

    def counts_of(self, slots: Slots) -> Counts:
        """Return how often each of *slots* did what, shape (n, measures)."""
        return self._counts.take(slots)

    def activities_of(self, slots: Slots) -> Counts:
        """Return how many activities each of *slots* has, shape (n,); something merely received is none."""
        return self._counts.sums(slots, self._active)

    def count_of(self, measure: int) -> Counts:
        """Return how often every slot did *measure*."""
        return self._counts.column(measure)

    def sum_of(self, measure: int) -> Counts:
        """Return every slot's exact sum of *measure* (which must be a summed one)."""
        return self._sums.column(int(self._sum_column[measure]))

    def medians(self, measures: tuple[int, ...], slots: Slots) -> Answer:
        """Return the lower median of all amounts of *measures* (in *single*) of each of *slots*, and where it is."""
        return self._amounts.medians(measures, slots)

    def newest(self, measure: int, slots: Slots) -> Answer:
        """Return the newest amount of *measure* (in *single*) of each of *slots*, and where there is one."""
        return self._amounts.newest(measure, slots)

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        cells = sum(c.size_bytes + s.size_bytes for c, s in self._hours.values())
        return self._counts.size_bytes + self._sums.size_bytes + self._bits.nbytes + cells + self._amounts.size_bytes

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint: one segment an hour."""
        found: dict[str, Any] = {"hour": self.hour}
        for hour, (counts, sums) in sorted(self._hours.items()):
            found[f"hour/{hour}"] = [packed(array) for cells in (counts, sums) for array in cells.columns()]
        return found | self._amounts.segments()

    def restore(self, segments: dict[str, Any], slots: int) -> None:
        """Take over what `segments` returned, for *slots* subjects."""
        self.grow(slots)
        self.hour = segments["hour"]
        self._amounts.restore(segments)
        for name, value in segments.items():
            if name.startswith("hour/"):
                hour = int(name[5:])
                keys, counts, sum_keys, sums = (unpacked(v) for v in value)
                self._hours[hour] = (Cells(keys.astype(np.uint32), counts), Cells(sum_keys.astype(np.uint32), sums))
                self._mark(hour, keys)
                self._to_totals(keys, counts, sum_keys, sums)

    def _bucket(self, hour: int) -> tuple[Cells, Cells]:
        if hour not in self._hours:
            self._hours[hour] = (Cells(), Cells())
        return self._hours[hour]

    def _mark(self, hour: int, keys: Keys) -> None:
        slots, measures = np.divmod(keys.astype(np.int64), MAX_MEASURES)
        word, bit = divmod(hour % _BITS, 64)
        # Writers of one place all write the same value, so duplicates do no harm.
        self._bits[slots[self._active[measures]], word] |= np.uint64(1 << bit)

    def _mark_anew(self, hour: int, slots: Slots) -> None:
        """Look again whether *slots* (distinct) were active in *hour*: something was taken back."""
        word, bit = divmod(hour % _BITS, 64)
        self._bits[slots, word] &= ~np.uint64(1 << bit)
        keys = self._bucket(hour)[0].read()[0]
        self._mark(hour, keys[np.isin(keys // np.uint64(MAX_MEASURES), slots.astype(np.uint64))])

    def _to_totals(self, keys: Keys, counts: Counts, sum_keys: Keys, sums: Counts) -> None:
        slots, measures = np.divmod(keys.astype(np.int64), MAX_MEASURES)
        self._counts.add(slots, measures, counts)
        slots, measures = np.divmod(sum_keys.astype(np.int64), MAX_MEASURES)
        self._sums.add(slots, self._sum_column[measures], sums)


def _of_all_hours(keys: Keys, values: Counts) -> tuple[Keys, Counts]:
    """Return the distinct cells of (hour << 40 | cell) keys, ascending, and the sums of their values."""
    cells = keys & np.uint64((1 << 40) - 1)
    return (
        (cells, values)
        if not len(keys) or keys[0] >> np.uint64(40) == keys[-1] >> np.uint64(40)
        else sum_by_key(cells, values)
    )


def _by_hour(keys: Keys, values: Counts, base: int) -> list[tuple[int, Keys, Counts]]:
    """Split (hour << 40 | cell) keys, ascending, into (hour, cells, values)."""
    if not len(keys):
        return []
    hours = (keys >> np.uint64(40)).astype(np.int64)
    edges = np.flatnonzero(np.diff(hours)) + 1
    cells = keys & np.uint64((1 << 40) - 1)
    return [
        (base + int(hours[start]), cells[start:stop], values[start:stop])
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(keys)], strict=True)
    ]
