"""Owns how many rows each day has, and which days between the first and the last have none.

Invariant: memory is bounded by `MOST_DAYS`, whatever years hostile rows name.
"""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

DAY_MS = 86_400_000
MOST_DAYS = 20_000  # 54 years
_BARS = "▁▂▃▄▅▆▇█"
_EPOCH = date(1970, 1, 1)


class Days:
    """Count rows by day, UTC."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.beyond = 0

    def note(self, time_ms: int) -> None:
        """Take in the time of a row."""
        day = time_ms // DAY_MS
        if day in self._counts or len(self._counts) < MOST_DAYS:
            self._counts[day] = self._counts.get(day, 0) + 1
        else:
            self.beyond += 1

    def counts(self) -> dict[str, int]:
        """Return rows by day (ISO 8601), days without any left out."""
        return {_iso(day): self._counts[day] for day in sorted(self._counts)}

    def gaps(self) -> list[tuple[str, str, int]]:
        """Return (first, last, number) of the days without a row, in stretches."""
        days = sorted(self._counts)
        stretches = itertools.pairwise(days)
        return [(_iso(day + 1), _iso(after - 1), after - day - 1) for day, after in stretches if after - day > 1]

    def spark(self, width: int = 60) -> str:
        """Return a bar per day, or per stretch of days where there are more than *width*; a blank has no rows.

        >>> found = Days()
        >>> for day in (0, 0, 0, 1, 3): found.note(day * DAY_MS)
        >>> found.spark()
        '█▃ ▃'
        """
        if not self._counts:
            return ""
        first, last = min(self._counts), max(self._counts)
        step = -(-(last - first + 1) // width)
        sums = [0] * ((last - first) // step + 1)
        for day, count in self._counts.items():
            sums[(day - first) // step] += count
        most = max(sums)
        return "".join(_BARS[min(7, -(-n * 8 // most) - 1)] if n else " " for n in sums)


def _iso(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


def day_text(time_ms: int) -> str:
    """Return the day of a time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
