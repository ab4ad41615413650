"""Weeks for tests of pictures and tables: what is in each cell is known."""

from __future__ import annotations

import numpy as np

from state.week_grid import WeekGrid


def week_of(waits_seconds: dict[int, list[float]], events: dict[int, int] | None = None) -> WeekGrid:
    """Return the grid of hour → waits, the first of each hour a first reply; *events* are at least the replies."""
    hours = [hour for hour, waits in waits_seconds.items() for _ in waits]
    waits = [round(1000 * wait) for found in waits_seconds.values() for wait in found]
    counts = np.zeros(168, np.int64)
    for hour, found in waits_seconds.items():
        counts[hour] = len(found)
    for hour, count in (events or {}).items():
        counts[hour] = count
    return WeekGrid.of(np.array(hours, np.int64), np.ones(len(hours), bool), np.array(waits, np.int64), counts)


def full_week(factor: float = 1.0, gaps: tuple[int, ...] = ()) -> WeekGrid:
    """Return a week in which every hour but *gaps* has its own wait, of seconds up to days, with three replies."""
    waits = {h: [factor * 20 * 1.055**h * near for near in (0.9, 1.0, 1.1)] for h in range(168) if h not in gaps}
    return week_of(waits)
