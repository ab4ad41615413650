"""Owns the reading of the machine's clock.

Invariant: no other module asks what time it is; everybody is handed a `Clock`, so that a test or a
replay decides the time.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Whatever knows the present."""

    def now(self) -> float:
        """Return the present as seconds since 1970-01-01 UTC."""
        ...


class WallClock:
    """The machine's own clock. It may be set back: never subtract two readings to measure a duration."""

    def now(self) -> float:
        """Return the present as seconds since 1970-01-01 UTC."""
        return time.time()


class FixedClock:
    """A clock that stands still until it is moved: for tests and replays.

    >>> clock = FixedClock(1000.0)
    >>> clock.advance(2.5)
    >>> clock.now()
    1002.5
    """

    def __init__(self, now_seconds: float) -> None:
        self._now_seconds = now_seconds

    def now(self) -> float:
        """Return the time that was last set, as seconds since 1970-01-01 UTC."""
        return self._now_seconds

    def set(self, now_seconds: float) -> None:
        """Set the time, backwards too, as a real clock can be."""
        self._now_seconds = now_seconds

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._now_seconds += seconds
