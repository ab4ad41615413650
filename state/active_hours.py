"""The hours in which users were active, as bits: days, visits and gaps of many users at once.

Owns arithmetic on the 169 hours of the rolling week (`ring`), kept as three 64-bit words of shape (3, n). Invariant:
bit i of the words, counted on from the first word's lowest, is the i-th oldest hour; bits 169 and above are 0.

    word 0: hours 0 (oldest) … 63 │ word 1: 64 … 127 │ word 2: 128 … 168 (the running one)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from state.health import Mask, Matrix
from state.week import WEEK_HOURS

Words = NDArray[np.uint64]
WORDS = 3
_WORD = 64
_ONE = np.uint64(1)
# Seven spans of 24 hours counted back from the running hour; the oldest one has an hour more.
_DAYS = [(0, 25), *((first, first + 24) for first in range(25, WEEK_HOURS + 1, 24))]

# Neighbouring bits, pairs, … halves of a word change places.
_SWAPS = [
    (np.uint64(by), np.uint64(sum((1 << by) - 1 << at for at in range(0, _WORD, 2 * by))))
    for by in (1, 2, 4, 8, 16, 32)
]


def rotated(ring: Words, first: int) -> Words:
    """Return words (3, n) that begin with bit *first* of *ring* (3, n), 192 bits that go round; only 169 are kept."""
    at, by = divmod(first, _WORD)
    low = np.roll(ring, -at, axis=0)
    if by:
        low = low >> np.uint64(by) | np.roll(low, -1, axis=0) << np.uint64(_WORD - by)
    low[-1] &= np.uint64((1 << (WEEK_HOURS + 1 - 2 * _WORD)) - 1)
    return low


def reverse(ring: Words) -> Words:
    """Return words (3, n) whose bits stand in the opposite order, the last one first."""
    found = ring[::-1]
    for by, mask in _SWAPS:
        found = found >> by & mask | (found & mask) << by
    return found


def sessions(hours: Words) -> Matrix:
    """Return how many runs of active hours there are, shape (n,)."""
    before = hours << _ONE
    before[1:] |= hours[:-1] >> np.uint64(_WORD - 1)
    return _count(hours & ~before)


def hours_since(hours: Words) -> tuple[Matrix, Mask]:
    """Return how many hours ago the last active one was, and who had any, both of shape (n,)."""
    active = np.asarray(hours.any(axis=0))
    return (WEEK_HOURS + 1 - _length(hours)) * active, active


def mean_gap(hours: Words) -> tuple[Matrix, Mask]:
    """Return the mean number of idle hours between visits, rounded down, and who had two; both of shape (n,)."""
    visits = sessions(hours)
    # The lowest bit that is set, less one, has a bit for each hour before the first.
    empty, first = np.ones(hours.shape[1], bool), np.zeros(hours.shape[1], np.int64)
    for word in hours:
        first += np.where(empty, np.bitwise_count(~word & (word - _ONE)), 0)
        empty &= word == 0
    idle = _length(hours) - first - _count(hours)
    return np.where(visits > 1, idle // np.maximum(visits - 1, 1), 0), visits > 1


def active_days(hours: Words) -> list[Mask]:
    """Return for each of the seven days, oldest first, who had an active hour in it, each of shape (n,)."""
    found = []
    for first, end in _DAYS:
        bits = (1 << end) - (1 << first)
        masks = [bits >> (_WORD * w) & (1 << _WORD) - 1 for w in range(WORDS)]
        found.append(np.logical_or.reduce([hours[w] & np.uint64(mask) != 0 for w, mask in enumerate(masks) if mask]))
    return found


def _count(hours: Words) -> Matrix:
    return np.asarray(np.bitwise_count(hours).sum(axis=0, dtype=np.int64))


def _length(hours: Words) -> Matrix:
    """Return the place after the last active hour, shape (n,); 0 without any."""
    last, base = hours[0], np.zeros(hours.shape[1], np.int64)
    for w, word in enumerate(hours[1:], 1):
        last, base = np.where(word != 0, word, last), np.where(word != 0, _WORD * w, base)
    for by in (1, 2, 4, 8, 16, 32):  # so that every bit below the highest is set as well
        last = last | last >> np.uint64(by)
    return np.asarray(base + np.bitwise_count(last))
