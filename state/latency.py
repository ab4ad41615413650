"""Hour-of-week latency: who waits how long at which hour.

Owns, per org and calendar month (in the org's zone), 168 cells of reply
latencies by the *parent's* hour of the week, with the number of messages and
how many of them got an answer. Periods (a year, a quarter, the last months)
are merged from months. Invariant: a reply counts in exactly one cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from state.activity import Correction
from state.durations import Durations
from state.week import hour_of_week, month_of

ALL_ORGS = "all"


@dataclass(slots=True)
class Cell:
    """One hour of the week: latencies, messages written in it, and how many of them were answered."""

    latencies: Durations = field(default_factory=Durations)
    messages: int = 0
    answered: int = 0

    def merge(self, other: Cell) -> None:
        """Add all of *other*."""
        self.latencies.merge(other.latencies)
        self.messages += other.messages
        self.answered += other.answered


Grid = dict[int, Cell]  # hour of the week, 0 … 167 → cell; absent = nothing happened


class Latency:
    """The grids of one partition's orgs, by month."""

    def __init__(self) -> None:
        self._months: dict[str, dict[int, Grid]] = {}

    def add_message(self, org: str, zone: str, time_ms: int) -> None:
        """Count a message in its cell."""
        self._cell(org, zone, time_ms).messages += 1

    def add_reply(self, org: str, zone: str, parent_ms: int, latency_ms: int, *, first: bool) -> None:
        """Count a reply in its parent's cell; *first* = the parent had no answer yet."""
        cell = self._cell(org, zone, parent_ms)
        cell.latencies.add(latency_ms)
        cell.answered += first

    def correct(self, org: str, zone: str, record: Correction) -> None:
        """Add messages and replies, or take them back, as *record* says; what is taken back may be gone already."""
        for time_ms, times in record.messages:
            self._cell(org, zone, time_ms).messages += times
        for parent_ms, latency_ms, first, times in record.latencies:
            cell = self._cell(org, zone, parent_ms)
            cell.latencies.add(latency_ms, times)
            cell.answered += times if first else 0

    def grid(self, org: str, months: range | None = None) -> Grid:
        """Return the org's grid over *months* (None = all there are)."""
        merged: Grid = {}
        for month, cells in sorted(self._months.get(org, {}).items()):
            if months is None or month in months:
                merge_grid(merged, cells)
        return merged

    def has(self, org: str) -> bool:
        """Say whether *org* has a grid."""
        return org in self._months

    def orgs(self) -> list[str]:
        """Return the orgs that have a grid."""
        return sorted(self._months)

    def overall(self, months: range | None) -> Grid:
        """Return the grid over all orgs of the partition."""
        merged: Grid = {}
        for org in self.orgs():
            merge_grid(merged, self.grid(org, months))
        return merged

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint: one segment an org."""
        return {
            f"latency/{org}": {month: dump_grid(cells) for month, cells in sorted(months.items())}
            for org, months in sorted(self._months.items())
        }

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        for name, months in segments.items():
            if name.startswith("latency/"):
                self._months[name[8:]] = {int(m): load_grid(raw) for m, raw in months.items()}

    def _cell(self, org: str, zone: str, time_ms: int) -> Cell:
        grid = self._months.setdefault(org, {}).setdefault(month_of(time_ms, zone), {})
        return grid.setdefault(hour_of_week(time_ms, zone), Cell())


def merge_grid(into: Grid, other: Grid) -> None:
    """Add all cells of *other* to *into*."""
    for hour, cell in other.items():
        into.setdefault(hour, Cell()).merge(cell)


def dump_grid(grid: Grid) -> dict[int, list[Any]]:
    """Return *grid* as plain lists."""
    return {h: [c.latencies.dump(), c.messages, c.answered] for h, c in sorted(grid.items())}


def load_grid(raw: dict[Any, list[Any]]) -> Grid:
    """Return what `dump_grid` described."""
    return {int(h): Cell(Durations.load(d), messages, answered) for h, (d, messages, answered) in raw.items()}
