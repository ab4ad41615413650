"""Owns how much may be taken in a time: a token bucket, and the two of a quota.

Invariant: pure; whoever uses it brings the time, monotonic seconds. Over any stretch no more is taken than the burst,
the rate times its length, and the last taking.
"""

from __future__ import annotations

from streams.settings_quota import QuotaSettings


class Bucket:
    """*rate* a second, and after a pause up to *burst* at once; a taking may go into debt, and the next waits for it.

    >>> bucket = Bucket(10, 20, 0.0)
    >>> bucket.wait_seconds(0.0), bucket.take(25, 0.0), bucket.wait_seconds(0.0), bucket.wait_seconds(0.5)
    (0.0, None, 0.5, 0.0)
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._left, self._at = burst, now

    def take(self, amount: float, now: float) -> None:
        """Take *amount*, in debt if need be."""
        self._fill(now)
        self._left -= amount

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait until something may be taken; 0 = now."""
        self._fill(now)
        return max(0.0, -self._left / self.rate)

    def change(self, rate: float, burst: float, now: float) -> None:
        """Go on with another rate; what is left, or owed, stays the same share of a burst."""
        self._fill(now)
        self._left *= burst / self.burst
        self.rate, self.burst = rate, burst

    def _fill(self, now: float) -> None:
        # A clock that goes back gives nothing, and takes nothing away.
        self._left = min(self.burst, self._left + max(0.0, now - self._at) * self.rate)
        self._at = now


class Allowance:
    """What a quota allows, in messages and in bytes; without limits everything.

    >>> allowance = Allowance(QuotaSettings(bytes_per_second=10, burst_seconds=1), 0.0)
    >>> allowance.take(1, 30, 0.0), allowance.wait_seconds(0.0), Allowance(QuotaSettings(), 0.0).wait_seconds(0.0)
    (None, 2.0, 0.0)
    """

    def __init__(self, quota: QuotaSettings, now: float) -> None:
        def bucket(rate: int) -> Bucket | None:
            return Bucket(rate, rate * quota.burst_seconds, now) if rate else None

        self._quota, self.share = quota, 1.0
        self._events, self._bytes = bucket(quota.events_per_second), bucket(quota.bytes_per_second)

    @property
    def limits_bytes(self) -> bool:
        """Whether bytes count at all."""
        return self._bytes is not None

    @property
    def events_per_second(self) -> float:
        """Messages a second; 0 = not limited."""
        return self._quota.events_per_second * self.share

    @property
    def bytes_per_second(self) -> float:
        """The same in bytes."""
        return self._quota.bytes_per_second * self.share

    def use(self, share: float, now: float) -> None:
        """Go on with a *share* of the quota, above 0 and up to 1."""
        self.share = share
        for bucket, rate in ((self._events, self.events_per_second), (self._bytes, self.bytes_per_second)):
            if bucket is not None:
                bucket.change(rate, rate * self._quota.burst_seconds, now)

    def take(self, events: int, size_bytes: int, now: float) -> None:
        """Take *events* of *size_bytes* altogether, in debt if need be."""
        if self._events is not None:
            self._events.take(events, now)
        if self._bytes is not None:
            self._bytes.take(size_bytes, now)

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait until something may be taken; 0 = now."""
        buckets = (each for each in (self._events, self._bytes) if each is not None)
        return max((each.wait_seconds(now) for each in buckets), default=0.0)
