"""Owns how many lines a second one sender may bring.

Invariant: a bounded number of senders is remembered; who was forgotten may bring a burst again.
"""

from __future__ import annotations

from collections import OrderedDict

_MOST_SENDERS = 10_000


class Pace:
    """Token buckets by sender: *per_second* lines, and bursts of as many; 0 is no limit.

    >>> pace = Pace(2)
    >>> [pace.wait_seconds("a", 1, at) for at in (0.0, 0.0, 0.0, 0.5)]
    [0.0, 0.0, 0.5, 0.5]
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, sender: str, lines: int, now: float) -> float:
        """Take *lines* from the sender's bucket, in advance if need be; return how long to wait therefore."""
        if not self._per_second:
            return 0.0
        left = self._refilled(sender, now) - lines
        self._put(sender, left, now)
        return max(0.0, -left / self._per_second)

    def allows(self, sender: str, now: float) -> bool:
        """Say whether one more line may be taken now, and take it then."""
        if not self._per_second:
            return True
        left = self._refilled(sender, now)
        allowed = left >= 1
        self._put(sender, left - allowed, now)
        return allowed

    def _refilled(self, sender: str, now: float) -> float:
        left, at = self._left.get(sender, (float(self._per_second), now))
        return min(float(self._per_second), left + (now - at) * self._per_second)

    def _put(self, sender: str, left: float, now: float) -> None:
        self._left[sender] = left, now
        self._left.move_to_end(sender)
        if len(self._left) > _MOST_SENDERS:
            self._left.popitem(last=False)
