"""What is told of an org's latency by month, put together again for reading: any line, period, zone and quantile.

Owns the names of lines and how they add up. A line is a channel or team of replies, or a measure. Invariant: a reply
counts in one line, so the lines of replies add up to the org.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from state.waits import Waits, week_of_lines
from state.week_grid import WeekGrid

REPLIES = "replies"
"""All replies of an org; `replies/<channel>` is one channel or team of them."""
MEASURE = "measure/"
"""What a measure's line begins with."""
LOCAL = "local"
"""The zone of figures over several orgs: each org's own."""


class ZoneError(ValueError):
    """The figures can't be read in that zone."""


def line_of_place(place: str) -> str:
    """Return the line of replies in a channel or team; empty = none was named.

    >>> line_of_place("#help"), line_of_place("")
    ('replies/#help', 'replies/')
    """
    return f"{REPLIES}/{place}"


def is_part_of(line: str, wanted: str) -> bool:
    """Say whether *line* is part of *wanted*.

    >>> is_part_of("replies/#help", "replies"), is_part_of("measure/order", "replies")
    (True, False)
    """
    return line == wanted or (wanted == REPLIES and line.startswith(REPLIES + "/"))


@dataclass(frozen=True)
class Lines:
    """One org's lines over some months; `zone` is the org's."""

    org: str
    zone: str
    lines: Mapping[str, Waits]

    def names(self) -> list[str]:
        """Return the lines there are."""
        return sorted(self.lines)

    def grid(self, line: str, months: range, zone: str = "") -> WeekGrid:
        """Return the week of *line* over *months*, in *zone* (empty = the org's own).

        The months before and after must be there too where *zone* is not UTC: they hold each other's edges.
        """
        parts = [waits for name, waits in self.lines.items() if is_part_of(name, line)]
        return week_of_lines(parts, zone or self.zone, months)


@dataclass(frozen=True)
class OverallLines:
    """All orgs together, by month and line; every org in its own zone."""

    months: Mapping[int, Mapping[str, WeekGrid]]
    org: str = "all"
    zone: str = LOCAL

    def names(self) -> list[str]:
        """Return the lines there are."""
        return sorted({name for lines in self.months.values() for name in lines})

    def grid(self, line: str, months: range, zone: str = "") -> WeekGrid:
        """Return the week of *line* over *months*.

        Raises:
            ZoneError: If another zone than each org's own is asked for.
        """
        if zone not in ("", LOCAL):
            raise ZoneError("all orgs together are only known in each org's own zone")
        here = [self.months[month] for month in months if month in self.months]
        return WeekGrid.merged(g for lines in here for name, g in lines.items() if is_part_of(name, line))
