"""The kinds of `orgpulse report` that stand on the history, on chat and on latency.

Owns in which order things are done. Invariant: it only reads from Kafka and Redis.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from agents.cli_progress import progress
from agents.report_history import read_history
from agents.report_output import made_at, print_summary, write
from agents.report_redis import chat_sections, latency_sections, or_why_not
from agents.report_request import Request, request_of, with_options
from reports.history import History
from reports.report_document import Report
from reports.report_sections import ALL, coverage_of, sections_of
from reports.report_table import Section
from streams.clock import WallClock
from streams.settings import Settings

_org_option = click.option(
    "--org", "orgs", multiple=True, metavar="ORG", help="Chat and latency of this org; repeat it."
)


def _kind(name: str, text: str) -> click.Command:
    """Return the command of a kind that stands on the history alone."""

    @click.command(name, help=text)
    @with_options
    @click.pass_obj
    def command(settings: Settings, first: str | None, last: str | None, out: Path) -> None:
        request = request_of(first, last, out)
        history = _history(settings, request)
        _finish(name, coverage_of(history), _of_history(history, name), request)

    return command


activity = _kind("activity", "Totals, weeks, and activity of orgs and org-weeks against their transactions.")
lifetime = _kind("lifetime", "For how many weeks users are there, by how much they do in all.")
bands = _kind("bands", "Transactions by active users of a week, and users of an org by weekly mean.")
correlations = _kind(
    "correlations", "Every correlation with n and interval, and whether a falling score precedes falling transactions."
)
quartiles = _kind("quartiles", "Orgs by volume: quartiles, and what orgs of each are like.")


@click.command("chat")
@with_options
@_org_option
@click.pass_obj
def chat(settings: Settings, /, **options: Any) -> None:
    """Who is online in the chat, how much is written and by whom, from Redis.

    Without --org: the orgs in which most is written. Redis keeps the last days only (`[chat] window_days`).
    """
    request = request_of(**options)
    _finish("chat", (), chat_sections(settings, request), request)


@click.command("latency")
@with_options
@_org_option
@click.pass_obj
def latency(settings: Settings, /, **options: Any) -> None:
    """How long replies take by hour of the week, from Redis; without --org: all orgs together.

    With --from and --to the whole months in which these weeks lie, else the last months.
    """
    request = request_of(**options)
    _finish("latency", (), latency_sections(settings, request, WallClock().now()), request)


@click.command("all")
@with_options
@_org_option
@click.pass_obj
def everything(settings: Settings, /, **options: Any) -> None:
    """All reports in one document; of chat and latency what Redis has, or why there is nothing."""
    request = request_of(**options)
    history = _history(settings, request)
    sections = _of_history(history, ALL)
    sections += or_why_not("chat", lambda: chat_sections(settings, request))
    sections += or_why_not("latency", lambda: latency_sections(settings, request, WallClock().now()))
    _finish(ALL, coverage_of(history), sections, request)


def _history(settings: Settings, request: Request) -> History:
    with progress("records of weeks read") as tell:
        reader = asyncio.run(read_history(settings, tell))
    return reader.history(request.first, request.last)


def _of_history(history: History, kind: str) -> list[Section]:
    found = []
    with progress("tables computed") as tell:
        for done, total, section in sections_of(history, kind):
            found.append(section)
            tell(done, total)
    return found


def _finish(kind: str, coverage: tuple[str, ...], sections: list[Section], request: Request) -> None:
    heading = "Report" if kind == ALL else f"Report: {kind}"
    report = Report(heading, made_at(WallClock().now()), coverage, tuple(sections))
    print_summary(report, write(report, request.out, kind))
