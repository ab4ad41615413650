"""From Redis to maps of the week: which months to ask for, and what is made of the answer.

Invariant: nothing is shown of an org, a line or a period that isn't there; the nearest that is there is named instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches

import numpy as np

from agents.cli_errors import ToldError, unknown
from agents.latency_coverage import Coverage, coverage_of
from agents.latency_request import Wish
from reports.difference import MIN_COUNT
from reports.week_map import EVENTS, WAIT, ChangeMap, Label, WeekMap, change_of, map_of
from state.lines import LOCAL, REPLIES, ZoneError, is_part_of
from state.periods import months_up_to, period_name
from state.week_grid import WeekGrid
from streams.published import LatencyMap
from streams.reader import Reader
from streams.settings_work import LatencySettings


@dataclass(frozen=True)
class Shown:
    """What is shown of one org: one map, several side by side, or a difference.

    Attributes:
        fence: Position of the log at which a map that was kept ready was made; empty = it was put together.
    """

    maps: tuple[WeekMap, ...] = ()
    change: ChangeMap | None = None
    fence: str = ""
    coverage: Coverage | None = None

    @property
    def label(self) -> Label:
        """What it is about."""
        return self.change.after.label if self.change is not None else self.maps[0].label


def gather(reader: Reader, org: str, wish: Wish, settings: LatencySettings, now_seconds: float) -> Shown:
    """Return what *wish* says of *org*.

    Raises:
        ToldError: If it isn't there.
    """
    if not wish.needs_lines:
        found = reader.latency(org)
        if found is None:
            raise unknown(org, reader.org_ids(), f'no latency for "{org}"')
        return Shown((published_map(found, wish, settings.min_count).filled(wish.fill_seconds),), fence=found.fence)
    months = wish.period or rolling_months(settings.rolling_months, now_seconds)
    if wish.years:
        return Shown(tuple(_map(reader, org, wish, settings, each) for each in wish.years))
    if wish.coverage:
        return _covered(reader, org, wish, settings, months)
    if wish.versus is None:
        return Shown((_map(reader, org, wish, settings, months),))
    return Shown(change=_change(reader, org, wish, settings, (wish.versus, months)))


def weeks_of(reader: Reader, org: str, wish: Wish, spans: Sequence[range]) -> tuple[list[WeekGrid], str]:
    """Return the week of each of *spans*, of the line and in the zone that are wished for, and the zone's name.

    Raises:
        ToldError: If there is no such org or line, or the zone can't be had.
    """
    months = range(min(span.start for span in spans), max(span.stop for span in spans))
    around = range(months.start - 1, months.stop + 1)  # in another zone the edges lie in the months beside
    lines = reader.latency_lines(org, around)
    if lines is None:
        known = [name for name in reader.org_ids() if name != org]
        raise unknown(org, known, f'no latency for "{org}" in {period_name(months)}')
    if wish.line != REPLIES and not any(is_part_of(name, wish.line) for name in lines.names()):
        raise _unknown_line(wish.line, lines.names(), period_name(months))
    try:
        return [lines.grid(wish.line, span, wish.zone) for span in spans], wish.zone or lines.zone
    except ZoneError as error:
        raise ToldError(str(error), "Leave out --zone, or name one org") from None


def _map(reader: Reader, org: str, wish: Wish, settings: LatencySettings, months: range) -> WeekMap:
    return map_of(*_named_grid(reader, org, wish, settings, months)).filled(wish.fill_seconds)


def _change(reader: Reader, org: str, wish: Wish, settings: LatencySettings, periods: tuple[range, range]) -> ChangeMap:
    grids, labels, parts = [], [], []
    for months in periods:
        found, zone = weeks_of(reader, org, wish, [months, *(range(month, month + 1) for month in months)])
        grids.append(found[0])
        parts.append(found[1:])
        labels.append(_label(org, wish, settings, months, zone))
    return change_of((grids[0], grids[1]), (labels[0], labels[1]), parts)


def _covered(reader: Reader, org: str, wish: Wish, settings: LatencySettings, months: range) -> Shown:
    grid, label = _named_grid(reader, org, wish, settings, months)
    quantile = settings.quantile if wish.quantile is None else wish.quantile
    found = coverage_of(grid, wish, quantile, label.min_count or 1)
    return Shown((map_of(grid, label),), coverage=found)


def _named_grid(
    reader: Reader, org: str, wish: Wish, settings: LatencySettings, months: range
) -> tuple[WeekGrid, Label]:
    (grid,), zone = weeks_of(reader, org, wish, [months])
    label = _label(org, wish, settings, months, zone)
    only_counts = not len(grid.keys) and grid.events.any() and wish.line != REPLIES
    return grid, replace(label, show=EVENTS) if only_counts and wish.show == WAIT else label


def _label(org: str, wish: Wish, settings: LatencySettings, months: range, zone: str) -> Label:
    quantile = settings.quantile if wish.quantile is None else wish.quantile
    least = settings.min_count if wish.min_count is None else wish.min_count
    if (wish.versus is not None or wish.coverage) and wish.min_count is None:
        least = max(least, MIN_COUNT)  # fewer tell nothing
    period = period_name(months)
    return Label(org, wish.line, period, zone, quantile, wish.first, wish.target_ms, least, wish.show)


def published_map(found: LatencyMap, wish: Wish, min_count: int) -> WeekMap:
    """Return the map that is kept ready in Redis."""
    label = Label(
        found.org, REPLIES, found.period, found.timezone or LOCAL, found.quantile, min_count=min_count, show=wish.show
    )
    seconds, replies, messages, answered = (
        np.array([_or_nan(getattr(cell, name)) for cell in found.week])
        for name in ("seconds", "replies", "messages", "answered")
    )
    return WeekMap(label, seconds, replies, messages, answered, np.full(len(found.week), np.nan))


def rolling_months(count: int, now_seconds: float) -> range:
    """Return the last *count* calendar months, the running one included.

    >>> from state.periods import months_up_to, period_name
    >>> period_name(rolling_months(3, 1_795_000_000))
    '2026-09/2026-11'
    """
    now = datetime.fromtimestamp(now_seconds, UTC)
    return months_up_to(now.year * 12 + now.month - 1, count)


def _unknown_line(wanted: str, known: Sequence[str], period: str) -> ToldError:
    near = get_close_matches(wanted, known, n=3, cutoff=0.5) or list(known[:5])
    remedy = f"There are for example {', '.join(near)}" if near else "There is no line at all in that period"
    return ToldError(f'no line "{wanted}" in {period}', remedy)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
