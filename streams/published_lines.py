"""Turns the months of latency that Redis holds into lines that can be read by period, zone and quantile.

Owns the one part of the reader that needs numpy, so it is loaded when it is asked for. Invariant: what can't be read is
an error, never left out.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

from state.lines import LOCAL, REPLIES, Lines, OverallLines
from state.periods import months_of
from state.waits import Waits
from state.week_grid import WeekGrid
from streams.published import LatencyMap
from streams.reader_errors import UnreadableError


def months_within(names: tuple[str, ...], months: range) -> list[str]:
    """Return those of the months *names* that lie in *months*."""
    return [name for name in names if months_of(name)[0] in months]


def lines_of(found: LatencyMap, documents: Mapping[str, Mapping[str, str]]) -> Lines | OverallLines:
    """Return the lines of the org of a map, from its months' documents by name."""
    parts = {
        month: {name: b64decode(raw) for name, raw in fields.items() if name == REPLIES or "/" in name}
        for month, fields in documents.items()
    }
    try:
        if found.timezone == LOCAL:
            return OverallLines(
                {months_of(m)[0]: {n: WeekGrid.load(raw) for n, raw in lines.items()} for m, lines in parts.items()},
                found.org,
            )
        merged: dict[str, Waits] = {}
        for lines in parts.values():
            for name, raw in lines.items():
                merged.setdefault(name, Waits()).merge(Waits.load(raw))
    except (ValueError, TypeError) as error:
        raise UnreadableError(f"latency of {found.org}: {error}") from error
    return Lines(found.org, found.timezone, merged)
