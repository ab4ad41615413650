"""Geometry of what the pages draw: lines of weeks, bars, and the cells of a map.

Invariant: pure; every drawing has its numbers beside it or a text that says them, and no colour stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from agents.render import CIVIDIS, colour
from agents.render_week import log_ratio
from agents.wording import NONE
from reports.short_text import short_count, two_digits
from reports.week_map import WEEKDAYS, WeekMap, hour_name
from streams.published import OrgScore, Reason, Split, UserScore
from streams.published_chat import ChatActivity

LEVELS = 16
"""Steps of the colour scale; the classes `level-0` … of the style sheet."""
_FEWEST_POINTS = 20.0  # of a hundred, over which a small line of weeks goes at least
DAY_WINDOWS = 144


@dataclass(frozen=True, slots=True)
class Line:
    """A line of weeks, in the units of its view box.

    Attributes:
        runs: Pieces of it, each as the points of a polyline; a week without a score parts two.
        dots: Where single weeks stand.
        marks: Height and text of the grid's lines.
        label: The same in words.
        weeks: The scores, oldest first, the present one last.
    """

    width: int
    height: int
    runs: list[str]
    dots: list[tuple[float, float]]
    marks: list[tuple[float, str]]
    label: str
    weeks: list[Decimal | None]


def weeks_line(score: UserScore | OrgScore, width: int = 104, height: int = 22, *, whole: bool = False) -> Line:
    """Return the line of the last weeks and now; *whole* = from 0 to 100 rather than around what there is."""
    now = score.score_active if isinstance(score, OrgScore) else score.score
    weeks = [*score.history, now]
    there = [float(week) for week in weeks if week is not None]
    low, high = (0.0, 100.0) if whole or not there else _around(min(there), max(there))
    margin = 3.0

    def place(number: int, week: Decimal) -> tuple[float, float]:
        across = margin + (width - 2 * margin) * number / max(1, len(weeks) - 1)
        down = margin + (height - 2 * margin) * (high - float(week)) / (high - low)
        return round(across, 1), round(down, 1)

    runs: list[list[tuple[float, float]]] = [[]]
    for number, week in enumerate(weeks):
        if week is None:
            runs.append([])
        else:
            runs[-1].append(place(number, week))
    dots = [point for run in runs for point in run]
    marks = [(margin + (height - 2 * margin) * (100 - mark) / 100, str(mark)) for mark in (0, 25, 50, 75, 100)]
    return Line(
        width, height, [" ".join(f"{x},{y}" for x, y in run) for run in runs if len(run) > 1], dots,
        marks if whole else [], _weeks_in_words(weeks), weeks,
    )  # fmt: skip


def _around(low: float, high: float) -> tuple[float, float]:
    spare = max(0.0, _FEWEST_POINTS - (high - low)) / 2
    return low - spare, high + spare


def _weeks_in_words(weeks: Sequence[Decimal | None]) -> str:
    if not any(week is not None for week in weeks):
        return "No score yet."
    *past, now = [NONE if week is None else f"{week:.0f}" for week in weeks]
    before = f"Weeks before, oldest first: {', '.join(past)}; now" if past else "Now"
    return f"{before} {now}."


@dataclass(frozen=True, slots=True)
class Bar:
    """One attribute's share: `full` and `filled` are 0-100, of the most that any attribute can give."""

    reason: Reason
    full: float
    filled: float


def bars(reasons: Sequence[Reason]) -> list[Bar]:
    """Return a bar for each reason, most points first."""
    most = max((float(r.of if r.of is not None else r.points) for r in reasons), default=0.0) or 1.0
    ranked = sorted(reasons, key=lambda reason: (-reason.points, reason.attribute))
    return [
        Bar(r, _share(float(r.of if r.of is not None else r.points), most), _share(float(r.points), most))
        for r in ranked
    ]


@dataclass(frozen=True, slots=True)
class Cause:
    """A part of a change, and where its bar begins and how long it is, 0-100 with the middle at 50."""

    name: str
    points: Decimal
    start: float
    length: float


