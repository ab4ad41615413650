"""The commands `orgpulse alerts list`, `ack` and `mute`.

Owns what people say of alerts on its way into the log. Invariant: a note is a record in the log of the org's shard,
so that every worker that ever owns it knows of it; nothing is changed in Redis here.
"""

from __future__ import annotations

import asyncio
import getpass
from datetime import datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.cli_errors import ToldError
from agents.routing import router_of
from agents.wording import RULE_NAMES, percent
from state.activity import Note
from streams.clock import WallClock
from streams.generation import with_generation
from streams.plain_sender import send_all
from streams.published import Alert
from streams.redis_access import reader_of
from streams.settings import Settings

_DAY_SECONDS = 86_400
_by = click.option("--by", default=getpass.getuser, show_default="you", help="Who says so.")


@click.group("alerts")
def alerts() -> None:
    """Show orgs whose score fell by what their own users did; acknowledge or mute their alerts.

    When an alert is raised stands in the health model, section [alerts].
    """


@alerts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what is missing is null.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The newest so many.")
@click.pass_obj
def list_alerts(settings: Settings, as_json: bool, limit: int) -> None:
    """Show the open alerts, newest first. `orgpulse score ORG` shows why."""
    with reader_of(settings.redis) as reader:
        found = reader.open_alerts(limit)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    Console(highlight=False).print(_table(found) if found else "no open alerts")


@alerts.command("ack")
@click.argument("org")
@_by
@click.pass_obj
def acknowledge(settings: Settings, org: str, by: str) -> None:
    """Say that somebody sees to the open alert of ORG. It stays open until the score has recovered."""
    with reader_of(settings.redis) as reader:
        found = reader.alert(org)
    if found is None or not found.is_open:
        raise ToldError(f'"{org}" has no open alert', "`orgpulse alerts list` shows the open ones")
    _note(settings, Note(org, acknowledged_by=by))
    click.echo(f"{found.fingerprint} acknowledged by {by}; the list shows it within seconds, if a worker runs")


@alerts.command("mute")
@click.argument("org")
@click.option("--days", type=click.FloatRange(0, 366), default=7.0, show_default=True, help="How long; 0 ends a mute.")
@click.pass_obj
def mute(settings: Settings, org: str, days: float) -> None:
    """Raise no new alert of ORG for some days. An open one stays open until its score has recovered.

    It ends by event time, which is the wall clock's unless [time] clock says otherwise. It outlives
    `orgpulse rebuild`.
    """
    with reader_of(settings.redis) as reader:
        if reader.org(org) is None:
            raise ToldError(f'no org "{org}" has a score', "`orgpulse score ORG` names those that are like it")
    until_ms = round((WallClock().now() + days * _DAY_SECONDS) * 1000) if days else 0
    _note(settings, Note(org, muted_until_ms=until_ms))
    click.echo(f"{org} is muted for {days:g} days" if days else f"{org} is no longer muted")


def _note(settings: Settings, note: Note) -> None:
    """Write *note* into the log of the org's shard."""
    settings = with_generation(settings, patience_seconds=0)
    asyncio.run(send_all(settings, [router_of(settings).activity(note.org, note)]))


def _table(found: list[Alert]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("org", "since (UTC)", "why"):
        table.add_column(heading, no_wrap=heading != "org")
    for heading in ("from", "to"):
        table.add_column(heading, justify="right")
    for heading in ("seen to by", "muted until"):
        table.add_column(heading)
    for alert in found:
        table.add_row(
            Text(alert.name if alert.name == alert.org else f"{alert.name} ({alert.org})", style="bold red"),
            _moment(alert.since), RULE_NAMES.get(alert.rule, alert.rule), percent(alert.former), percent(alert.score),
            Text(alert.acknowledged_by or "–"), _moment(alert.muted_until),
        )  # fmt: skip
    return table


def _moment(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"
