"""Reply latency as a section of a report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from agents.latency_data import Shown
from reports.latency_tables import cells_of
from reports.report_table import NUMBER, SHARE, WHOLE, Column, Section, Table
from reports.week_map import WEEKDAYS

_FIGURES = ("seconds", "replies", "messages", "answered", "share_answered")


def latency_section(maps: Sequence[tuple[str, Shown]]) -> Section:
    """Return the section of (heading, map) of each org."""
    rows = [
        (shown.label.org, WEEKDAYS[hour // 24], hour % 24, *(cell[name] for name in _FIGURES))
        for _, shown in maps
        for hour, cell in enumerate(cells_of(shown.maps[0]))
    ]
    frame = pd.DataFrame(rows, columns=["org", "weekday", "hour", *_FIGURES])
    frame = frame.astype({"org": "str", "weekday": "str", "hour": "int64", **dict.fromkeys(_FIGURES, "float64")})
    first = maps[0][1].label
    columns = (
        Column("org", "org"), Column("weekday", "day"), Column("hour", "hour", WHOLE),
        Column("seconds", "seconds", NUMBER),
        Column("replies", "replies", WHOLE), Column("messages", "messages", WHOLE),
        Column("answered", "answered", WHOLE), Column("share_answered", "share answered", SHARE),
    )  # fmt: skip
    quantile = (
        "" if first.quantile is None else f" Seconds are the time that {first.quantile:.0%} of them do not exceed."
    )
    table = Table(
        "latency", "Reply latency by hour of the week",
        f"By the hour in which somebody wrote, how long until they got an answer; {first.zone_name or 'local time'}, "
        f"{first.period}.{quantile} Hours with fewer than {max(first.min_count or 1, 1)} replies have no figure.",
        frame, columns, shown=168 * len(maps), pictures=tuple(partial(_draw, shown) for _, shown in maps),
    )  # fmt: skip
    return Section("latency", "Reply latency", "; ".join(title for title, _ in maps), (table,))


def _draw(shown: Shown) -> str:
    from agents.latency_output import svg_of

    return svg_of(shown, counts=False)
