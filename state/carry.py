"""What an attribute without data was last: the policy `missing = "carry"`.

Owns by slot the value of each attribute that carries in the newest of the last CARRY_WEEKS closed calendar weeks (of
the org's zone) that had data. Values are carried as they were before ranking: today's cut points say what they are
worth. Invariant: what is carried is a function of those weeks' events; ticks and the order of arrival play no part, and
what is kept here is what would be worked out anew.

    closed weeks   w−5   w−4   w−3   w−2   w−1 │ rolling week
    data            9     7     –     5     –  │  –               → 5; without the 5, 7; without the 7, nothing

No gap is left between the two: what is older than the rolling week lies in a calendar week that is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from state.arrays import distinct, grown
from state.closed_week import WeekView
from state.health import Mask, Matrix, Model
from state.history import History
from state.kinds import attribute_values
from state.ring import Slots

CARRY_WEEKS = 4
"""Closed calendar weeks that are looked at; who had no data in any of them has nothing."""
_PIECE = 1 << 14  # slots looked up at once: a week's cells are spread out for them


class Carry:
    """Last known values by slot: looked up when they are first needed, and again when something of them changed."""

    def __init__(self, model: Model, history: History, last_closed: Callable[[Slots], Matrix]) -> None:
        columns = [i for i, a in enumerate(model.attributes) if a.missing == "carry"]
        self._columns = np.array(columns, np.int64)
        self._model = replace(model, attributes=tuple(model.attributes[i] for i in columns))
        self._history, self._last_closed = history, last_closed
        self._fresh = np.zeros(0, bool)
        self._last = np.zeros(0, np.int64)  # the closed week up to which it is known
        self._values = np.zeros((0, len(columns)), np.int64)
        self._known = np.zeros((0, len(columns)), bool)
        if columns:
            history.watch(self._forget)

    def fill(self, slots: Slots, values: Matrix, known: Mask) -> tuple[Matrix, Mask]:
        """Return *values* with what is carried where there is no data, and where something stands, both (n, A).

        Args:
            slots: Of n users, distinct.
            values: Attribute values, shape (n, A).
            known: Where there was data, shape (n, A).
        """
        lacking = self._lacking(known)
        return self._filled(lacking, values, known, *self._of(slots[lacking]))

    def fill_at_close(self, week: int, slots: Slots, values: Matrix, known: Mask) -> tuple[Matrix, Mask]:
        """Return the same as `fill` for a week that is closed: what is carried comes from the weeks before it."""
        lacking = self._lacking(known)
        return self._filled(lacking, values, known, *self._look_up(slots[lacking], week - 1))

    def _lacking(self, known: Mask) -> Slots:
        return np.flatnonzero(~known[:, self._columns].all(axis=1))

    def _filled(self, rows: Slots, values: Matrix, known: Mask, found: Matrix, had: Mask) -> tuple[Matrix, Mask]:
        """Return *values* and where something stands, with what was *found* (of shape (rows, columns)) put in."""
        if not len(rows):
            return values, known
        values, stands = values.copy(), known.copy()
        for i, column in enumerate(self._columns.tolist()):
            takes = had[:, i] & ~known[rows, column]
            values[rows[takes], column], stands[rows[takes], column] = found[takes, i], True
        return values, stands

    def _forget(self, week: int, slots: Slots) -> None:
        """Note that something of *slots* in *week* changed."""
        held = slots[slots < len(self._fresh)]
        self._fresh[held[self._last[held] >= week]] = False

    def _of(self, slots: Slots) -> tuple[Matrix, Mask]:
        """Return the last known values of *slots* up to their last closed weeks, both of shape (n, columns)."""
        last, rows = self._last_closed(slots), int(slots.max(initial=-1)) + 1
        self._fresh, self._last = grown(self._fresh, rows), grown(self._last, rows)
        self._values, self._known = grown(self._values, rows), grown(self._known, rows)
        old = ~self._fresh[slots] | (self._last[slots] != last)
        for week in distinct(last[old]).tolist():
            stale = slots[old & (last == week)]
            self._values[stale], self._known[stale] = self._look_up(stale, week)
            self._fresh[stale], self._last[stale] = True, week
        return self._values[slots], self._known[slots]

    def _look_up(self, slots: Slots, last: int) -> tuple[Matrix, Mask]:
        """Return the values of the newest of the weeks up to *last* that had data, both of shape (n, columns)."""
        values = np.zeros((len(slots), len(self._columns)), np.int64)
        known = np.zeros_like(values, bool)
        held = set(self._history.weeks())
        for week in [w for w in range(last, last - CARRY_WEEKS, -1) if w in held]:
            rest = np.flatnonzero(~known.all(axis=1))
            for at in range(0, len(rest), _PIECE):
                piece = rest[at : at + _PIECE]
                view = WeekView(self._model.catalogue.measures, self._history, week, slots[piece])
                nobody = np.zeros(len(piece), np.int64)
                found, had = attribute_values(self._model, view, np.arange(len(piece)), nobody)
                takes = had & ~known[piece]
                values[piece] = np.where(takes, found, values[piece])
                known[piece] |= takes
        return values, known
