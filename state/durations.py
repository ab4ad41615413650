"""A distribution of durations that merges, in whole milliseconds.

Owns quantiles: exact up to `EXACT_LIMIT` durations, from log-linear buckets
above. A bucket keeps the top 7 bits after the leading one, so a quantile read
from buckets is off by at most 1/256 (0.4 %). Everything is integer arithmetic.
Invariant: merging in any order gives the same distribution.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Any

EXACT_LIMIT = 256
_BITS = 7
RELATIVE_ERROR = 1 / (1 << (_BITS + 1))


def bucket_of(duration_ms: int) -> int:
    """Return the bucket of a non-negative duration.

    >>> bucket_of(200) < bucket_of(260) and bucket_of(100_000) == bucket_of(100_001)
    True
    """
    if duration_ms < 1 << (_BITS + 1):
        return duration_ms
    shift = duration_ms.bit_length() - _BITS - 1
    return (shift << _BITS) + (duration_ms >> shift)


def middle_of(bucket: int) -> int:
    """Return the duration in the middle of *bucket*, in ms."""
    if bucket < 1 << (_BITS + 1):
        return bucket
    shift = (bucket >> _BITS) - 1
    return ((bucket - (shift << _BITS)) << shift) + (1 << shift >> 1)


class Durations:
    """Durations in ms: sorted values while few, bucket counts when many."""

    __slots__ = ("_buckets", "_exact", "count")

    def __init__(self) -> None:
        self.count = 0
        self._exact: list[int] = []
        self._buckets: dict[int, int] = {}

    @property
    def is_exact(self) -> bool:
        """Whether quantiles are exact."""
        return not self._buckets

    def add(self, duration_ms: int, times: int = 1) -> None:
        """Add a non-negative duration, or (*times* −1) take one back that was added."""
        self.count += times
        if self._buckets:
            self._count(bucket_of(duration_ms), times)
        elif times == -1:
            self._exact.remove(duration_ms)
        else:
            insort(self._exact, duration_ms)
            if len(self._exact) > EXACT_LIMIT:
                self._to_buckets()

    def merge(self, other: Durations) -> None:
        """Add all of *other*."""
        self.count += other.count
        if self.is_exact and other.is_exact and self.count <= EXACT_LIMIT:
            self._exact = sorted(self._exact + other._exact)
            return
        self._to_buckets()
        for bucket, count in other._counts():
            self._count(bucket, count)

    def quantile_ms(self, quantile: float) -> float | None:
        """Return the *quantile* (0–1) in ms, linearly interpolated while exact; None when empty.

        >>> d = Durations()
        >>> for ms in (10, 20, 30, 40):
        ...     d.add(ms)
        >>> d.quantile_ms(0.5)
        25.0
        """
        if not self.count:
            return None
        place = (self.count - 1) * quantile
        if self.is_exact:
            low = int(place)
            high = min(low + 1, self.count - 1)
            return self._exact[low] + (self._exact[high] - self._exact[low]) * (place - low)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen > place:
                return float(middle_of(bucket))
        return float(middle_of(max(self._buckets)))

    def dump(self) -> list[Any]:
        """Return the content: [exact values, flattened bucket counts]."""
        return [self._exact, [x for pair in sorted(self._buckets.items()) for x in pair]]

    @classmethod
    def load(cls, raw: list[Any]) -> Durations:
        """Return what `dump` described."""
        found = cls()
        found._exact = list(raw[0])
        found._buckets = dict(zip(raw[1][::2], raw[1][1::2], strict=True))
        found.count = len(found._exact) + sum(found._buckets.values())
        return found

    def _count(self, bucket: int, times: int) -> None:
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        if not self._buckets[bucket]:
            del self._buckets[bucket]

    def _counts(self) -> Iterable[tuple[int, int]]:
        yield from self._buckets.items()
        for duration in self._exact:
            yield bucket_of(duration), 1

    def _to_buckets(self) -> None:
        for duration in self._exact:
            self._count(bucket_of(duration), 1)
        self._exact = []
