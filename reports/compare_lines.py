"""Compares the months of latency in Redis with the recount: every line, month and hour of the week, also of measures.

Reads the documents as every reader does, which is why it is no part of the recount. Invariant: an hour in which
anything happened is compared in whole numbers, those of waits in milliseconds, exact unless the line was rounded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from reports.collect import Documents
from reports.compare import Comparison
from reports.recount_latency import ALL
from state.lines import MEASURE, REPLIES, Lines, OverallLines
from state.week_grid import RELATIVE_ERROR, WeekGrid
from streams.published_decode import latency_of
from streams.published_lines import lines_of

_MONTH = re.compile(r"latency:\{([^{}]*)\}:(\d{4}-\d\d)")
_COUNTS = ("messages", "replies", "answered", "within")
_WAITS = ("waits_ms", "first_waits_ms")
Cells = dict[tuple[str, str, str, int], dict[str, int]]
"""Org, line, month in the org's zone, hour of the week → figures."""


def compare_lines(
    lines: Any, documents: Documents, target_ms: int = 4 * 3_600_000, *, overall: bool = True
) -> Comparison:
    """Return how the months in *documents* differ from *lines*, the recount's (see `latency_lines`).

    Without *overall* what is told of all orgs together is left out. What is of measures counts as a kind of its own.
    """
    result, expected = Comparison(), _expected(lines, overall)
    shown: Cells = {}
    rough: set[tuple[str, str]] = set()
    for org, found in _orgs(documents, overall):
        for line, month, grid in _grids(found):
            if not grid.exact:
                rough.add((org, line))
            shown |= {(org, line, month, hour): figures for hour, figures in _figures(grid, target_ms).items()}
    for place in sorted(shown.keys() | expected.keys()):
        key = f"latency:{{{place[0]}}}:{place[2]} {place[1]} {place[3]}"
        result.keys += 1
        result.kinds["measure month" if place[1].startswith(MEASURE) else "latency month"] += 1
        ours, theirs = expected.get(place), shown.get(place)
        if ours is None or theirs is None:
            result.check(key, "", None if theirs is None else "there", None if ours is None else "there")
            continue
        is_rough = place[:2] in rough
        for name in (*_COUNTS[: 3 if is_rough else 4], *_WAITS):
            slack = ours[name] * RELATIVE_ERROR if is_rough and name in _WAITS else 0.0
            result.check(key, name, theirs[name], ours[name], slack)
    return result


def _expected(lines: Any, overall: bool) -> Cells:
    """Return the recount's figures; of all orgs together channels are not told apart."""
    found: defaultdict[tuple[str, str, str, int], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys((*_COUNTS, *_WAITS), 0)
    )
    for (org, line, month, hour), row in lines.to_dict("index").items():
        if org == ALL and not overall:
            continue
        cell = found[org, REPLIES if org == ALL and line.startswith(REPLIES) else line, month, hour]
        for name in cell:
            cell[name] += int(row[name])
    return dict(found)


def _orgs(documents: Documents, overall: bool) -> Iterator[tuple[str, Lines | OverallLines]]:
    months: defaultdict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    for key, fields in documents.items():
        if (match := _MONTH.fullmatch(key)) and "deleted" not in fields:
            months[match[1]][match[2]] = fields
    for org, parts in sorted(months.items()):
        head = latency_of(org, documents.get(f"latency:{{{org}}}", {}))
        if head is not None and (overall or org != ALL):
            yield org, lines_of(head, parts)


def _grids(found: Lines | OverallLines) -> Iterator[tuple[str, str, WeekGrid]]:
    """Yield line, month and grid of what holds anything."""
    for line in found.names():
        months = sorted(found.months) if isinstance(found, OverallLines) else found.lines[line].months(found.zone)
        for month in months:
            yield line, f"{month // 12}-{month % 12 + 1:02}", found.grid(line, range(month, month + 1))


def _figures(grid: WeekGrid, target_ms: int) -> dict[int, dict[str, int]]:
    """Return the figures of the hours in which anything happened."""
    totals = []
    for kept in (np.ones(len(grid.keys), bool), grid.firsts):
        sums = np.zeros(168, np.int64)
        np.add.at(sums, grid.hours[kept], grid.waits_ms[kept] * grid.counts[kept])
        totals.append(sums)
    columns = [grid.events, grid.replies, grid.answered, grid.within(target_ms), *totals]
    rows = np.array(columns).T
    return {
        hour: dict(zip((*_COUNTS, *_WAITS), rows[hour].tolist(), strict=True))
        for hour in np.flatnonzero(rows.any(axis=1)).tolist()
    }
