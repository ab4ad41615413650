"""Owns what the demo shows: the screen, and the line for outputs that are no terminal.

Invariant: pure functions from a `View` to rich renderables; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.demo_figures import Figures
from agents.render import BAND_STYLES, reasons_line, risk_table, signed
from agents.render_week import latency_map
from agents.wording import BAND_NAMES, RULE_NAMES, percent, points_lost
from streams.published import Alert, LatencyMap, OrgScore

RISK_TITLE = "Orgs at risk, those that lost most first"
MAP_LINES = 10
TABLE_HEAD_LINES = 2
_SMALL_HEIGHT = 28
FEWEST_ORGS = 3
FEWEST_ALERTS, MOST_ALERTS = 3, 6
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
    alerts: Sequence[tuple[Alert, OrgScore | None]] = ()
    """The newest open alerts, each with its org as it is now."""
    alerts_open: int = 0
    latency: LatencyMap | None = None
    bands: Mapping[str, int] = field(default_factory=dict)
    """Users by band."""
    news: str = ""


def most_at_risk(orgs: Iterable[OrgScore]) -> list[OrgScore]:
    """Return the orgs at risk, those that lost most first."""
    return sorted((org for org in orgs if org.band == "at_risk"), key=lambda org: (-points_lost(org), org.org))


def screen(view: View, width: int, height: int) -> RenderableType:
    """Return the whole screen, at most *height* lines: of what is too much the tables give way first."""
    head = header(view, width)
    gap: list[RenderableType] = [Text()] if height > _SMALL_HEIGHT else []
    left = height - len(head) - 2 * TABLE_HEAD_LINES - MAP_LINES - 3 * len(gap) - 1
    if left < FEWEST_ALERTS + FEWEST_ORGS:
        alerts: RenderableType = Text(newest_alert(view), style="bold", no_wrap=True, overflow="ellipsis")
        left += TABLE_HEAD_LINES - 1
    else:
        shown = view.alerts[: max(FEWEST_ALERTS, min(left // 2, MOST_ALERTS))]
        alerts, left = alert_table(shown, view.alerts_open), left - max(len(shown), FEWEST_ALERTS)
    table = risk_table(view.orgs[: max(FEWEST_ORGS, left)], RISK_TITLE)
    return Group(*head, *gap, alerts, *gap, table, *gap, overall_map(view.latency))


def newest_alert(view: View) -> str:
    """Return how many alerts are open, and the newest, in a line of plain text."""
    if not view.alerts:
        return "No open alerts"
    newest = view.alerts[0][0]
    return (
        f"{view.alerts_open:,} open alerts, the newest {newest.name or newest.org} "
        f"{percent(newest.former)} → {percent(newest.score)}"
    )


def alert_table(alerts: Sequence[tuple[Alert, OrgScore | None]], number: int) -> RenderableType:
    """Return one row per open alert, newest first, of *number* in all: since when, from where to where, and why."""
    if not alerts:
        return Text("No open alerts", style="bold")
    title = f"Open alerts: {number:,}, the newest first"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("org", overflow="ellipsis", no_wrap=True, min_width=14, max_width=24)
    for heading, cells in (("rule", 15), ("since (UTC)", 12)):
        table.add_column(heading, no_wrap=True, min_width=cells)
    table.add_column("from → to", justify="right", no_wrap=True, min_width=13)
    table.add_column("why", overflow="ellipsis", no_wrap=True, min_width=12)
    for alert, org in alerts:
        since = "–" if alert.since is None else f"{alert.since:%d %b %H:%M}"
        way = f"{percent(alert.former)} → {percent(alert.score)}"
        name = Text(alert.name or alert.org, style="bold red")
        table.add_row(name, RULE_NAMES.get(alert.rule, alert.rule), since, way, _main_cause(org))
    return table


def _main_cause(org: OrgScore | None) -> Text:
    """Return what the org's own fall is made of most: who is counted, or what its users did otherwise."""
    if org is None:
        return Text("–", style="dim")
    split = org.split
    if split is not None and split.membership < 0 and split.membership < split.own:
        return Text("who is counted ").append_text(signed(split.membership))
    return reasons_line(org.reasons, 1)


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
    servers = _labelled("Kafka", view.brokers).append("   ").append_text(_labelled("Redis", view.redis_url))
    lines = [Text("orgpulse demo", style="bold").append(f"  {view.title}", style="default")]
    pid = next((worker.pid for worker in view.workers if worker.pid), 0)
    first, then = f". {view.directory}/env; orgpulse score northwind", f"orgpulse alerts list   kill -9 {pid}"
    if wide:
        lines.append(figures.append("   ").append_text(bands))
        lines += [_worker_line(worker) for worker in view.workers]
        lines.append(servers.append("   ").append_text(logs))
        lines.append(_labelled("Try", f"{first}   {then}", "cyan"))
    else:
        lines += [figures, Text("  ").join(_short_worker(worker) for worker in view.workers), servers]
        lines.append(logs.append("   ").append_text(bands))
        lines += [_labelled("Try", first, "cyan"), Text(f"    {then}", style="cyan")]
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
    if view.alerts:
        text += f"; {newest_alert(view)}"
    if view.orgs:
        lowest = view.orgs[0]
        text += f"; lowest {lowest.name} {percent(lowest.score_active)} ({reasons_line(lowest.reasons).plain})"
    return text


def _worker_line(worker: WorkerLine) -> Text:
    state = Text("ready", style="green") if worker.ready else Text("not ready", style="yellow")
    line = _labelled(worker.name, f"pid {worker.pid}, ").append_text(state)
    return (
        line.append("   page ", style="dim")
        .append(f"{worker.url}/", style="bold cyan")
        .append(" /metrics /ready", "dim")
    )


def _short_worker(worker: WorkerLine) -> Text:
    line = _labelled(worker.name, f"{worker.url}/", "bold cyan")
    return line if worker.ready else line.append(" not ready", style="yellow")


def _labelled(label: str, value: str, style: str = "default") -> Text:
    return Text(label, style="dim").append(f" {value}", style=style)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
