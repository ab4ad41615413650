"""Coverage of the week: where a target is missed, and which hours to staff first, as text and as a document.

Invariant: the figures are those of `reports.coverage`; an hour that never answers enough says never, not a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.latency_request import Wish, usage
from reports.coverage import Gaps, HoursError, Outlook, Suggestion, Tally, gaps, parse_hours, suggest
from reports.short_text import two_digits
from reports.week_map import Marked, hour_name
from state.week_grid import WeekGrid

ROWS = 15
"""Gaps that a terminal lists."""


@dataclass(frozen=True)
class Coverage:
    """What is known of a week's coverage.

    Attributes:
        suggestion: Which hours to staff; None = it wasn't asked for.
    """

    gaps: Gaps
    suggestion: Suggestion | None
    target_ms: int
    quantile: float
    hours: str

    def marks(self) -> Marked:
        """Return what to draw upon the map: a frame around each gap, and the rank of each hour to staff."""
        framed: NDArray[np.bool_] = np.zeros(168, np.bool_)
        framed[[gap.hour for gap in self.gaps.rows if gap.is_open is not False]] = True
        picks = self.suggestion.picks if self.suggestion is not None else []
        within = f"{self.quantile:.0%} within {two_digits(self.target_ms / 1000)}"
        return Marked(framed, {pick.hour: rank + 1 for rank, pick in enumerate(picks)}, f"not {within}")


def coverage_of(grid: WeekGrid, wish: Wish, quantile: float, least: int) -> Coverage:
    """Return the coverage of a week; of hours with fewer than *least* messages nothing is said.

    Raises:
        ToldError: If the business hours are none, or no target is given.
    """
    if wish.target_ms is None:
        raise usage("coverage of what? There is no --target", "For example --coverage --target 4h")
    try:
        hours = parse_hours(wish.hours) if wish.hours else None
    except HoursError as error:
        raise usage(f"--hours: {error}", 'For example --hours "mon-fri 09-17, sat 10-12"') from None
    found = gaps(grid, target_ms=wish.target_ms, open_hours=hours, quantile=quantile, min_events=least)
    chosen = None
    if wish.staff is not None:
        chosen = suggest(grid, wish.staff, target_ms=wish.target_ms, quantile=quantile, min_events=least, allowed=hours)
    return Coverage(found, chosen, wish.target_ms, quantile, wish.hours)


def coverage_text(coverage: Coverage) -> RenderableType:
    """Return gaps and suggestion as lines and tables."""
    found, target = coverage.gaps, two_digits(coverage.target_ms / 1000)
    parts: list[RenderableType] = [Text(f"Answered within {target}", style="bold")]
    parts.append(_tally(found.week, "all messages"))
    if coverage.hours:
        parts += [_tally(found.inside, coverage.hours), _tally(found.outside, "other hours")]
    parts += [Text(), _gap_table(coverage, target)]
    if coverage.suggestion is not None:
        parts += [Text(), *_suggestion(coverage.suggestion, target)]
    return Group(*parts)


def coverage_document(coverage: Coverage) -> dict[str, Any]:
    """Return gaps and suggestion as a document for JSON."""
    found = coverage.gaps
    document: dict[str, Any] = {
        "target_seconds": coverage.target_ms / 1000,
        "quantile": coverage.quantile,
        "hours": coverage.hours or None,
        **{name: _tally_document(getattr(found, name)) for name in ("week", "inside", "outside")},
        "gaps": [
            {
                "cell": gap.name,
                "open": gap.is_open,
                **_tally_document(gap.tally),
                "quantile_seconds": _finite(gap.quantile_ms),
            }
            for gap in found.rows
        ],
    }
    if (chosen := coverage.suggestion) is not None:
        document["staff"] = [
            {"cell": pick.name, "messages": pick.events, "late": pick.late, "fewer_late": round(pick.gain, 1)}
            for pick in chosen.picks
        ]
        document["outlook"] = {"before": _outlook(chosen.before), "after": _outlook(chosen.after)}
    return document


def _gap_table(coverage: Coverage, target: str) -> RenderableType:
    rows = [gap for gap in coverage.gaps.rows if gap.is_open is not False]
    if not rows:
        return Text(f"No gap: in every hour {coverage.quantile:.0%} are answered within {target}.")
    table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold")
    table.title = f"Hours in which fewer than {coverage.quantile:.0%} are, most late messages first"
    table.add_column("hour", no_wrap=True)
    for heading in ("messages", "late", "in time", "answered", f"p{coverage.quantile * 100:g}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for gap in rows[:ROWS]:
        shares = f"{gap.within_share:.0%}", f"{gap.answered_share:.0%}"
        slowest = two_digits(gap.quantile_ms / 1000) if math.isfinite(gap.quantile_ms) else "never"
        table.add_row(hour_name(gap.hour), f"{gap.tally.events:,}", f"{gap.tally.late:,}", *shares, slowest)
    return Group(table, Text(f"and {len(rows) - ROWS} more hours", style="dim")) if len(rows) > ROWS else table


def _suggestion(chosen: Suggestion, target: str) -> list[RenderableType]:
    if not chosen.picks:
        return [Text("No hour gains by being staffed.")]
    table = Table(box=None, pad_edge=False, title_justify="left", title_style="bold")
    table.title = "Staff these hours first, if they then answer as the best covered hours do"
    for heading in ("", "hour", "messages", "late now", "fewer late"):
        table.add_column(heading, justify="left" if heading == "hour" else "right", no_wrap=True)
    for rank, pick in enumerate(chosen.picks):
        table.add_row(f"{rank + 1}", hour_name(pick.hour), f"{pick.events:,}", f"{pick.late:,}", f"{pick.gain:,.0f}")
    before, after = chosen.before, chosen.after
    said = f"In time within {target}: {before.within_share:.0%} → {after.within_share:.0%}; late: {before.late:,.0f} → "
    return [table, Text(f"{said}{after.late:,.0f}")]


def _tally(tally: Tally, name: str) -> Text:
    share = f"{tally.within / tally.events:.0%}" if tally.events else "–"
    return Text(f"{share:>4} of {tally.events:,} in {name}; {tally.late:,} late or never")


def _tally_document(tally: Tally) -> dict[str, int]:
    return {"messages": tally.events, "answered": tally.answered, "within_target": tally.within, "late": tally.late}


def _outlook(outlook: Outlook) -> dict[str, float | None]:
    return {
        "late": round(outlook.late, 1),
        "within_share": _finite(outlook.within_share * 1000),
        "quantile_seconds": _finite(outlook.quantile_ms),
    }


def _finite(ms: float) -> float | None:
    return round(ms / 1000, 4) if math.isfinite(ms) else None
