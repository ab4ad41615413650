"""Pictures of the week: one map, several side by side, and the difference of two.

Invariant: pure functions from data to figures; no global state of matplotlib stays changed, and equal data give equal
pictures. What has no data is hatched, never coloured, and every colour has its number in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from reports import picture_grid as parts
from reports.picture_grid import (
    AFTER_HATCH,
    BEFORE_HATCH,
    HEAD_INCHES,
    LEFT_INCHES,
    NO_DATA_HATCH,
    RIGHT_INCHES,
    Cell,
    Layout,
    Sign,
)
from reports.picture_scale import Scale, change_scale, scale_of
from reports.short_text import plain_name, short_count, signed_duration, two_digits
from reports.week_map import ANSWERED, EVENTS, WAIT, ChangeMap, Label, Marked, WeekMap, all_values
from state.lines import MEASURE

WIDTH, HEIGHT = 16.0, 9.0
"""Inches: the shape of a screen on a wall."""
_BAR_INCHES = 9.6  # where the colour bar begins
_PANEL_INCHES, _GAP_INCHES = 4.55, 0.65
MAX_PANELS = 12
_STYLE = {
    "svg.fonttype": "none",  # texts stay texts
    "svg.hashsalt": "orgpulse",  # names within the file do not change from run to run
    "text.parse_math": False,  # a name may hold dollar signs
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],
    "hatch.linewidth": 0.7,
    "svg.image_inline": True,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw as this program does, whatever the machine's settings are; afterwards they are as they were."""
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def map_figure(week: WeekMap, *, counts: bool = False, marked: Marked | None = None) -> Figure:
    """Return the picture of one map; *counts* writes below each figure on how many it stands, *marked* frames some."""
    with drawing():
        figure = parts.paper(WIDTH, HEIGHT)
        scale = scale_of(all_values([week]), week.label.show)
        axes = parts.add_axes(figure, LEFT_INCHES, WIDTH - LEFT_INCHES - RIGHT_INCHES)
        cells = _cells(week, counts)
        signs = _map_signs([week], counts)
        if marked is not None:
            cells = [_marked_cell(cell, marked, hour) for hour, cell in enumerate(cells)]
            signs += [Sign(marked.text, framed=True), *([Sign("#1, #2, …: staff these first")] if marked.ranks else [])]
        parts.draw_cells(axes, cells, scale, Layout())
        parts.draw_head(figure, week.label.org_name, _head(week.label, [_whole(week)], week.label.period))
        _foot(figure, scale, signs)
    return figure


def series(weeks: Sequence[WeekMap], *, counts: bool = False) -> Figure:
    """Return the picture of several periods side by side, by one scale; hours run downwards, days to the right.

    Raises:
        ValueError: If there is none, or more than `MAX_PANELS`.
    """
    if not 0 < len(weeks) <= MAX_PANELS:
        raise ValueError(f"{len(weeks)} periods: 1 to {MAX_PANELS} fit side by side")
    with drawing():
        width = max(WIDTH, 0.55 + len(weeks) * (_PANEL_INCHES + _GAP_INCHES))
        panel = (width - RIGHT_INCHES) / len(weeks) - _GAP_INCHES
        figure = parts.paper(width, 12.8)
        scale = scale_of(all_values(weeks), weeks[0].label.show)
        for number, week in enumerate(weeks):
            left = _GAP_INCHES + number * (panel + _GAP_INCHES)
            axes = parts.add_axes(figure, left, panel, HEAD_INCHES + 0.3)
            layout = Layout(upright=True, name=f"p{number + 1}", big=11, small=7)
            parts.draw_cells(axes, _cells(week, counts), scale, layout)
            _panel_title(figure, week.label.period, left)
        spoken = f"{weeks[0].label.period} to {weeks[-1].label.period}" if len(weeks) > 1 else weeks[0].label.period
        total = float(np.sum([_whole(week) for week in weeks]))
        parts.draw_head(figure, weeks[0].label.org_name, _head(weeks[0].label, [total], spoken))
        _foot(figure, scale, _map_signs(weeks, counts))
    return figure


def difference_map(change: ChangeMap, *, counts: bool = False) -> Figure:
    """Return the picture of what changed: negative is faster; *counts* writes on how many both sides stand."""
    with drawing():
        figure = parts.paper(WIDTH, HEIGHT)
        known = change.seconds
        scale = change_scale(known[~np.isnan(known)])
        axes = parts.add_axes(figure, LEFT_INCHES, WIDTH - LEFT_INCHES - RIGHT_INCHES)
        parts.draw_cells(axes, _change_cells(change, counts), scale, Layout(big=10, small=7))
        label = change.after.label
        spoken = f"{change.before.label.period} → {label.period}"
        lines = _head(label, [_whole(change.before), _whole(change.after)], spoken)
        lines[0] = f"What changed: {lines[0][0].lower()}{lines[0][1:]}"
        parts.draw_head(figure, label.org_name, [lines[0] + _whole_change(change), lines[1]])
        _foot(figure, scale, _change_signs(change, counts))
    return figure


