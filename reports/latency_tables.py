"""Maps of the week and their differences as CSV and as JSON documents.

Invariant: the numbers are those that the pictures show, unrounded to the millisecond; what is not known is empty or
null, never zero, and no text can be taken for a formula by a spreadsheet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.short_text import no_formula
from reports.week_map import WEEKDAYS, ChangeMap, Label, WeekMap
from state.week import cell_name

_ABOUT = ("org", "line", "period", "timezone", "quantile", "first_reply_only")
_MAP_COLUMNS = (
    *_ABOUT, "target_seconds", "weekday", "hour", "state", "seconds", "replies", "messages", "answered",
    "answered_within_target", "share_answered",
)  # fmt: skip
_CHANGE_COLUMNS = (
    "org", "line", "before", "after", "timezone", "quantile", "first_reply_only", "weekday", "hour", "state",
    "before_seconds", "after_seconds", "change_seconds", "before_count", "after_count", "p_value",
    "p_adjusted", "significant",
)  # fmt: skip


def maps_csv(weeks: Sequence[WeekMap]) -> str:
    """Return one row for each cell of each map, with a line of headings."""
    rows = []
    for week in weeks:
        target = None if week.label.target_ms is None else week.label.target_ms / 1000
        about = [*_about(week.label).values(), target]
        for hour, cell in enumerate(cells_of(week)):
            rows.append([*about, WEEKDAYS[hour // 24], hour % 24, *list(cell.values())[1:]])
    return _csv(_MAP_COLUMNS, rows)


def change_csv(change: ChangeMap) -> str:
    """Return one row for each cell of a difference, with a line of headings; negative is faster."""
    label, old = change.after.label, change.before.label
    about = [label.org, label.line, old.period, label.period, label.zone, label.quantile, label.first]
    rows = []
    for hour, cell in enumerate(change_cells_of(change)):
        rows.append([*about, WEEKDAYS[hour // 24], hour % 24, *list(cell.values())[1:]])
    return _csv(_CHANGE_COLUMNS, rows)


def map_document(week: WeekMap) -> dict[str, Any]:
    """Return a map as a document for JSON: all 168 cells."""
    return {
        **_about(week.label),
        "target_seconds": None if week.label.target_ms is None else week.label.target_ms / 1000,
        "min_count": week.label.min_count,
        "exact": week.exact,
        "week": cells_of(week),
    }


def change_document(change: ChangeMap) -> dict[str, Any]:
    """Return a difference as a document for JSON: all 168 cells."""
    about = _about(change.after.label)
    del about["period"]
    periods = {"before": change.before.label.period, "after": change.after.label.period}
    least = {"min_count": change.after.label.min_count}
    whole = dict(zip(("before_seconds", "after_seconds"), map(_number, change.whole_seconds), strict=True))
    whole_week = {**whole, "significant": change.whole_significant}
    return {**about, **periods, **least, "whole_week": whole_week, "week": change_cells_of(change)}


def cells_of(week: WeekMap) -> list[dict[str, Any]]:
    """Return the figures of each of 168 cells; a cell that was filled in says so by its state."""
    share, found = week.share, []
    for hour in range(168):
        missing = bool(np.isnan(week.seconds[hour]))
        filled = missing and week.filled_seconds is not None
        seconds = week.filled_seconds if filled else _number(week.seconds[hour])
        found.append(
            {
                "cell": cell_name(hour),
                "state": "filled" if filled else "no data" if missing else "data",
                "seconds": None if seconds is None else round(float(seconds), 3),
                "replies": _whole(week.counts[hour]),
                "messages": _whole(week.events[hour]),
                "answered": _whole(week.answered[hour]),
                "answered_within_target": _whole(week.within[hour]),
                "share_answered": _number(share[hour], 4),
            }
        )
    return found


def change_cells_of(change: ChangeMap) -> list[dict[str, Any]]:
    """Return the figures of each of 168 cells of a difference."""
    before, after, seconds = change.before, change.after, change.seconds
    return [
        {
            "cell": cell_name(hour),
            "state": state,
            "before_seconds": _number(before.seconds[hour]),
            "after_seconds": _number(after.seconds[hour]),
            "change_seconds": _number(seconds[hour]),
            "before_count": _whole(before.counts[hour]),
            "after_count": _whole(after.counts[hour]),
            "p_value": _number(change.p_values[hour], 6),
            "p_adjusted": _number(change.p_adjusted[hour], 6),
            "significant": bool(change.significant[hour]),
        }
        for hour, state in enumerate(change.states)
    ]


def _about(label: Label) -> dict[str, Any]:
    values = (label.org, label.line, label.period, label.zone, label.quantile, label.first)
    return dict(zip(_ABOUT, values, strict=True))


def _number(value: float, digits: int = 3) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)


def _whole(value: float) -> int | None:
    return None if np.isnan(value) else int(value)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_safe(value) for value in row] for row in rows)
    return file.getvalue()


def _safe(value: object) -> object:
    """Return a field; a text that a spreadsheet would compute gets an apostrophe before it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return no_formula(value) if isinstance(value, str) else value
