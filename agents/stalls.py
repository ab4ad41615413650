"""Notices a partition that stands still although messages wait: something in the way to it has got stuck.

Invariant: a partition whose position moves, or of which everything is handled, never counts as stuck.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

LONGEST_STANDSTILL_SECONDS = 45.0
"""A commit is given up after 30 seconds, so nothing sound stands still for longer."""


class StalledError(RuntimeError):
    """Partitions stand still; a worker that begins anew reads on from what is committed."""


class Standing(Protocol):
    """Where a partition stands."""

    @property
    def next_offset(self) -> int: ...
    @property
    def lag(self) -> int: ...


class Stalls:
    """Remembers since when each partition stands where it does; *limit_seconds* is how long it may, with lag."""

    def __init__(self, limit_seconds: float = LONGEST_STANDSTILL_SECONDS) -> None:
        self._limit_seconds = limit_seconds
        self._since: dict[Hashable, tuple[int, float]] = {}

    def check(self, positions: Mapping[Any, Standing], now: float) -> None:
        """Look at all live partitions; *now* is a monotonic clock (seconds).

        Raises:
            StalledError: If one of them has stood still for too long.
        """
        former, self._since = self._since, {}
        for partition, standing in positions.items():
            if not standing.lag:
                continue
            offset, since = former.get(partition, (-1, now))
            since = since if offset == standing.next_offset else now
            self._since[partition] = (standing.next_offset, since)
            if now - since > self._limit_seconds:
                seconds = now - since
                raise StalledError(f"{partition} stands at {offset} for {seconds:.0f} s; {standing.lag} messages wait")
