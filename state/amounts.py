"""Amounts one by one, for the few measures of which more than a count and a sum is asked: the newest, the median.

Owns the amounts of a span of time (an hour, a calendar week) in a `Bag`, what is asked of several bags together, and
the bags of the rolling week. What was taken back is a row with the weight −1 and goes away with its counterpart.
Invariant: every answer is a function of the set of activities held, less those taken back; order plays no part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.arrays import distinct, grown, packed, unpacked
from state.cells import Counts, narrow
from state.measures import MAX_MEASURES
from state.week import HOUR_MS

MAX_AMOUNTS = 1 << 23
"""Amounts kept of a partition's rolling week; beyond, those of its oldest hours are forgotten."""
_PREFIX = "amounts/"  # of the rolling week's segments

Ints = NDArray[np.int64]
Answer = tuple[Ints, NDArray[np.bool_]]
"""Values and where there are any, both of shape (n,)."""


class Rows(NamedTuple):
    """Amounts by columns of shape (n,)."""

    cells: NDArray[np.uint32]
    """slot × MAX_MEASURES + measure."""
    moments: NDArray[np.uint32]
    """ms since the bag's beginning."""
    amounts: Counts
    weights: Counts


class Bag:
    """The amounts of one span of time, at most 2³² ms long; ascending by cell once somebody looks."""

    __slots__ = ("_rows", "_tail")

    def __init__(self, rows: Rows | None = None) -> None:
        none, nothing = np.empty(0, np.uint32), narrow(np.empty(0, np.int64))
        self._rows = Rows(none, none, nothing, nothing) if rows is None else rows
        self._tail: list[Rows] = []

    def add(self, slots: Ints, measures: Ints, moments: Ints, amounts: Counts, weights: Counts) -> None:
        """Add amounts (all of shape n) with weights +1, or −1 for those taken back, which are as they were added."""
        cells = (slots * MAX_MEASURES + measures).astype(np.uint32)
        self._tail.append(Rows(cells, moments.astype(np.uint32), narrow(amounts), narrow(weights)))

    def rows(self) -> Rows:
        """Return all rows, ascending by cell."""
        if self._tail:
            cells, moments, amounts, weights = (np.concatenate(c) for c in zip(self._rows, *self._tail, strict=True))
            # Mostly two runs that ascend already: a stable sort only merges them.
            order = np.argsort(cells, kind="stable")
            self._rows = Rows(cells[order], moments[order], narrow(amounts[order]), narrow(weights[order]))
            self._tail = []
        return self._rows

    def settled(self) -> Rows:
        """Return the rows in an order of their own, equal ones as one and without what came to nothing."""
        rows = self.rows()
        (cells, moments, amounts), weights = _united((rows.cells, rows.moments, rows.amounts), rows.weights)
        kept = weights != 0
        return Rows(cells[kept], moments[kept], narrow(amounts[kept]), narrow(weights[kept]))

    def find(self, cells: NDArray[np.uint32]) -> tuple[Ints, Ints]:
        """Return for every row of one of *cells* (distinct, ascending) which of them, and the row's number."""
        held = self.rows().cells
        if len(held) < len(cells):
            at = np.minimum(np.searchsorted(cells, held), len(cells) - 1)
            found = np.flatnonzero(cells[at] == held)
            return at[found], found
        first, end = np.searchsorted(held, cells, "left"), np.searchsorted(held, cells, "right")
        lengths = end - first
        which = np.repeat(np.arange(len(cells)), lengths)
        return which, np.arange(len(which)) + np.repeat(first - (np.cumsum(lengths) - lengths), lengths)

    def drop(self, slot: int) -> None:
        """Remove all amounts of *slot*."""
        rows = self.rows()
        kept = rows.cells // MAX_MEASURES != slot
        if not kept.all():
            self._rows = Rows(
                rows.cells[kept], rows.moments[kept], narrow(rows.amounts[kept]), narrow(rows.weights[kept])
            )

    def __len__(self) -> int:
        return len(self._rows.cells) + sum(len(rows.cells) for rows in self._tail)

    @property
    def size_bytes(self) -> int:
        """Memory held by the arrays, in bytes."""
        return sum(column.nbytes for rows in (self._rows, *self._tail) for column in rows)


