"""Owns positions: a record's place in its log, and the fence that follows from it.

Invariant: of two records of one partition the later one has the higher fence, also when the topic was made anew in
between: the epoch goes up then.
"""

from __future__ import annotations

from typing import NamedTuple

OFFSET_BITS = 48
"""So many bits of a fence are the offset; the rest, 15 bits, is the epoch."""


class Mark(NamedTuple):
    """Up to where a store holds a partition."""

    epoch: int
    next_offset: int | None
    """None: nothing yet, so from where the log begins."""


class Stretch(NamedTuple):
    """A chunk's place: from `begin` up to `end`, exclusive; consecutive chunks meet."""

    topic: str
    partition: int
    begin: int
    end: int


def fence_of(epoch: int, offset: int) -> int:
    """Return the fence of a record, a number of 63 bits.

    >>> fence_of(0, 4711), fence_of(1, 0) > fence_of(0, 2**48 - 1)
    (4711, True)
    """
    return epoch << OFFSET_BITS | offset


def offset_of(fence: int) -> int:
    """Return the offset of the record with *fence*.

    >>> offset_of(fence_of(3, 4711))
    4711
    """
    return fence & (1 << OFFSET_BITS) - 1


def next_mark(known: Mark | None, known_id: str, topic_id: str) -> Mark:
    """Return from where a store goes on that knows a partition up to *known* of the topic *known_id*.

    A topic with another id was made anew: its offsets begin again, and what it says counts more.

    >>> next_mark(None, "", "a"), next_mark(Mark(0, 9), "a", "a"), next_mark(Mark(0, 9), "a", "b")
    (Mark(epoch=0, next_offset=None), Mark(epoch=0, next_offset=9), Mark(epoch=1, next_offset=None))
    """
    if known is None:
        return Mark(0, None)
    if known_id and topic_id and known_id != topic_id:
        return Mark(known.epoch + 1, None)
    return known
