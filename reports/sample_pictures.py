"""The pictures in docs/, made of data that is made up but always the same.

Invariant: the same program draws the same pictures; a test compares the files with what this would draw.
Run ``python -m reports.sample_pictures`` to write them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from reports.picture_files import png
from reports.pictures import difference_map, map_figure
from reports.week_map import Label, change_of, map_of
from state.week_grid import WeekGrid

DOCS = Path(__file__).resolve().parent.parent / "docs"
LABEL = Label("acme", period="2025", zone="Europe/Berlin", min_count=20)
_SPREAD = 0.9  # of the logarithm of waits


def made_week(seed: int, messages: int = 24_000, evening_helpers: bool = False) -> WeekGrid:
    """Return a made-up week: people ask by day, and wait until somebody is at work; helpers may stay in the evening."""
    rng = np.random.default_rng(seed)
    day, clock = np.divmod(np.arange(168), 24)
    asked = np.where(day < 5, 1.0, 0.22) * (0.03 + np.exp(-(((clock - 13.5) / 4.6) ** 2)))
    hours = rng.choice(168, messages, p=asked / asked.sum())
    end = 21 if evening_helpers else 17
    at_work = (day < 5) & (clock >= 8) & (clock < end)
    until_morning = (31 - clock) % 24 + 1 + np.where(day == 5, 24, 0) + np.where((day == 4) & (clock >= end), 48, 0)
    typical_seconds = np.where(at_work, 900 + 90 * np.abs(clock - 11), 3600 * (until_morning + 0.5))
    spread = np.where(at_work, _SPREAD, 0.25)
    waits_ms = (rng.lognormal(np.log(typical_seconds[hours]), spread[hours]) * 1000).astype(np.int64)
    answered = rng.random(messages) < 0.86
    more = answered & (rng.random(messages) < 0.3)  # answered a second time
    firsts = np.concatenate([np.ones(answered.sum(), bool), np.zeros(more.sum(), bool)])
    every = np.concatenate([waits_ms[answered], waits_ms[more] * 2])
    return WeekGrid.of(np.concatenate([hours[answered], hours[more]]), firsts, every, np.bincount(hours, minlength=168))


def pictures() -> dict[str, bytes]:
    """Return file name → PNG."""
    before, after = made_week(1), made_week(2, 26_000, evening_helpers=True)
    new = replace(LABEL, period="2026")
    week = map_of(before, LABEL)
    return {
        "latency.png": png(map_figure(week, counts=True), "Reply latency by hour of week"),
        "latency-difference.png": png(
            difference_map(change_of((before, after), (LABEL, new)), counts=True), "What changed from 2025 to 2026"
        ),
    }


def main() -> None:
    """Write the files."""
    for name, content in pictures().items():
        (DOCS / name).write_bytes(content)


if __name__ == "__main__":
    main()