def medians(bags: Mapping[int, Bag], measures: Collection[int], slots: Ints) -> Answer:
    """Return the lower median of all amounts of *measures* of each of *slots* (distinct) in *bags*.

    Of an even number of amounts it is the smaller one of the middle two. Bags are given by their beginning (ms).
    """
    place, _, amounts, weights = _gathered(bags, measures, slots)
    (place, amounts), weights = _united((place, amounts), weights)
    held = weights > 0
    place, amounts, until = place[held], amounts[held], np.cumsum(weights[held])
    totals = np.bincount(place, weights[held], minlength=len(slots)).astype(np.int64)
    known = totals > 0
    # The amounts stand one after the other, those of a subject together and ascending.
    middle = (np.cumsum(totals) - totals + (totals - 1) // 2)[known]
    return _spread(known, amounts[np.searchsorted(until, middle, "right")])


def newest(bags: Mapping[int, Bag], measure: int, slots: Ints) -> Answer:
    """Return the newest amount of *measure* of each of *slots* (distinct) in *bags*; of one moment's the largest."""
    place, times_ms, amounts, weights = _gathered(bags, (measure,), slots)
    (place, _, amounts), weights = _united((place, times_ms, amounts), weights)
    place, amounts = place[weights > 0], amounts[weights > 0]
    last = np.flatnonzero(np.diff(place, append=-1))
    known = np.zeros(len(slots), bool)
    known[place[last]] = True
    return _spread(known, amounts[last])


def _spread(known: NDArray[np.bool_], found: Ints) -> Answer:
    values = np.zeros(len(known), np.int64)
    values[known] = found
    return values, known


def _gathered(bags: Mapping[int, Bag], measures: Collection[int], slots: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return place among *slots*, time (ms), amount and weight of every row of *slots* and *measures*."""
    cells = (slots[:, None] * MAX_MEASURES + np.array(list(measures), np.int64)).reshape(-1)
    order = np.argsort(cells, kind="stable")
    places, wanted = order // max(1, len(measures)), cells[order].astype(np.uint32)
    found: list[tuple[Ints, ...]] = [(np.empty(0, np.int64),) * 4]
    for beginning, bag in bags.items() if len(cells) else ():
        which, at = bag.find(wanted)
        rows = bag.rows()
        moments = rows.moments[at].astype(np.int64)
        found.append((places[which], beginning + moments, rows.amounts[at], rows.weights[at]))
    place, times_ms, amounts, weights = (np.concatenate(column).astype(np.int64) for column in zip(*found, strict=True))
    return place, times_ms, amounts, weights


def _united(keys: tuple[NDArray[Any], ...], weights: Counts) -> tuple[tuple[NDArray[Any], ...], Ints]:
    """Return the distinct rows of *keys*, ascending from the first key to the last, and the sums of their weights."""
    if not len(weights):
        return keys, weights.astype(np.int64)
    order = np.lexsort(keys[::-1])
    keys, weights = tuple(key[order] for key in keys), weights[order].astype(np.int64)
    differs = np.concatenate(([True], np.logical_or.reduce([key[1:] != key[:-1] for key in keys])))
    starts = np.flatnonzero(differs)
    return tuple(key[starts] for key in keys), np.add.reduceat(weights, starts)


def segments_of(bags: Mapping[int, Bag], prefix: str) -> dict[str, Any]:
    """Return *bags* for a checkpoint, one segment each, by *prefix* and number; what holds nothing is left out."""
    settled = {number: bag.settled() for number, bag in sorted(bags.items())}
    return {f"{prefix}{n}": [packed(column) for column in rows] for n, rows in settled.items() if len(rows.cells)}


def bags_in(segments: Mapping[str, Any], prefix: str, measures: Ints) -> dict[int, Bag]:
    """Return the bags that `segments_of` made segments of, but only of *measures*: others may have been kept then."""
    found = {}
    for name, value in segments.items():
        if name.startswith(prefix):
            cells, moments, amounts, weights = (unpacked(column) for column in value)
            kept = np.isin(cells % MAX_MEASURES, measures)
            if kept.any():
                rows = Rows(cells[kept], moments[kept], amounts[kept], weights[kept])
                found[int(name.removeprefix(prefix))] = Bag(rows)
    return found


class _Answers:
    """What was answered about each slot, until something of it changes."""

    def __init__(self) -> None:
        self._values, self._known = np.zeros(0, np.int64), np.zeros(0, bool)
        self._fresh = np.zeros(0, bool)

    def forget(self, slots: Ints) -> None:
        """Note that the amounts of *slots* changed."""
        self._fresh[slots[slots < len(self._fresh)]] = False

    def of(self, slots: Ints, ask: Callable[[Ints], Answer]) -> Answer:
        """Return the answers about *slots* (shape n), asking for those that may have changed."""
        if len(slots):
            rows = int(slots.max()) + 1
            self._values, self._known = grown(self._values, rows), grown(self._known, rows)
            self._fresh = grown(self._fresh, rows)
        stale = distinct(slots[~self._fresh[slots]])
        if len(stale):
            self._values[stale], self._known[stale] = ask(stale)
            self._fresh[stale] = True
        return self._values[slots], self._known[slots]


class HourlyAmounts:
    """The amounts of the rolling week, a bag for each hour. Answers are kept: most users' amounts don't change."""

    def __init__(self, measures: Collection[int], limit: int = MAX_AMOUNTS) -> None:
        self.measures = np.array(sorted(measures), np.int64)
        self._limit = limit
        self._bags: dict[int, Bag] = {}  # by the hour's beginning, ms
        self._first_ms = 0  # what is older is no longer kept
        self._answers: dict[tuple[int, ...], _Answers] = {}

    def add(self, slots: Ints, measures: Ints, times_ms: Ints, amounts: Counts, weights: Counts) -> None:
        """Add those of the activities (all of shape n) that are of measures kept here; *weights* as in `Bag.add`."""
        kept = np.isin(measures, self.measures) & (times_ms >= self._first_ms)
        if not kept.any():
            return
        slots, measures, times_ms = slots[kept], measures[kept], times_ms[kept]
        amounts, weights = amounts[kept], weights[kept]
        beginnings = times_ms // HOUR_MS * HOUR_MS
        for beginning in distinct(beginnings).tolist():
            here = beginnings == beginning
            bag = self._bags.setdefault(beginning, Bag())
            bag.add(slots[here], measures[here], times_ms[here] - beginning, amounts[here], weights[here])
        self._forget(slots)
        while sum(map(len, self._bags.values())) > self._limit:
            self.drop_before(min(self._bags) + HOUR_MS)

    def drop_before(self, time_ms: int) -> None:
        """Forget the hours that began before *time_ms*, for good."""
        self._first_ms = max(self._first_ms, time_ms)
        for old in [beginning for beginning in self._bags if beginning < time_ms]:
            self._forget((self._bags.pop(old).rows().cells // MAX_MEASURES).astype(np.int64))

    def drop_slot(self, slot: int) -> None:
        """Forget all amounts of *slot*."""
        for bag in self._bags.values():
            bag.drop(slot)
        self._forget(np.array([slot], np.int64))

    def medians(self, measures: tuple[int, ...], slots: Ints) -> Answer:
        """Return the lower median of the amounts of *measures* of each of *slots*."""
        answers = self._answers.setdefault((-1, *measures), _Answers())
        return answers.of(slots, lambda stale: medians(self._bags, measures, stale))

    def newest(self, measure: int, slots: Ints) -> Answer:
        """Return the newest amount of *measure* of each of *slots*; of one moment's the largest."""
        return self._answers.setdefault((measure,), _Answers()).of(
            slots, lambda stale: newest(self._bags, measure, stale)
        )

    def _forget(self, slots: Ints) -> None:
        for answers in self._answers.values():
            answers.forget(slots)

    @property
    def size_bytes(self) -> int:
        """Memory held by the bags, in bytes."""
        return sum(bag.size_bytes for bag in self._bags.values())

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint: one segment an hour."""
        first = {"amounts-first": self._first_ms} if len(self.measures) else {}
        return first | segments_of(self._bags, _PREFIX)

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        self._first_ms = segments.get("amounts-first", 0)
        self._bags = bags_in(segments, _PREFIX, self.measures)
