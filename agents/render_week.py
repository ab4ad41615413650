"""Maps of the week in a terminal: figures, counts, shares and changes.

Invariant: what has no data is drawn as ·, never as a number, and every colour comes with its number, so that a terminal
without colour loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from agents.render import NO_DATA, WEEKDAYS, colour
from reports.short_text import short_count, short_duration, signed_duration
from reports.week_map import ANSWERED, EVENTS, ChangeMap, WeekMap, change_summary

Bounds = tuple[float, float]
_FASTER, _SLOWER = (84, 39, 136), (179, 88, 6)  # purple and orange, apart for every kind of colour vision
_HALF = 12


def latency_map(
    cells: Mapping[int, tuple[float, int]], title: str, counts: bool = False, bounds: Bounds | None = None
) -> RenderableType:
    """Return the week as 7 × 24 cells, 76 columns wide.

    Args:
        cells: Hour of week (0 = Monday 00:00) → seconds and number of replies; an absent hour has no data.
        title: The line above.
        counts: Show the number of replies instead of the seconds; the colours stay those of the seconds.
        bounds: Seconds at which the scale begins and ends; None = those of the cells.
    """
    seconds = [value for value, _ in cells.values()]
    low, high = bounds or (min(seconds, default=1.0), max(seconds, default=1.0))
    texts = {h: short_count(n) if counts else short_duration(value) for h, (value, n) in cells.items()}
    ratios = {hour: log_ratio(value, low, high) for hour, (value, _) in cells.items()}
    lines = _week(texts, ratios, title)
    steps = [math.exp(math.log(max(low, 1.0)) + math.log(max(high, 1.0) / max(low, 1.0)) * n / 4) for n in range(5)]
    legend = _legend([(short_duration(step), log_ratio(step, low, high)) for step in steps])
    lines.append(legend if cells else Text("no replies yet", style="dim"))
    return Group(*lines)


def week_map(week: WeekMap, title: str, counts: bool = False, bounds: Bounds | None = None) -> RenderableType:
    """Return a map as *title* and 7 × 24 cells; *counts* adds a second one of what the figures stand on."""
    values, bases = week.values, np.nan_to_num(week.bases)
    cells = {hour: (float(values[hour]), int(bases[hour])) for hour in np.flatnonzero(~np.isnan(values)).tolist()}
    if week.label.show not in (EVENTS, ANSWERED):
        shown = [latency_map(cells, title, bounds=bounds)]
        return Group(*shown, Text(), latency_map(cells, "Replies", counts=True)) if counts else shown[0]
    top = 1.0 if week.label.show == ANSWERED else max((value for value, _ in cells.values()), default=1.0)
    texts = {hour: _figure(value, week.label.show) for hour, (value, _) in cells.items()}
    title = f"{title}, %" if week.label.show == ANSWERED else title
    lines = _week(texts, {hour: value / top for hour, (value, _) in cells.items()}, title)
    lines.append(_legend([(_figure(top * step / 4, week.label.show), step / 4) for step in range(5)]))
    if counts and week.label.show == ANSWERED:
        messages = {hour: short_count(base) for hour, (_, base) in cells.items()}
        lines += [Text(), *_week(messages, {hour: value for hour, (value, _) in cells.items()}, "Messages")]
    return Group(*lines)


def change_map(change: ChangeMap, title: str) -> RenderableType:
    """Return a difference as two halves of 12 hours; * = more than chance, - and + = data before or after only."""
    seconds, states = change.seconds, change.states
    top = max(float(np.nanmax(np.abs(seconds))), 1.0) if not np.isnan(seconds).all() else 1.0
    lines = [Text(title, style="bold")]
    for start in (0, _HALF):
        lines.append(Text("    " + "".join(f"{hour:>5d} " for hour in range(start, start + _HALF)), style="dim"))
        for day, name in enumerate(WEEKDAYS):
            line = Text(f"{name} ", style="dim")
            for hour in range(day * 24 + start, day * 24 + start + _HALF):
                line.append_text(_change(float(seconds[hour]), states[hour], bool(change.significant[hour]), top))
            lines.append(line)
    said = f"− faster, + slower, * more than chance, {NO_DATA}- and {NO_DATA}+ data before or after only"
    return Group(*lines, Text(said, style="dim"), Text(change_summary(change), style="dim"))


def _week(texts: Mapping[int, str], ratios: Mapping[int, float], title: str) -> list[Text]:
    lines = [Text(title, style="bold"), Text("    " + "".join(f"{hour:02} " for hour in range(24)), style="dim")]
    for day, name in enumerate(WEEKDAYS):
        line = Text(f"{name} ", style="dim")
        for hour in range(day * 24, day * 24 + 24):
            known = hour in texts
            line.append_text(
                Text(f"{texts[hour]:>3}", style=_style(ratios[hour])) if known else Text(f" {NO_DATA} ", style="dim")
            )
        lines.append(line)
    return lines


def _figure(value: float, show: str) -> str:
    """Return a share in percent, or a count, in at most three characters."""
    if show == EVENTS:
        return short_count(round(value))
    return f"{value * 100:.0f}"


def log_ratio(seconds: float, low: float, high: float) -> float:
    """Return the place of *seconds* on a logarithmic scale from *low* to *high*, 0-1; below a second is a second."""
    first, last = math.log(max(low, 1.0)), math.log(max(high, 1.0))
    return (math.log(max(seconds, 1.0)) - first) / (last - first) if last > first else 0.5


def _legend(steps: Sequence[tuple[str, float]]) -> Text:
    legend = Text("    ")
    for text, ratio in steps:
        legend.append(f" {text:>3} ", style=_style(ratio))
    return legend.append(f"   {NO_DATA} no data", style="dim")


def _change(seconds: float, state: str, significant: bool, top: float) -> Text:
    if state != "both":
        sign = {"before": "-", "after": "+"}.get(state, " ")
        return Text(f"   {NO_DATA}{sign} ", style="dim")
    text = f"{signed_duration(seconds):>5}{'*' if significant else ' '}"
    strength = math.asinh(abs(seconds) / top * 20) / math.asinh(20)
    full = _FASTER if seconds < 0 else _SLOWER
    return Text(text, style=_painted(tuple(round(247 + (part - 247) * strength) for part in full)))


def _style(ratio: float) -> str:
    return _painted(colour(ratio))


def _painted(rgb: tuple[int, ...]) -> str:
    red, green, blue = rgb
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 128
    return f"{'#ffffff' if dark else '#000000'} on #{red:02x}{green:02x}{blue:02x}"
