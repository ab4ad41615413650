"""Owns `orgpulse doctor`: runs every check, shows the findings, and exits with 1 when one failed.

Invariant: it always ends with a table; a part that is down is a row in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.cli import config_in_use, settings_of
from agents.cli_errors import EXIT_FAILED
from agents.doctor import Finding, machine_findings
from agents.doctor_kafka import kafka_findings
from agents.doctor_redis import redis_findings
from agents.doctor_tenants import tenant_findings
from streams.clock import WallClock
from streams.kafka_rights import ROLES, Role
from streams.redis_rights import ROLES as REDIS_ROLES
from streams.settings import Settings

_MARKS = {"ok": ("ok", "green"), "warning": ("note", "yellow"), "failed": ("FAILED", "bold red")}
PLAIN_WIDTH = 160
"""Columns of the table when the output is no terminal."""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, for machines.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0.1, 600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an answer from Kafka and from Redis.",
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="worker",
    show_default=True,
    help="Whose rights on Kafka and Redis to look for: what this user is meant to do.",
)
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, wait_seconds: float, role: Role) -> None:
    """Check machine, settings, Kafka, topics, Redis and clocks; say for each failure what to do.

    Changes nothing. Exits with 1 if a check failed; notes alone are no failure.

    \b
    Examples:
      orgpulse doctor
      orgpulse doctor --wait 60          while Kafka is still starting
      orgpulse doctor --role reader      as somebody who only looks
      orgpulse doctor --json | jq '.[] | select(.state == "failed")'
    """
    settings, clock = settings_of(ctx), WallClock()
    config = config_in_use(ctx.find_root().params.get("config"))
    findings = [
        *machine_findings(settings, config),
        *tenant_findings(config),
        *kafka_findings(settings, clock, wait_seconds=wait_seconds, role=role),
        *_redis(settings, clock, wait_seconds, role),
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings)).decode())
    else:
        _show(findings)
    if any(finding.state == "failed" for finding in findings):
        raise click.exceptions.Exit(EXIT_FAILED)


def _redis(settings: Settings, clock: WallClock, wait_seconds: float, role: Role) -> Iterator[Finding]:
    """Yield what is to say about Redis, if *role* has to do with it at all."""
    for name in REDIS_ROLES:
        if name == role:
            yield from redis_findings(settings, clock, wait_seconds=wait_seconds, role=name)


def _show(findings: Sequence[Finding]) -> None:
    """Print the findings as a table, and the outcome in one line below."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "state", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.state]
        table.add_row(finding.check, Text(mark, style), finding.found, finding.remedy)
    console.print(table, markup=False)
    failed = sum(finding.state == "failed" for finding in findings)
    notes = sum(finding.state == "warning" for finding in findings)
    console.print(f"\n{len(findings)} checks, {failed} failed, {notes} notes", style="bold red" if failed else "bold")
