"""In which hours of a calendar week each subject was active.

Owns one bit for each subject and hour of one week, and how many activities more than one lie in an hour, so that one
that is taken back clears its hour exactly when it was the last there. Invariant: a bit is set if and only if
activities of its hour are left, whatever the order in which they came.

    hour   168 … 1 0 │ end of the week          counted back from the end, in the zone of the org

Hours are real ones: where clocks are put on or back a week has 167 or 169. A zone that changes by more than an hour
has weeks that are longer still; what is beyond the 169th counts in it.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.active_hours import WORDS, Words, reverse, rotated
from state.arrays import decode, distinct, encode, grown, packed, unpacked
from state.cells import Cells, Counts, sum_by_key
from state.ring import Slots
from state.week import HOUR_MS, WEEK_HOURS, local_ms_array, week_end_ms

_STRIDE = 256
_DAY_HOURS = 24
_LAST_HOUR = WEEK_HOURS  # counted from 0


def places_in_week(times_ms: Slots, zone: str) -> tuple[Slots, Slots]:
    """Return of each time (ms, shape n) its calendar week in *zone* and its hour there, counted back from the end.

    >>> weeks, hours = places_in_week(np.array([0, 4 * 24 * 3_600_000 - 1]), "UTC")  # a Thursday 00h, that Sunday 23h
    >>> weeks.tolist(), hours.tolist()
    ([0, 0], [95, 0])
    """
    weeks = (local_ms_array(times_ms, zone) // (_DAY_HOURS * HOUR_MS) + 3) // 7
    found, where = np.unique(weeks, return_inverse=True)
    ends = np.array([week_end_ms(week, zone) for week in found.tolist()], np.int64)
    return weeks, np.minimum((ends[where] - 1 - times_ms) // HOUR_MS, _LAST_HOUR)


class WeekHours:
    """The active hours of all subjects of one week."""

    def __init__(self) -> None:
        self._row_of = np.zeros(0, np.int32)  # by slot, from 1 on; 0 = never active in this week
        self._bits = np.zeros((0, WORDS), np.uint64)
        self._rows = 0
        self._more = Cells()  # slot and hour → activities beyond the first
        self._squeezed: bytes | None = None  # slots and bits, while there is no row

    def add(self, slots: Slots, hours: Slots, weights: Counts) -> None:
        """Count activities (+1) and those taken back (−1), all arrays of shape n."""
        keys, net = sum_by_key((slots * _STRIDE + hours).astype(np.uint64), weights)
        keys, net = keys[net != 0], net[net != 0]
        if not len(keys):
            return
        self._unfold()
        slots, hours = np.divmod(keys.astype(np.int64), _STRIDE)
        places, bits = self._rows_of(slots) * WORDS + hours // 64, np.uint64(1) << (hours % 64).astype(np.uint64)
        had = (self._bits.reshape(-1)[places] & bits) != 0
        more = net - ~had
        has = np.ones(len(keys), bool)
        if (net < 0).any():
            before = np.where(net < 0, self._more.find(keys), 0)
            left = had + before + net
            has = (net > 0) | (left > 0)
            more = np.where(net < 0, np.maximum(left - 1, 0) - before, more)
        self._more.add(keys[more != 0], more[more != 0])
        self._change(places, bits, has)

    def of(self, slots: Slots) -> Words:
        """Return in which hours each of *slots* was active, the week's last one last, as bits (see `active_hours`)."""
        self._unfold()
        rows = np.zeros(len(slots), np.int64)
        known = slots < len(self._row_of)
        rows[known] = self._row_of[slots[known]]
        bits = np.zeros((len(slots), WORDS), np.uint64)
        bits[rows > 0] = self._bits[rows[rows > 0] - 1]
        return rotated(reverse(np.ascontiguousarray(bits.T)), 64 * WORDS - 1 - _LAST_HOUR)

    def forget(self, slot: int) -> None:
        """Remove the hours of *slot*."""
        self._unfold()
        if slot < len(self._row_of) and self._row_of[slot]:
            self._bits[self._row_of[slot] - 1] = 0
            self._row_of[slot] = 0
        self._more.take(slot * _STRIDE, (slot + 1) * _STRIDE)

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        return self._row_of.nbytes + self._bits.nbytes + len(self._squeezed or b"") + self._more.size_bytes

    def squeeze(self) -> None:
        """Keep everything compressed until it is changed or looked into; harmless when it is already."""
        self._more.squeeze()
        if self._rows:
            slots, bits = self._by_slot()
            steps = np.diff(slots, prepend=0).astype(np.uint32)
            self._squeezed = zlib.compress(encode([packed(steps), packed(bits)]), 1)
            self._row_of, self._bits, self._rows = self._row_of[:0].copy(), self._bits[:0].copy(), 0

    def _unfold(self) -> None:
        if self._squeezed is not None:
            slots, bits = self._by_slot()
            self._squeezed = None
            rows = self._rows_of(slots)  # which may put others in the place of `_bits`
            self._bits[rows] = bits

    def _by_slot(self) -> tuple[Slots, NDArray[np.uint64]]:
        """Return the slots that were active, ascending, and their bits."""
        if self._squeezed is None:
            slots = np.flatnonzero(self._row_of)
            return slots, self._bits[self._row_of[slots] - 1]
        steps, bits = (unpacked(column) for column in decode(zlib.decompress(self._squeezed)))
        return np.cumsum(steps, dtype=np.int64), bits

    def segment(self) -> list[Any]:
        """Return the content for a checkpoint, by slot in ascending order."""
        slots, bits = self._by_slot()
        return [packed(a) for a in (slots.astype(np.uint32), bits, *self._more.columns())]

    @classmethod
    def restored(cls, segment: list[Any]) -> WeekHours:
        """Return what `segment` was made of."""
        found = cls()
        slots, bits, keys, more = (unpacked(value) for value in segment)
        rows = found._rows_of(slots.astype(np.int64))
        found._bits[rows] = bits
        found._more = Cells(keys.astype(np.uint32), more)
        return found

    def _rows_of(self, slots: Slots) -> Slots:
        """Return the row of each of *slots* (ascending, shape n), giving new ones where needed."""
        if not len(slots):
            return slots
        self._row_of = grown(self._row_of, int(slots[-1]) + 1)
        new = distinct(slots[self._row_of[slots] == 0])
        if len(new):
            self._bits = grown(self._bits, self._rows + len(new))
            self._row_of[new] = np.arange(self._rows, self._rows + len(new)) + 1
            self._rows += len(new)
        return self._row_of[slots].astype(np.int64) - 1

    def _change(self, places: Slots, bits: NDArray[np.uint64], has: NDArray[np.bool_]) -> None:
        """Set (*has*) or clear *bits* at *places*, flat indices into the words."""
        words = self._bits.reshape(-1)
        np.bitwise_or.at(words, places[has], bits[has])
        np.bitwise_and.at(words, places[~has], ~bits[~has])
