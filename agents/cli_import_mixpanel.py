"""Owns `orgpulse import mixpanel`: which days, of which account.

Invariant: credentials come from settings (environment, a secret's file), never from the command line.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec

from agents.cli_errors import EXIT_USAGE, ToldError
from agents.cli_import_options import org_option, rules_of, shared
from agents.cli_import_run import run_import
from agents.importers.events import read_events
from agents.importers.expand import over_files
from agents.importers.mixpanel import DayEntry, days_between, settled
from agents.importers.mixpanel_api import HOSTS, ExportClient
from streams.clock import WallClock
from streams.settings import Settings
from streams.topics import topic_names

_DAY = click.DateTime(["%Y-%m-%d"])
_EPILOG = """\b
Examples:
  export ORGPULSE_MIXPANEL_USERNAME=reader.1a2b ORGPULSE_MIXPANEL_SECRET_FILE=/run/secrets/mixpanel
  orgpulse import mixpanel --project-id 12345 --region eu --from-date 2025-01-01 --to-date 2025-03-31
  orgpulse import mixpanel --project-id 12345 --from-date 2025-01-01 --to-date 2025-01-01 --dry-run --limit 1000
"""


class Zone(click.ParamType):
    """An IANA time zone."""

    name = "ZONE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        """Return the zone."""
        try:
            return ZoneInfo(str(value))
        except (ValueError, OSError, KeyError):
            self.fail(f"{value!r} is no time zone: write it like Europe/Vienna", param, ctx)


@click.command("mixpanel", epilog=_EPILOG)
@shared
@click.option("--from-date", type=_DAY, required=True, metavar="DAY", help="First day, as 2025-01-31.")
@click.option("--to-date", type=_DAY, required=True, metavar="DAY", help="Last day, included.")
@click.option(
    "--region", type=click.Choice(list(HOSTS)), help="Where the project's data lives; else [mixpanel] region."
)
@click.option("--project-id", help="Number of the project; else [mixpanel] project_id.")
@click.option("--event", "events", multiple=True, help="Only events of this name; several are possible.")
@click.option("--zone", type=Zone(), help="The project's time zone, if it is from before 2023: its times are in it.")
@click.option("--tries", type=click.IntRange(1, 100), default=10, show_default=True, help="Per day, before giving up.")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Fill a field from a dotted path, such as org_id=properties.company; FIELD:=VALUE for a constant.",
)
@org_option
def import_mixpanel(
    settings: Settings, from_date: datetime, to_date: datetime, region: str | None,
    project_id: str | None, events: tuple[str, ...], zone: ZoneInfo | None, tries: int, maps: tuple[str, ...],
    org: str | None, **job: Any,
) -> None:  # fmt: skip
    """Mixpanel's raw export, day by day, straight from its API.

    The account is a service account (ORGPULSE_MIXPANEL_USERNAME and ORGPULSE_MIXPANEL_SECRET, with the project's
    number) or a project's API secret (ORGPULSE_MIXPANEL_SECRET alone). Mixpanel allows 60 queries an hour: the first 60
    days go at once, more as the hour allows. A day is fetched whole before any of it is sent; one that was imported
    whole is not asked for again, unless it is younger than a day.
    """
    if from_date > to_date:
        raise click.UsageError("--from-date is after --to-date")
    account = settings.mixpanel
    account = msgspec.structs.replace(
        account, region=region or account.region, project_id=project_id or account.project_id
    )
    if not account.secret:
        raise ToldError(
            "there is no account to ask Mixpanel with",
            "Set ORGPULSE_MIXPANEL_USERNAME and ORGPULSE_MIXPANEL_SECRET (or …_SECRET_FILE); an API secret is enough.",
            EXIT_USAGE,
        )
    if account.username and not account.project_id:
        raise ToldError("a service account needs the project", "Name it: --project-id NUMBER.", EXIT_USAGE)
    client = ExportClient(account, events, tries, lambda text: click.echo(text, err=True))
    now = WallClock().now()
    job["files"] = [
        DayEntry(
            client, day, job["state_dir"], zone, limit=job["limit"], final=settled(day, now),
            keep=job["check"] and not job["dry_run"],
        )
        for day in days_between(from_date.date(), to_date.date())
    ]  # fmt: skip
    rules = rules_of(maps, "mixpanel")
    reader = over_files(lambda s: read_events(s, rules, org=org, form="mixpanel"), job["encoding"])
    run_import(settings, topic_names(settings).product_events, reader, rules, job)