def cause_bars(split: Split) -> list[Cause]:
    """Return a bar for each part of a change."""
    parts = (
        ("own activity", split.own),
        ("others' activity", split.population),
        ("who is counted", split.membership),
        ("the model", split.configuration),
    )
    most = max(abs(float(part)) for _, part in parts) or 1.0
    found = []
    for name, part in parts:
        length = round(50 * abs(float(part)) / most, 1)
        found.append(Cause(name, part, 50.0 if part > 0 else 50.0 - length, length))
    return found


@dataclass(frozen=True, slots=True)
class HourCell:
    """One hour of the week as it stands in the table."""

    hour: int
    text: str
    count: str
    level: int | None
    title: str


def map_rows(week: WeekMap) -> list[tuple[str, list[HourCell]]]:
    """Return the seven days of a map, each with its 24 cells."""
    values, texts, bases = week.values, week.texts, np.nan_to_num(week.bases)
    there = values[~np.isnan(values)]
    low, high = (float(there.min()), float(there.max())) if len(there) else (1.0, 1.0)
    cells = []
    for hour in range(len(texts)):
        count = int(bases[hour])
        plural = "reply" if count == 1 else "replies"
        said = f"{hour_name(hour)}: {texts[hour] or 'no figure'}, {count:,} {plural}"
        ratio = None if not texts[hour] else log_ratio(float(values[hour]), low, high)
        shown = short_count(count) if count else ""
        cells.append(HourCell(hour, texts[hour], shown, None if ratio is None else level_of(ratio), said))
    return [(WEEKDAYS[day], cells[day * 24 : day * 24 + 24]) for day in range(7)]


def map_scale(week: WeekMap, steps: int = 5) -> list[tuple[str, int]]:
    """Return what the colours mean: figures from the lowest to the highest, each with its level."""
    values = week.values[~np.isnan(week.values)]
    if not len(values):
        return []
    low, high = max(float(values.min()), 1.0), max(float(values.max()), 1.0)
    ratios = [step / (steps - 1) for step in range(steps)]
    return [(two_digits(low * (high / low) ** ratio), level_of(ratio)) for ratio in ratios]


def level_of(ratio: float) -> int:
    """Return the step of the scale at *ratio*, 0-1.

    >>> level_of(0.0), level_of(1.0)
    (0, 15)
    """
    return round(min(max(ratio, 0.0), 1.0) * (LEVELS - 1))


def level_styles() -> str:
    """Return the style sheet's part for the steps: each colour, and on it whatever of black and white reads better."""
    assert CIVIDIS
    rules = []
    for step in range(LEVELS):
        rgb = colour(step / (LEVELS - 1))
        light = luminance(rgb)
        ink = "#000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#fff"
        rules.append(f".level-{step} {{ background: #{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}; color: {ink}; }}")
    return "\n".join(rules) + "\n"


def luminance(rgb: Sequence[int]) -> float:
    """Return the relative luminance of a colour, 0-1 (WCAG 2.2)."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in
                        (value / 255 for value in rgb))  # fmt: skip
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@dataclass(frozen=True, slots=True)
class ChatDay:
    """The last day of a chat: a column a window of ten minutes, heights 0-100; and its series for a chart."""

    columns: list[tuple[int, float]]
    label: str
    series: dict[str, list[Any]]


def chat_day(chat: ChatActivity) -> ChatDay | None:
    """Return the last day up to `updated`; None when no time is known."""
    if chat.updated is None:
        return None
    last = int(chat.updated.timestamp()) // 600
    first = last - DAY_WINDOWS + 1
    messages, online = {}, {}
    for window in chat.windows:
        number = int(window.start.timestamp()) // 600
        if number >= first:
            messages[number], online[number] = window.messages, window.online
    most = max(messages.values(), default=0)
    columns = [
        (number - first, round(100 * messages[number] / most, 1)) for number in sorted(messages) if messages[number]
    ]
    total = sum(messages.values())
    series: dict[str, list[Any]] = {
        "times": [number * 600 for number in range(first, last + 1)],
        "messages": [messages.get(number, 0) for number in range(first, last + 1)],
        "online": [online.get(number) for number in range(first, last + 1)],
    }
    return ChatDay(columns, f"{total:,} messages in the last day, at most {most:,} in ten minutes.", series)


def _share(part: float, whole: float) -> float:
    return round(min(max(part / whole, 0.0), 1.0) * 100, 2)
