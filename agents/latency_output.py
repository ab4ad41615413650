"""A map, a series or a difference as text, document, picture and table, and as files that change at once.

Invariant: a file holds either what it held before or all of the new content. Drawing is imported when a picture is
asked for, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from agents.latency_coverage import coverage_document, coverage_text
from agents.latency_data import Shown
from agents.render_week import change_map, week_map
from reports.latency_tables import change_csv, change_document, map_document, maps_csv
from reports.week_map import WAIT, all_values, change_summary, summary
from reports.whole_file import put
from streams.published import CELLS


@dataclass(frozen=True)
class Files:
    """Where to write what; None = nowhere."""

    svg: Path | None = None
    png: Path | None = None
    csv: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """The files there will be."""
        return [path for path in (self.svg, self.png, self.csv) if path is not None]


def write_files(shown: Shown, files: Files, *, counts: bool) -> None:
    """Write all of *files*."""
    if files.svg is not None:
        put(files.svg, svg_of(shown, counts=counts).encode())
    if files.png is not None:
        put(files.png, png_of(shown, counts=counts))
    if files.csv is not None:
        put(files.csv, csv_of(shown).encode("utf-8-sig"))  # with the mark by which spreadsheets know UTF-8


def svg_of(shown: Shown, *, counts: bool) -> str:
    """Return the picture as an SVG document."""
    from reports.picture_files import svg

    return svg(_figure(shown, counts), heading(shown), description(shown))


def png_of(shown: Shown, *, counts: bool) -> bytes:
    """Return the picture as a PNG."""
    from reports.picture_files import png

    return png(_figure(shown, counts), heading(shown))


def csv_of(shown: Shown) -> str:
    """Return one row a cell."""
    return maps_csv(shown.maps) if shown.change is None else change_csv(shown.change)


def document_of(shown: Shown) -> dict[str, Any]:
    """Return the document for JSON; of one map, `cells` holds those that have data, as it always did."""
    if shown.change is not None:
        return change_document(shown.change)
    if len(shown.maps) > 1:
        return {"org": shown.label.org, "series": [map_document(week) for week in shown.maps]}
    week = shown.maps[0]
    found = map_document(week)
    cells = {
        CELLS[hour]: {"seconds": cell["seconds"], "count": cell["replies"] or 0}
        for hour, cell in enumerate(found["week"])
        if cell["state"] == "data"
    }
    more = {} if shown.coverage is None else {"coverage": coverage_document(shown.coverage)}
    return {**found, "fence": shown.fence, "cells": cells, **more}


def terminal_of(shown: Shown, *, counts: bool) -> RenderableType:
    """Return what a terminal shows."""
    if shown.change is not None:
        return change_map(shown.change, heading(shown))
    if len(shown.maps) == 1:
        drawn = week_map(shown.maps[0], heading(shown), counts)
        return drawn if shown.coverage is None else Group(drawn, Text(), coverage_text(shown.coverage))
    values = all_values(shown.maps)
    bounds = (float(values.min()), float(values.max())) if len(values) and shown.label.show == WAIT else None
    parts: list[RenderableType] = [Text(heading(shown), style="bold")]
    for week in shown.maps:
        parts += [Text(), week_map(week, week.label.period, counts, bounds)]
    return Group(*parts)


def heading(shown: Shown) -> str:
    """Return the title as one line: what, of whom, of when."""
    label = shown.label
    period = label.period
    if shown.change is not None:
        period = f"{shown.change.before.label.period} → {period}"
    elif len(shown.maps) > 1:
        period = f"{shown.maps[0].label.period} to {period}"
    first = f"{label.what}: {label.org_name}"
    rest = (label.line_name, label.quantile_name, label.zone_name if shown.fence == "" else label.zone, period)
    return ", ".join([first, *(part for part in rest if part)])


def description(shown: Shown) -> str:
    """Return in words what the picture shows, for those who can't see it."""
    if shown.change is not None:
        return change_summary(shown.change)
    if len(shown.maps) == 1:
        return summary(shown.maps[0])
    return " ".join(f"{week.label.period}: {summary(week)}" for week in shown.maps)


def _figure(shown: Shown, counts: bool) -> Any:
    from reports.pictures import difference_map, map_figure, series

    if shown.change is not None:
        return difference_map(shown.change, counts=counts)
    if len(shown.maps) > 1:
        return series(shown.maps, counts=counts)
    marked = None if shown.coverage is None else shown.coverage.marks()
    return map_figure(shown.maps[0], counts=counts, marked=marked)