def _cells(week: WeekMap, counts: bool) -> list[Cell]:
    values, texts, bases, missing = week.values, week.texts, week.bases, week.missing
    cells = []
    for hour in range(168):
        filled = bool(missing[hour]) and week.filled_seconds is not None and week.label.show == WAIT
        small = short_count(int(bases[hour])) if counts and bases[hour] > 0 and week.label.show != EVENTS else ""
        if missing[hour] and not filled:
            cells.append(Cell(None, ("", small) if small else ()))
        else:
            cells.append(Cell(float(values[hour]), (texts[hour], small)))
    return cells


def _marked_cell(cell: Cell, marked: Marked, hour: int) -> Cell:
    main, *small = cell.lines or ("",)
    rank = f"#{marked.ranks[hour]}" if hour in marked.ranks else ""
    below = "  ".join(part for part in (rank, *small) if part)
    return replace(cell, marked=bool(marked.framed[hour]), lines=(main, below))


def _change_cells(change: ChangeMap, counts: bool) -> list[Cell]:
    seconds, cells = change.seconds, []
    for hour, state in enumerate(change.states):
        before, after = change.before, change.after
        small = ""
        if counts:
            small = f"{short_count(int(before.counts[hour]))}→{short_count(int(after.counts[hour]))}"
        if state == "both":
            text = signed_duration(float(seconds[hour]))
            cells.append(Cell(float(seconds[hour]), (text, small), bool(change.significant[hour])))
        elif state == "before":
            cells.append(Cell(None, ("was", two_digits(float(before.seconds[hour]))), hatch=BEFORE_HATCH))
        elif state == "after":
            cells.append(Cell(None, ("now", two_digits(float(after.seconds[hour]))), hatch=AFTER_HATCH))
        else:
            cells.append(Cell(None))
    return cells


def _head(label: Label, totals: Sequence[float], period: str) -> list[str]:
    """Return the lines of the title: what, then of when; names that others chose come last in their line."""
    verb = "take" if label.line.startswith(MEASURE) else "wait"
    quantile = f" ({label.quantile_name}: {label.quantile:.0%} {verb} no longer)" if label.quantile_name else ""
    quantile = quantile if label.show == WAIT and label.quantile is not None else ""
    numbers = " → ".join(f"{total:,.0f}" for total in totals)
    counted = "" if np.isnan(totals).any() else f"{numbers} {_counted(label)}"
    when = [part for part in (plain_name(period), label.zone_name, counted) if part]
    line = f"  ·  {label.line_name}" if label.line_name else ""
    return [label.what + quantile, "  ·  ".join(when) + line]


def _whole_change(change: ChangeMap) -> str:
    """Return what became of the whole week, as the end of a line."""
    old, new = change.whole_seconds
    if np.isnan(new - old):
        return ""
    chance = "more than chance" if change.whole_significant else "may be chance"
    return f"  ·  whole week {two_digits(old)} → {two_digits(new)}, {chance}"


def _counted(label: Label) -> str:
    if label.line.startswith(MEASURE):
        return "events"
    return "messages" if label.show != WAIT else "first replies" if label.first else "replies"


def _whole(week: WeekMap) -> float:
    return float(np.nansum(week.bases)) if not np.isnan(week.bases).all() else float("nan")


def _map_signs(weeks: Sequence[WeekMap], counts: bool) -> list[Sign]:
    label, signs = weeks[0].label, []
    filled = weeks[0].filled_seconds
    if filled is not None and label.show == WAIT:
        signs.append(Sign(f"no data is drawn as {two_digits(filled)}"))
    else:
        signs.append(Sign(_no_data(label), NO_DATA_HATCH))
    if counts and label.show != EVENTS:
        signs.append(Sign(f"small: number of {_counted(label)}"))
    if not all(week.exact for week in weeks):
        signs.append(Sign("so many that waits are rounded by up to 0.4 %"))
    return signs


def _change_signs(change: ChangeMap, counts: bool) -> list[Sign]:
    label = change.after.label
    return [
        Sign("more than chance", framed=True),
        Sign("data on neither side", NO_DATA_HATCH),
        Sign("data before only", BEFORE_HATCH),
        Sign("data after only", AFTER_HATCH),
        Sign(_no_data(label)),
        *([Sign(f"small: {_counted(label)}, before → after")] if counts else []),
    ]


def _no_data(label: Label) -> str:
    if label.show == EVENTS:
        return "nothing happened"
    least = max(label.min_count or 1, 1)
    unit = "messages" if label.show == ANSWERED else _counted(label)
    return f"no data: fewer than {least:,} {unit}" if least > 1 else f"no data: no {unit}"


def _foot(figure: Figure, scale: Scale, signs: Sequence[Sign]) -> None:
    width = float(figure.get_size_inches()[0])
    parts.draw_legend(figure, signs)
    parts.draw_bar(figure, scale, _BAR_INCHES + (width - WIDTH))


def _panel_title(figure: Figure, period: str, left: float) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - 1.5 / height, plain_name(period), fontsize=14, weight="bold")
