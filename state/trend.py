"""What a subject's last weeks were, and where they lead.

Owns the weekly values that go with a score, and their trend. Invariant: integers only; a week without a score is
no zero, and too few weeks have no trend. What is kept is what would be worked out anew.

    trend = median over all pairs of weeks i < j of (scoreⱼ − scoreᵢ) / (j − i)          (Theil and Sen)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from state.arrays import distinct, grown
from state.health import Matrix
from state.history import History
from state.ring import Slots

WEEKS = 8
"""Closed weeks that go with a score."""
FEWEST = 3
"""Weeks with a score that a trend needs."""
NONE = -1
NEVER = 1 << 40
"""A week that does not come."""
NO_TREND = np.iinfo(np.int64).min
_NO_TREND_HERE = np.iinfo(np.int16).min  # scores are of 10,000 basis points, so no trend goes so far
_COMMON = 840  # a multiple of every distance between two of eight weeks, so that slopes are whole numbers


def recent_scores(history: History, slots: Slots, last: Matrix, first: Matrix) -> Matrix:
    """Return the closing scores (basis points, -1 = none) of WEEKS weeks up to *last*, oldest first: shape (n, WEEKS).

    Scores of users who did nothing in a week are not kept: from the week on in which they were first seen they are 0.

    Args:
        history: Knows them.
        slots: Of n subjects.
        last: The last closed week of each, shape (n,).
        first: The week in which each was first seen, shape (n,); NEVER for orgs.
    """
    found = np.full((len(slots), WEEKS), NONE, np.int64)
    for week in distinct(last).tolist():
        here = last == week
        for column in range(WEEKS):
            found[here, column] = history.scores_at(week - WEEKS + 1 + column, slots[here])
    weeks = last[:, None] - WEEKS + 1 + np.arange(WEEKS)
    return np.where((found == NONE) & (weeks >= first[:, None]), 0, found)


class Pasts:
    """The last weeks and the trend by slot, worked out once a week: a score is told far more often."""

    def __init__(self, history: History, first_weeks: Callable[[Slots], Matrix]) -> None:
        self._history, self._first_weeks = history, first_weeks
        self._known = np.zeros(0, bool)
        self._last = np.zeros(0, np.int32)  # the closed week up to which it is known
        self._scores = np.zeros((0, WEEKS), np.int16)
        self._trends = np.zeros(0, np.int16)

    def forget(self, slots: Slots) -> None:
        """Note that the closing scores of *slots* changed, or the week in which they were first seen."""
        self._known[slots[slots < len(self._known)]] = False

    def of(self, slots: Slots, last: Matrix) -> tuple[Matrix, Matrix]:
        """Return `recent_scores` of *slots* up to the closed weeks *last*, (n, WEEKS), and their `trends`, (n,)."""
        if len(slots):
            rows = int(slots.max()) + 1
            self._known, self._last = grown(self._known, rows), grown(self._last, rows)
            self._scores, self._trends = grown(self._scores, rows), grown(self._trends, rows)
        old = ~self._known[slots] | (self._last[slots] != last)
        if old.any():
            stale, weeks = slots[old], last[old]
            scores = recent_scores(self._history, stale, weeks, self._first_weeks(stale))
            self._known[stale], self._last[stale] = True, weeks
            self._scores[stale], self._trends[stale] = scores, np.maximum(trends(scores), _NO_TREND_HERE)
        found = self._trends[slots].astype(np.int64)
        return self._scores[slots].astype(np.int64), np.where(found == _NO_TREND_HERE, NO_TREND, found)


def trends(scores: Matrix) -> Matrix:
    """Return the trend of each row of weekly *scores* (n, WEEKS), in basis points a week; NO_TREND for too few.

    The median of an even number of slopes is the mean of the middle two; what is left of a point is rounded down.

    >>> trends(np.array([[-1, -1, 100, 200, 300, 400, 500, 9_000], [-1] * 6 + [10, 20]])).tolist()[0]
    100
    """
    pairs = [(i, j) for j in range(scores.shape[1]) for i in range(j)]
    first, second = np.array(pairs, np.int64).T
    known = (scores[:, first] >= 0) & (scores[:, second] >= 0)
    slopes = (scores[:, second] - scores[:, first]) * (_COMMON // (second - first))
    ordered = np.sort(np.where(known, slopes, np.iinfo(np.int64).max), axis=1)
    count = known.sum(axis=1)
    rows = np.arange(len(scores))
    middle = ordered[rows, np.maximum(count - 1, 0) // 2], ordered[rows, count // 2 % ordered.shape[1]]
    enough = (scores >= 0).sum(axis=1) >= FEWEST
    low, high = (np.where(enough, slope, 0) for slope in middle)
    return np.where(enough, (low + high) // 2 // _COMMON, NO_TREND)
