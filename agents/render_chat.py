"""Chat activity as things a terminal can show.

Invariant: pure functions from plain data to rich renderables. A window without a sample is drawn as ·, never as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.render import NO_DATA
from reports.rate import REACH_WINDOWS, WINDOW_SECONDS, CumulativeCurve
from streams.published_chat import WINDOW, ChatActivity, ChatPerson

DAY_CELLS, CELL_WINDOWS = 48, 3  # of half an hour, so that a day fits in a line
TABLE_WINDOWS = 6
_LEVELS = "▁▂▃▄▅▆▇█"
_BAR_CELLS = 24
_UNKNOWN = "–"


def chat_figures(chat: ChatActivity) -> Table:
    """Return the figures of the moment, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    online = _UNKNOWN if chat.online is None else f"{chat.online:,}"
    table.add_row("online", Text(online, style="bold").append(f"  as of {moment(chat.online_at)}", style="dim"))
    rate = _UNKNOWN if chat.rate_per_minute is None else f"{chat.rate_per_minute:,.2f}"
    table.add_row("messages a minute", Text(rate, style="bold"))
    table.add_row("last ten minutes", _UNKNOWN if chat.window_messages is None else f"{chat.window_messages:,}")
    total = _UNKNOWN if chat.messages_total is None else f"{chat.messages_total:,}"
    table.add_row("messages", Text(total).append(f"  since {moment(chat.since)}", style="dim"))
    table.add_row("last message", moment(chat.last_message_at))
    table.add_row("time zone", chat.timezone)
    updated = Text(moment(chat.updated)).append(" (stale)" if chat.stale else "", style="bold yellow")
    table.add_row("last updated", updated)
    return table


def moment(time: datetime | None) -> str:
    """Return a moment in its own zone, to the minute; none is a dash."""
    return _UNKNOWN if time is None else f"{time:%a %Y-%m-%d %H:%M %Z}"


def chat_day(chat: ChatActivity) -> RenderableType:
    """Return the last day as three lines of small columns: messages, their rate, members online."""
    if chat.updated is None:
        return Text("no time is known yet", style="dim")
    last = int(chat.updated.timestamp()) // WINDOW_SECONDS
    first = last - DAY_CELLS * CELL_WINDOWS + 1
    messages, online = _by_window(chat)
    # From earlier on, so that the curve does not begin with the day.
    curve = CumulativeCurve([(n, messages.get(n, 0)) for n in range(first - REACH_WINDOWS, last + 1)])
    cells = [range(n, n + CELL_WINDOWS) for n in range(first, last + 1, CELL_WINDOWS)]
    rates = curve.per_minute(np.array([(cell.start + cell.stop) / 2 * WINDOW_SECONDS for cell in cells]))
    lines = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(no_wrap=True)
    lines.add_column(justify="right", no_wrap=True)
    sums = [float(sum(messages.get(n, 0) for n in cell)) for cell in cells]
    seen = [max((online[n] for n in cell if n in online), default=None) for cell in cells]
    lines.add_row("messages", Text(columns(sums), style="cyan"), f"{max(sums):,.0f}")
    lines.add_row("a minute", Text(columns(rates.tolist()), style="cyan"), f"{max(rates):,.2f}")
    most = max((s for s in seen if s is not None), default=None)
    lines.add_row("online", Text(columns(seen), style="green"), NO_DATA if most is None else f"{most:,}")
    lines.add_row("", Text(_hours(chat.updated, first), style="dim"), "most")
    return Group(Text("The last day, half an hour a column", style="bold"), lines)


def columns(values: Sequence[float | None]) -> str:
    """Return *values* as columns of one line, the largest full height; None is no data, zero the lowest.

    >>> columns([0, 7, None, 3.5])
    '▁█·▅'
    """
    top = max((value for value in values if value is not None), default=0)
    steps = len(_LEVELS) - 1
    drawn = (
        NO_DATA if value is None else _LEVELS[round(steps * max(value, 0) / top)] if top > 0 else _LEVELS[0]
        for value in values
    )
    return "".join(drawn)


def _by_window(chat: ChatActivity) -> tuple[dict[int, int], dict[int, int]]:
    """Return messages, and members online where there is a sample, by number of window."""
    numbers = [int(window.start.timestamp()) // WINDOW_SECONDS for window in chat.windows]
    messages = {n: window.messages for n, window in zip(numbers, chat.windows, strict=True)}
    online = {n: w.online for n, w in zip(numbers, chat.windows, strict=True) if w.online is not None}
    return messages, online


def _hours(updated: datetime, first: int) -> str:
    """Return the hours below the columns, every four hours."""
    line = [" "] * DAY_CELLS
    for cell in range(DAY_CELLS - 4):
        start = datetime.fromtimestamp((first + CELL_WINDOWS * cell) * WINDOW_SECONDS, updated.tzinfo)
        begun = start - timedelta(minutes=start.minute)
        if start.hour % 4 == 0 and start - begun < CELL_WINDOWS * WINDOW:
            line[cell : cell + 5] = f"{begun:%H:%M}"
    return "".join(line)


def window_table(chat: ChatActivity) -> Table:
    """Return the last windows, newest first."""
    table = Table(box=None, pad_edge=False, title="Windows of ten minutes", title_justify="left", title_style="bold")
    table.add_column("from", no_wrap=True)
    for heading in ("messages", "online", "so far"):
        table.add_column(heading, justify="right")
    for window in reversed(chat.windows[-TABLE_WINDOWS:]):
        online = NO_DATA if window.online is None else f"{window.online:,}"
        table.add_row(f"{window.start:%a %H:%M}", f"{window.messages:,}", online, f"{window.cumulative:,}")
    return table


def people_table(people: Sequence[ChatPerson], left_out: int, count: int) -> Table:
    """Return who wrote most, with bars."""
    table = Table(box=None, pad_edge=False, title="Messages per person", title_justify="left", title_style="bold")
    table.add_column("who", overflow="ellipsis", no_wrap=True, max_width=28)
    table.add_column("messages", justify="right")
    table.add_column("", width=_BAR_CELLS)
    most = max((person.messages for person in people), default=1)
    for person in people[:count]:
        bar = "━" * max(1, round(_BAR_CELLS * person.messages / most))
        table.add_row(Text(person.name), f"{person.messages:,}", Text(bar, style="cyan"))
    others = left_out + max(0, len(people) - count)
    if others:
        table.add_row(Text(f"and {others:,} more", style="dim"), "", "")
    return table
