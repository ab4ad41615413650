"""Draws an org's chat activity: five plots on one page, as SVG or PNG.

Owns the looks of that report. Invariant: only draws what it is given; windows without a sample are gaps in the line,
not zeros. Colours are of cividis: even in lightness, readable with every kind of colour vision.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib import dates, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.rate import WINDOW_SECONDS, CumulativeCurve, Floats

DARK, BLUE, GREY, SAND, GRID = "#00224e", "#35456c", "#7c7b78", "#bcae6c", "#d9d9d9"
MOST_PEOPLE = 20
_STEP_SECONDS = 120  # of the smooth curves
_LONGEST_NAME = 28
_dates: Any = dates  # without annotations of its own


@dataclass(frozen=True, slots=True)
class ChatReport:
    """What is drawn."""

    title: str
    timezone: str
    updated: str
    """When it holds as of, as text."""
    until: int
    """The same in seconds since the epoch."""
    windows: Sequence[tuple[int, int, int | None]]
    """Number of ten minutes since the epoch, messages, members online; those in which something was."""
    people: Sequence[tuple[str, int]]
    people_left_out: int


def drawn(report: ChatReport, kind: str) -> bytes:
    """Return the picture as a file of *kind* (svg or png)."""
    zone, shown = ZoneInfo(report.timezone), min(len(report.people), MOST_PEOPLE)
    figure = Figure(figsize=(11, 11.5 + 0.26 * shown), layout="constrained")
    heights = [1.0, 1.0, 1.0, 1.0, 0.35 + 0.115 * shown]
    online, windows, total, rate, people = figure.subplots(5, 1, height_ratios=heights)
    title = f"{report.title}\ntimes in {report.timezone}, last updated {report.updated}"
    figure.suptitle(_plain_text(title), x=0.01, ha="left")
    curve = _curve(report)
    _draw_online(online, report, zone)
    _draw_windows(windows, report, zone)
    _draw_total(total, curve, zone)
    _draw_rate(rate, curve, zone)
    _draw_people(people, report, shown)
    for axes in (online, windows, total, rate):
        _dress(axes, curve, zone)
    raw = io.BytesIO()
    # The same activity gives the same bytes: no date, and ids that don't depend on chance.
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "orgpulse", "svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name in a script that the font lacks
        figure.savefig(raw, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
    return raw.getvalue()


def _curve(report: ChatReport) -> CumulativeCurve:
    """Return the curve up to the last whole window: the running one would look like a fall."""
    last = report.until // WINDOW_SECONDS - 1
    counts = {window: messages for window, messages, _ in report.windows if window <= last}
    return CumulativeCurve(sorted(({last: 0} | counts).items()))


def _moments(seconds: Iterable[float], zone: ZoneInfo) -> list[datetime]:
    return [datetime.fromtimestamp(float(second), UTC).astimezone(zone) for second in seconds]


def _fine(curve: CumulativeCurve) -> Floats:
    first, last = int(curve.edges[0]), int(curve.edges[-1])
    return np.arange(first, last + 1, _STEP_SECONDS).astype(np.float64)


def _draw_online(axes: Axes, report: ChatReport, zone: ZoneInfo) -> None:
    samples = [(window, online) for window, _, online in report.windows if online is not None]
    if samples:
        known = dict(samples)
        span = range(samples[0][0], samples[-1][0] + 1)
        values = [float(known.get(window, np.nan)) for window in span]
        line: Any = _moments([w * WINDOW_SECONDS for w in span], zone)
        axes.plot(line, values, color=DARK, linewidth=1.2)
        alone = [w for w in known if w - 1 not in known and w + 1 not in known]  # a line needs two
        dots: Any = _moments([w * WINDOW_SECONDS for w in alone], zone)
        axes.plot(dots, [known[w] for w in alone], ".", color=DARK)
    else:
        axes.text(0.5, 0.5, "no samples", transform=axes.transAxes, ha="center", color=GREY)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Members online", loc="left")


def _draw_windows(axes: Axes, report: ChatReport, zone: ZoneInfo) -> None:
    written = [(window * WINDOW_SECONDS, messages) for window, messages, _ in report.windows if messages]
    starts: Any = _moments([start for start, _ in written], zone)
    width: Any = timedelta(seconds=WINDOW_SECONDS)
    axes.bar(starts, [n for _, n in written], width=width, align="edge", color=BLUE, edgecolor=BLUE, linewidth=0.3)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Messages per 10 minutes", loc="left")


def _draw_total(axes: Axes, curve: CumulativeCurve, zone: ZoneInfo) -> None:
    fine = _fine(curve)
    edges: Any = _moments(curve.edges, zone)
    smooth: Any = _moments(fine, zone)
    axes.fill_between(edges, curve.totals, step="pre", color=SAND, alpha=0.6, linewidth=0, label="counted")
    axes.plot(smooth, curve.messages(fine), color=DARK, linewidth=1.1, label="spline")
    axes.legend(loc="upper left", frameon=False, fontsize="small")
    axes.set_title("Messages, cumulative", loc="left")


def _draw_rate(axes: Axes, curve: CumulativeCurve, zone: ZoneInfo) -> None:
    fine = _fine(curve)
    moments: Any = _moments(fine, zone)
    rates = curve.per_minute(fine)
    axes.fill_between(moments, rates, color=SAND, alpha=0.5, linewidth=0)
    axes.plot(moments, rates, color=DARK, linewidth=1.1)
    how = "slope of the spline" if curve.smoothed else "too few windows for a spline: plain differences"
    axes.set_title(f"Messages per minute ({how})", loc="left")


def _draw_people(axes: Axes, report: ChatReport, shown: int) -> None:
    people = list(report.people[:shown])
    names = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name, _ in people]
    bars = axes.barh(range(shown), [n for _, n in people], color=BLUE, height=0.7)
    axes.bar_label(bars, [f"{n:,}" for _, n in people], padding=3, fontsize="small")
    # As numbers, so that two people of one name keep a bar each.
    axes.set_yticks(range(shown), [_plain_text(name) for name in names], fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.08)
    others = report.people_left_out + len(report.people) - shown
    axes.set_title("Messages per person" + (f" (and {others:,} more)" if others else ""), loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(axes)
    axes.grid(axis="x", color=GRID, linewidth=0.6)


def _dress(axes: Axes, curve: CumulativeCurve, zone: ZoneInfo) -> None:
    """Give the plots over time one axis."""
    _plain(axes)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_ylim(bottom=0)
    limits: Any = _moments([curve.edges[0], curve.edges[-1] + WINDOW_SECONDS], zone)
    axes.set_xlim(*limits)
    locator = _dates.AutoDateLocator(tz=zone)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator, tz=zone))


def _plain_text(text: str) -> str:
    """Return *text* so that Matplotlib sees no formulas in it."""
    return text.replace("$", r"\$")


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
