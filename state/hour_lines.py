"""Measures by hour of the week: how often, and how long it took.

Owns what an activity adds to its measure's line in its org (see `state.lines`): an event in the quarter of an hour in
which it began or took place, and for a duration a wait of its length from there. Invariant: what an activity adds
depends on it alone, so taking it back leaves nothing, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.cells import Counts
from state.lines import MEASURE
from state.measures import MAX_MEASURES, Measure
from state.waits import Waits

Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]
_FEW = 16
"""Up to so many activities of a line are handed over one by one: arrays would cost more than they save."""
LineOf = Callable[[str, str], Waits]
"""Gets an org's name and a line's, gives what is kept of it: what is added there stays."""


class Activities(NamedTuple):
    """Activities by columns of shape (n,)."""

    orgs: Longs
    """Numbers of orgs."""
    measures: Longs
    times_ms: Longs
    weights: Counts
    """+1, or −1 for those taken back."""
    amounts: Counts
    """Signed like the weights."""


class HourLines:
    """Adds activities to the lines of one partition's orgs."""

    def __init__(self, measures: Sequence[Measure], name_of: Callable[[int], str], line_of: LineOf) -> None:
        """Prepare for the catalogue's *measures*; *name_of* gives an org's name by its number."""
        self._name_of, self._line_of = name_of, line_of
        self._lines = [MEASURE + m.name for m in measures]
        kept, lasting, moved = np.array(
            [(m.hours, m.lasts, m.lasts or bool(m.time)) for m in measures], bool
        ).reshape(-1, 3).T  # fmt: skip
        self._kept, self._lasting, self._moved = kept, lasting, moved

    def lacking(self, measures: Longs, weights: Counts, amounts: Counts) -> Mask | None:
        """Return which activities (n,) are of a duration that nobody knows, None = none of them."""
        if not self._lasting.any():
            return None
        found = self._lasting[measures] & (amounts * weights < 0)
        return found if found.any() else None

    def add(self, activities: Activities) -> None:
        """Add to the lines those that are kept by hour of the week.

        A duration that nobody knows (see `state.measures.NO_DURATION`) is left out, and its event with it.
        """
        kept = self._kept[activities.measures]
        lacking = self.lacking(activities.measures, activities.weights, activities.amounts)
        if lacking is not None:
            kept &= ~lacking
        if not kept.any():
            return
        orgs, measures, times_ms, weights, amounts = (column[kept] for column in activities)
        spans_ms = amounts * weights
        starts_ms = times_ms - np.where(self._moved[measures], spans_ms, 0)
        keys = orgs * MAX_MEASURES + measures
        order = np.argsort(keys, kind="stable")
        keys, starts_ms, spans_ms, weights = keys[order], starts_ms[order], spans_ms[order], weights[order]
        edges = np.flatnonzero(np.diff(keys, prepend=-1)).tolist()
        for edge, end in zip(edges, [*edges[1:], len(keys)], strict=True):
            self._add(int(keys[edge]), starts_ms[edge:end], spans_ms[edge:end], weights[edge:end])

    def _add(self, key: int, starts_ms: Longs, spans_ms: Longs, weights: Counts) -> None:
        """Add activities of one org and measure (org × MAX_MEASURES + measure)."""
        number, measure = divmod(key, MAX_MEASURES)
        waits = self._line_of(self._name_of(number), self._lines[measure])
        if len(weights) <= _FEW:
            for start_ms, span_ms, weight in zip(starts_ms.tolist(), spans_ms.tolist(), weights.tolist(), strict=True):
                waits.add_event(start_ms, weight)
                if self._lasting[measure]:
                    waits.add_wait(start_ms, span_ms, first=True, weight=weight)
            return
        waits.add_events(starts_ms, weights)
        if self._lasting[measure]:
            waits.add_waits(starts_ms, spans_ms, np.ones(len(weights), bool), weights)
