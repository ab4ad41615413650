"""Owns how often somebody may do something.

Invariant: a bounded number of them is remembered; who was forgotten has a full bucket again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

_MOST_KEYS = 10_000


class Buckets:
    """A bucket of *burst* for each key, refilled by *per_second*; 0 a second is no limit.

    >>> buckets = Buckets(2, burst=2)
    >>> [buckets.take("a", at) for at in (0.0, 0.0, 0.0, 0.5)]
    [0.0, 0.0, 0.5, 0.0]
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def wait(self, key: Hashable, now: float) -> float:
        """Return in how many seconds there will be something to take; 0 = now."""
        if not self._per_second:
            return 0.0
        return max(0.0, (1.0 - self._refilled(key, now)) / self._per_second)

    def take(self, key: Hashable, now: float) -> float:
        """Take one if there is one; return how long to wait if there is none."""
        wait = self.wait(key, now)
        if not wait and self._per_second:
            self._put(key, self._refilled(key, now) - 1.0, now)
        return wait

    def give_back(self, key: Hashable, now: float) -> None:
        """Put back what was taken."""
        if self._per_second:
            self._put(key, min(self._burst, self._refilled(key, now) + 1.0), now)

    def _refilled(self, key: Hashable, now: float) -> float:
        left, at = self._left.get(key, (self._burst, now))
        return min(self._burst, left + (now - at) * self._per_second)

    def _put(self, key: Hashable, left: float, now: float) -> None:
        self._left[key] = left, now
        self._left.move_to_end(key)
        if len(self._left) > _MOST_KEYS:
            self._left.popitem(last=False)
