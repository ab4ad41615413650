"""What a map of the week shows: 168 figures and what they stand on, ready to be drawn or written down.

Owns which cells have data. Invariant: pictures, tables and the terminal all read their numbers here, so that they say
the same; a cell that stands on too few has no figure, but for the one that somebody asked to be filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reports.difference import compare
from reports.dispersion import dispersion
from reports.short_text import plain_name, short_count, two_digits
from state.lines import MEASURE, REPLIES
from state.week import WEEK_HOURS
from state.week_grid import Ratios, WeekGrid

WAIT, EVENTS, ANSWERED = "wait", "events", "answered"
SHOWN = (WAIT, EVENTS, ANSWERED)
"""What a map can show: how long is waited, how much happens, which share is answered (within a target, if any)."""
Marks = NDArray[np.bool_]
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Label:
    """What a map is about.

    Attributes:
        quantile: 0–1; None = not known.
        first: Whether only first replies count.
        target_ms: Within which an answer is in time; None = there is no target.
        min_count: On how many a figure stands at least; None = not known.
    """

    org: str
    line: str = REPLIES
    period: str = ""
    zone: str = "UTC"
    quantile: float | None = 0.8
    first: bool = False
    target_ms: int | None = None
    min_count: int | None = None
    show: str = WAIT

    @property
    def what(self) -> str:
        """What the figures are, in words."""
        measure = self.line.startswith(MEASURE)
        if self.show == EVENTS:
            return "Events by hour of the week" if measure else "Messages by hour of the week"
        if self.show == ANSWERED:
            within = "" if self.target_ms is None else f" within {two_digits(self.target_ms / 1000)}"
            return f"Share of messages answered{within}, by the hour of the message"
        if measure:
            return "How long it takes, by hour of the week"
        return f"Time to {'the first' if self.first else 'a'} reply, by the hour of the question"

    @property
    def org_name(self) -> str:
        """Whom it is about, in words."""
        return "every org together" if self.org == "all" else plain_name(self.org)

    @property
    def line_name(self) -> str:
        """The line in words; empty = all replies."""
        if self.line == REPLIES:
            return ""
        kind, _, name = self.line.partition("/")
        return f"{'measure' if kind + '/' == MEASURE else 'channel'} {plain_name(name) or '(none)'}"

    @property
    def zone_name(self) -> str:
        """The zone in words."""
        return "each org's own time" if self.zone == "local" else plain_name(self.zone)

    @property
    def quantile_name(self) -> str:
        """The quantile as it is spoken of; empty where none is shown or known."""
        return "" if self.quantile is None or self.show != WAIT else f"p{self.quantile * 100:g}"


@dataclass(frozen=True)
class WeekMap:
    """168 cells, the first is Monday 00:00.

    Attributes:
        seconds: The quantile of each hour, shape (168,); NaN = too few.
        counts: On how many waits it stands, shape (168,); NaN = not known, like the next three.
        events: How many messages were written, or whatever else is counted.
        answered: How many of them were answered.
        within: How many of them were answered within the target.
        exact: Whether waits are exact to the millisecond; else they are off by at most 1/256 of themselves.
        filled_seconds: What cells without a figure are drawn with; None = they are drawn as having no data.
    """

    label: Label
    seconds: Ratios
    counts: Ratios
    events: Ratios
    answered: Ratios
    within: Ratios
    exact: bool = True
    filled_seconds: float | None = None

    @property
    def values(self) -> Ratios:
        """What is shown of each hour, shape (168,): seconds, a number, or a ratio; NaN = no data."""
        if self.label.show == EVENTS:
            return np.where(self.events > 0, self.events, np.nan)
        if self.label.show == ANSWERED:
            return self.share
        return (
            self.seconds if self.filled_seconds is None else np.where(self.missing, self.filled_seconds, self.seconds)
        )

    @property
    def share(self) -> Ratios:
        """Which share of the events was answered, within the target if there is one; NaN = too few events."""
        enough = self.events >= max(self.label.min_count or 1, 1)
        some = self.answered if self.label.target_ms is None else self.within
        found: Ratios = np.divide(some, self.events, out=np.full(WEEK_HOURS, np.nan), where=enough)
        return found

    @property
    def texts(self) -> list[str]:
        """What is written in each of 168 cells; empty = no data."""
        return [self._text(float(value)) for value in self.values]

    @property
    def missing(self) -> Marks:
        """Which cells stand on too few, shape (168,)."""
        if self.label.show == EVENTS:
            return ~(self.events > 0)
        missing: Marks = np.isnan(self.share if self.label.show == ANSWERED else self.seconds)
        return missing

    @property
    def bases(self) -> Ratios:
        """On how much each shown figure stands, shape (168,); NaN = not known."""
        return self.counts if self.label.show == WAIT else self.events

    def filled(self, seconds: float | None) -> WeekMap:
        """Return the map with *seconds* where there is no data."""
        return replace(self, filled_seconds=seconds)

    def _text(self, value: float) -> str:
        if np.isnan(value):
            return ""
        if self.label.show == EVENTS:
            return short_count(int(value))
        return f"{value:.0%}" if self.label.show == ANSWERED else two_digits(value)


def map_of(grid: WeekGrid, label: Label) -> WeekMap:
    """Return the map of *grid* as *label* says: its quantile, first or every reply, target and minimum."""
    counts = grid.answered if label.first else grid.replies
    quantile = 0.8 if label.quantile is None else label.quantile
    seconds = grid.quantiles_ms(quantile, first=label.first) / 1000
    seconds[counts < (label.min_count or 1)] = np.nan
    within = np.full(WEEK_HOURS, np.nan) if label.target_ms is None else grid.within(label.target_ms).astype(float)
    return WeekMap(
        label, seconds, counts.astype(float), grid.events.astype(float), grid.answered.astype(float), within, grid.exact
    )


@dataclass(frozen=True)
class Marked:
    """Hours to point out upon a map.

    Attributes:
        framed: Which hours have a frame, shape (168,).
        ranks: Hour → its place among those to staff first.
        text: What the frame means.
    """

    framed: Marks
    ranks: dict[int, int]
    text: str


@dataclass(frozen=True)
class ChangeMap:
    """Two maps of the same line, and what became of each hour.

    Attributes:
        p_values: How likely chance alone makes such a change, shape (168,); NaN = not tested.
        p_adjusted: The same, corrected for all hours tested.
        significant: Where the change is more than chance, shape (168,).
        whole_seconds: The quantile of all hours together, before and after; NaN = too few.
        whole_significant: Whether that change is more than chance.
    """

    before: WeekMap
    after: WeekMap
    p_values: Ratios
    p_adjusted: Ratios
    significant: Marks
    whole_seconds: tuple[float, float] = (float("nan"), float("nan"))
    whole_significant: bool = False

    @property
    def seconds(self) -> Ratios:
        """By how much each hour changed, shape (168,): negative = faster; NaN where a side has no data."""
        return self.after.seconds - self.before.seconds

    @property
    def states(self) -> list[str]:
        """Where each of 168 cells has data: `both`, `before`, `after` or `neither`."""
        names = {(True, True): "both", (True, False): "before", (False, True): "after", (False, False): "neither"}
        return [names[bool(old), bool(new)] for old, new in zip(~self.before.missing, ~self.after.missing, strict=True)]


def change_of(
    grids: tuple[WeekGrid, WeekGrid], labels: tuple[Label, Label], parts: Sequence[Sequence[WeekGrid]] = ()
) -> ChangeMap:
    """Return the difference of two grids, the one before first, each with what it is called.

    *parts* are the months of both: by how they differ it is told how alike the waits of one day are.

    Raises:
        ValueError: If the quantile is not between 0 and 1: the longest wait can't be compared.
    """
    label = labels[1]
    quantile, least = 0.8 if label.quantile is None else label.quantile, max(label.min_count or 1, 1)
    spread = dispersion(parts, quantile=quantile, first=label.first) if parts else None
    found = compare(*grids, quantile=quantile, min_count=least, first=label.first, dispersion=spread)
    before, after = (map_of(grid, each) for grid, each in zip(grids, labels, strict=True))
    whole = [float("nan") if ms is None else ms / 1000 for ms in (found.week.before_ms, found.week.after_ms)]
    return ChangeMap(
        before, after, found.p_value, found.p_adjusted, found.significant, (whole[0], whole[1]), found.week.significant
    )


def summary(week: WeekMap) -> str:
    """Return what a map says, in one or two sentences."""
    missing = int(week.missing.sum())
    if missing == WEEK_HOURS:
        return "No hour has data."
    worst, best = int(np.nanargmax(week.values)), int(np.nanargmin(week.values))
    rest = f" {missing} of 168 hours have no data." if missing else ""
    return f"Highest: {hour_name(worst)}, {week.texts[worst]}. Lowest: {hour_name(best)}, {week.texts[best]}.{rest}"


def change_summary(change: ChangeMap) -> str:
    """Return what a difference says, in a sentence."""
    seconds, states = change.seconds, change.states
    one_side = states.count("before") + states.count("after")
    return (
        f"{int((seconds < 0).sum())} hours are faster and {int((seconds > 0).sum())} slower, "
        f"{int(change.significant.sum())} of them more than chance; "
        f"{one_side} have data on one side only, {states.count('neither')} on none."
    )


def hour_name(hour: int) -> str:
    """Return an hour of the week in words.

    >>> hour_name(33)
    'Tue 09:00'
    """
    return f"{WEEKDAYS[hour // 24]} {hour % 24:02d}:00"


def all_values(maps: Sequence[WeekMap]) -> Ratios:
    """Return the figures there are in *maps*, shape (n,)."""
    values = np.concatenate([week.values for week in maps])
    found: Ratios = values[~np.isnan(values)]
    return found
