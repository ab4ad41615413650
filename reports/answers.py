"""Within what time the messages of a week were first answered, those never answered included.

Owns the distribution of first replies by hour of the week, as it is and as it would be with some hours staffed.
Invariant: shares are of messages, not of replies; a quantile is the shortest wait within which that share of the
messages was answered, and infinite if so many never were.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from state.week import WEEK_HOURS
from state.week_grid import WAIT_BITS, Longs, Ratios, WeekGrid, keys_of

_LONGEST_MS = (1 << WAIT_BITS) - 1
_HOURS = np.arange(WEEK_HOURS)
_NONE = np.zeros(WEEK_HOURS, np.bool_)


def needed(events: Longs, quantile: float) -> Ratios:
    """Return how many of *events* (any shape) must be answered for a share *quantile*, but for what floats are off.

    >>> bool(needed(np.array([100]), 0.55)[0] <= 55 < 100 * 0.55)
    True
    """
    return (events * (quantile * (1 - 1e-12))).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Answers:
    """First replies of a week.

    Attributes:
        events: Messages of each hour, shape (168,).
        answered: How many of them were answered, shape (168,).
        keys: Of each distinct first reply: hour and wait (see `keys_of`), ascending.
        ends: How many first replies come before each of `keys`; one longer than those.
    """

    events: Longs
    answered: Longs
    keys: NDArray[np.uint64]
    ends: Longs

    @classmethod
    def of(cls, grid: WeekGrid) -> Answers:
        """Return the first replies of *grid*. What was answered was written, even where no event says so."""
        kept = grid.firsts
        keys = keys_of(grid.hours[kept], np.zeros(int(kept.sum()), np.bool_), grid.waits_ms[kept])
        ends = np.concatenate(([0], np.cumsum(grid.counts[kept])))
        return cls(np.maximum(grid.events, grid.answered), grid.answered, keys, ends)

    def within(self, time_ms: int) -> Longs:
        """Return how many messages of each hour were answered within *time_ms* (shape (168,)).

        Raises:
            ValueError: If *time_ms* is below zero.
        """
        if time_ms < 0:
            raise ValueError(f"nothing is answered within {time_ms} ms")
        limits = np.full(WEEK_HOURS, min(time_ms, _LONGEST_MS))
        stops = np.searchsorted(self.keys, keys_of(_HOURS, _NONE, limits), side="right")
        found: Longs = self.ends[stops] - self._before()
        return found

    def quantiles_ms(self, quantile: float) -> Ratios:
        """Return the *quantile* (0–1) of each hour's waits (shape (168,)); infinite = unanswered, NaN = no messages."""
        ranks = np.maximum(np.ceil(needed(self.events, quantile)), 1).astype(np.int64)
        found = np.where(self.events > 0, math.inf, math.nan)
        some = ranks <= self.answered
        at = np.searchsorted(self.ends, (self._before() + ranks)[some]) - 1
        found[some] = self._waits_ms()[at]
        return found

    def lasting(self, time_ms: int) -> float:
        """Return which share of the differences between hours, in what is answered within *time_ms*, is not luck (0–1).

        1 − f/X², not below 0, with X² of the table of hours and outcomes and f its mean if all hours were alike: the
        factor by which James and Stein draw estimates together.
        """
        some = self.events > 0
        events, within = self.events[some], self.within(time_ms)[some]
        if not some.any() or within.sum() in (0, events.sum()):
            return 0.0
        share = within.sum() / events.sum()
        squares = float(((within - events * share) ** 2 / (events * share * (1 - share))).sum())
        return max(0.0, 1 - (len(events) - 1) / squares) if squares else 0.0

    def _before(self) -> Longs:
        """Return how many first replies come before each hour."""
        found: Longs = self.ends[np.searchsorted(self.keys, keys_of(_HOURS, _NONE, np.zeros(WEEK_HOURS, np.int64)))]
        return found

    def _waits_ms(self) -> Longs:
        return (self.keys & np.uint64(_LONGEST_MS)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Staffed:
    """A week in which some hours answer like the best ones do, or as they did where that was more.

    Attributes:
        answers: The week as it was.
        best: The best hours.
        where: The hours staffed, shape (168,).
        lasting: Of what is gained so, which share is expected (0–1); the rest of such an hour stays as it was.
    """

    answers: Answers
    best: list[int]
    where: NDArray[np.bool_]
    lasting: float

    def within(self, time_ms: int) -> Ratios:
        """Return how many messages of each hour are answered within *time_ms* (shape (168,))."""
        within, events = self.answers.within(time_ms), self.answers.events
        # Multiplied first: an hour that is the best one gains exactly nothing then.
        like_best = events * within[self.best].sum() / max(1, int(events[self.best].sum()))
        return within + self.lasting * np.where(self.where, np.maximum(like_best - within, 0.0), 0.0)

    def quantile_ms(self, quantile: float) -> float:
        """Return the *quantile* (0–1) of all messages' waits; infinite = fewer are answered, NaN = no messages."""
        total = self.answers.events.sum()
        if not total:
            return math.nan
        share = float(needed(total, quantile))
        found = bisect_left(range(_LONGEST_MS + 1), share, key=lambda time_ms: float(self.within(time_ms).sum()))
        return float(found) if found <= _LONGEST_MS else math.inf
