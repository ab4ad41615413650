"""Owns what the demo shows: the screen, and the line for outputs that are no terminal.

Invariant: pure functions from a `View` to rich renderables; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.text import Text

from agents.demo_figures import Figures
from agents.render import BAND_NAMES, BAND_STYLES, latency_map, percent, reasons_line, risk_table
from streams.published import LatencyMap, OrgScore

RISK_TITLE = "Orgs at risk, those that lost most first"
MAP_LINES = 10
TABLE_HEAD_LINES = 2
_SMALL_HEIGHT = 24
FEWEST_ORGS = 3
WIDE = 100


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """What the header says of one worker."""

    name: str
    pid: int
    url: str
    ready: bool


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the demo."""

    title: str
    figures: Figures
    workers: Sequence[WorkerLine]
    brokers: str
    redis_url: str
    directory: str
    orgs: Sequence[OrgScore] = ()
    latency: LatencyMap | None = None
    bands: Mapping[str, int] = field(default_factory=dict)
    """Users by band."""
    news: str = ""


def most_at_risk(orgs: Iterable[OrgScore]) -> list[OrgScore]:
    """Return the orgs at risk, those that lost most first: points lost since last week, times users in use or licensed.

    By score alone the list would begin with dozens of orgs of one user that has been silent for weeks.
    """

    def lost(org: OrgScore) -> Decimal:
        seats = max(org.active_users or 0, org.licensed_users or 0)
        return ((org.previous or Decimal(0)) - (org.score_active or Decimal(0))) * seats

    return sorted((org for org in orgs if org.band == "at_risk"), key=lambda org: (-lost(org), org.org))


def screen(view: View, width: int, height: int) -> RenderableType:
    """Return the whole screen, at most *height* lines: of what is too much the table gives way first."""
    head = header(view, width)
    gap: list[RenderableType] = [Text()] if height > _SMALL_HEIGHT else []
    left = height - len(head) - TABLE_HEAD_LINES - MAP_LINES - 2 * len(gap) - 1
    table = risk_table(view.orgs[: max(FEWEST_ORGS, left)], RISK_TITLE)
    return Group(*head, *gap, table, *gap, overall_map(view.latency))


def overall_map(found: LatencyMap | None) -> RenderableType:
    """Return the map of every org together."""
    if found is None:
        return latency_map({}, "Time to a reply, by the hour of the question")
    quantile = "" if found.quantile is None else f", p{found.quantile * 100:g}"
    return latency_map(found.cells, f"Time to a reply, by the hour of the question{quantile}, {found.timezone}")


def header(view: View, width: int) -> list[Text]:
    """Return the lines above the table; none is wider than *width*."""
    wide = width >= WIDE
    figures, bands, logs = figures_line(view.figures), bands_line(view.bands), _labelled("Logs", view.directory)
    lines = [Text("orgpulse demo", style="bold").append(f"  {view.title}", style="default")]
    lines.append(figures.append("   ").append_text(bands) if wide else figures)
    if wide:
        lines += [_worker_line(worker) for worker in view.workers]
    else:
        lines.append(Text("  ").join(_short_worker(worker) for worker in view.workers))
    lines.append(_labelled("Kafka", view.brokers).append("   ").append_text(_labelled("Redis", view.redis_url)))
    lines.append(logs if wide else logs.append("   ").append_text(bands))
    pid = next((worker.pid for worker in view.workers if worker.pid), 0)
    lines.append(_labelled("Try", f". {view.directory}/env; orgpulse score northwind", "cyan"))
    lines.append(Text("    orgpulse latency all", style="cyan").append(f"   kill -9 {pid}", style="cyan"))
    if view.news:
        lines.append(Text(view.news, style="yellow"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def figures_line(figures: Figures) -> Text:
    """Return rate, lag and delay; what is not known yet is a dash."""
    rate = "–" if figures.events_per_second is None else f"{figures.events_per_second:,.0f}"
    line = Text(rate, style="bold").append(" events/s, lag ", style="default").append(f"{figures.lag:,.0f}")
    line.append(f", to score p50 {_seconds(figures.p50_seconds)} p99 {_seconds(figures.p99_seconds)}", style="default")
    return line


def bands_line(bands: Mapping[str, int]) -> Text:
    """Return the number of users by band."""
    parts = [
        Text(f"{bands[band]:,} {BAND_NAMES.get(band, band)}", style=style)
        for band, style in BAND_STYLES.items()
        if band in bands
    ]
    return Text(", ").join(parts)


def log_line(view: View) -> str:
    """Return the moment in one line of plain text."""
    text = f"{view.title}: {figures_line(view.figures).plain}"
    if view.bands:
        text += f"; users {bands_line(view.bands).plain}"
    if view.orgs:
        lowest = view.orgs[0]
        text += f"; lowest {lowest.name} {percent(lowest.score_active)} ({reasons_line(lowest.reasons).plain})"
    return text


def _worker_line(worker: WorkerLine) -> Text:
    state = Text("ready", style="green") if worker.ready else Text("not ready", style="yellow")
    line = _labelled(worker.name, f"pid {worker.pid}, ").append_text(state)
    return line.append(f"   {worker.url}/metrics   {worker.url}/ready", style="default")


def _short_worker(worker: WorkerLine) -> Text:
    line = _labelled(worker.name, f"{worker.url}/metrics")
    return line if worker.ready else line.append(" not ready", style="yellow")


def _labelled(label: str, value: str, style: str = "default") -> Text:
    return Text(label, style="dim").append(f" {value}", style=style)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
