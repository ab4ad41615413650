"""How many activities of each source came hour by hour, to see when one of them is missing.

Owns the counts of the last two weeks. Invariant: an input that stands still or lags is told from users who leave by
its being missing for all orgs at once, at hours at which it came a week before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.week import WEEK_HOURS

BLOCK_HOURS = 6
"""Hours that are looked at together, so that a quiet source's chance gaps don't count."""
FEWEST = 200
"""Activities of a source a week before; one with fewer is not judged."""
_FEWEST_IN_BLOCK = 10
_FULL = 10_000
_KEPT = 2 * WEEK_HOURS


class Inflow:
    """Counts by source topic and hour, of the running hour and the two weeks before."""

    def __init__(self) -> None:
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._hour = 0

    def add(self, topic: str, hours: NDArray[np.int64]) -> None:
        """Count activities of *topic* in *hours* (since the epoch, shape n)."""
        if not len(hours):
            return
        self.advance(int(hours.max()))
        back = self._hour - hours
        back = back[back <= _KEPT]
        counts = self._counts.setdefault(topic, np.zeros(_KEPT + 1, np.int64))
        counts += np.bincount(_KEPT - back, minlength=_KEPT + 1)

    def advance(self, hour: int) -> None:
        """Go on to *hour*; what is older than two weeks is forgotten."""
        step = min(hour - self._hour, _KEPT + 1)
        if step <= 0:
            return
        self._hour = hour
        for topic, counts in list(self._counts.items()):
            moved = np.concatenate([counts[step:], np.zeros(step, np.int64)])
            if moved.any():
                self._counts[topic] = moved
            else:
                del self._counts[topic]

    def missing(self) -> dict[str, int]:
        """Return by topic which share (basis points) of what came a week before did not come in the last week.

        Only blocks of hours count in which next to nothing came. The running hour is left out.
        """
        found = {}
        for topic in sorted(self._counts):
            before, silent = self._blocks(topic)
            total = int(before.sum())
            if total >= FEWEST:
                found[topic] = int(before[silent].sum()) * _FULL // total
        return found

    def interrupted(self, share: int) -> list[str]:
        """Return the topics of which at least *share* (basis points) is missing, or nothing came in the last hours."""
        return [topic for topic, gone in self.missing().items() if gone >= share or self._blocks(topic)[1][-1]]

    def _blocks(self, topic: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return what came in each block a week before, and in which of them next to nothing came in the last week."""
        weeks = self._counts[topic][:_KEPT].reshape(2, WEEK_HOURS // BLOCK_HOURS, BLOCK_HOURS)
        before, now = weeks.sum(axis=2)
        return before, (before >= _FEWEST_IN_BLOCK) & (now * 10 < before)

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        return {"hours": [self._hour, {topic: counts.tolist() for topic, counts in sorted(self._counts.items())}]}

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned; nothing of what a version before this one wrote."""
        if "hours" in segments:
            self._hour, counts = segments["hours"]
            self._counts = {topic: np.array(values, np.int64) for topic, values in counts.items()}
