"""Owns `orgpulse backfill`: weeks computed anew in a namespace of their own; saved topics; namespaces listed, dropped.

Invariant: what will be missing is said, and asked about, before anything is computed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from agents import backfill as steps
from agents.backfill_reach import reach_of, weeks_between
from agents.cli_errors import EXIT_FAILED, ToldError
from agents.cli_progress import progress
from agents.raw_source import Topics, files_in
from agents.save_topics import Save
from state.week import UnknownZoneError, zone_of
from streams.clock import WallClock
from streams.generation import with_generation
from streams.model_file import load_model
from streams.namespace import backfill_of, drop, names_of, namespace_of
from streams.settings import Settings
from streams.topic_specs import group_of
from streams.topics import NOBODY_CAN_TELL, connected_admin, members_of_group

_PATIENCE_SECONDS = 5.0
_COORDINATOR_SECONDS = 15.0
_PAUSE_SECONDS = 0.3
_RUN = "run"


class _Named(click.Group):
    """A group in which whatever is no command of it is the name of a backfill to compute."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, `run` where none is named."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return _RUN, self.commands[_RUN], args


@click.group(
    cls=_Named, context_settings={"ignore_unknown_options": True}, options_metavar="",
    subcommand_metavar="NAME --from WEEK",
)  # fmt: skip
def backfill() -> None:
    """Compute weeks anew in a namespace of their own, from the source topics or from files.

    What is live stays as it is: the namespace has topics, a group and a Redis prefix of its own, and `orgpulse compare`
    says how its weeks differ from what was published, and why. Nothing is swapped.

    \b
    Examples:
      orgpulse backfill check --from 2026-W40 --to 2026-W44
      orgpulse backfill check --from 2026-W40 --files /archive/raw
      orgpulse backfill try-model --from 2026-W44 --model my.toml
      orgpulse compare check
      orgpulse backfill save /archive/raw      raw topics to files, goes on where it ended
      orgpulse backfill list
      orgpulse backfill drop check
      orgpulse backfill run --help             all options
    """
    # A topic that was just made has no leader for a moment; the client tries again, and would warn each time.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)


@backfill.command(_RUN)
@click.argument("name")
@click.option("--from", "first", required=True, metavar="WEEK", help="First ISO week, such as 2026-W40.")
@click.option("--to", "last", metavar="WEEK", help="Last one; the same one when left out.")
@click.option(
    "--files",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Read from what `orgpulse backfill save` wrote there, or from folders events, chat, mail, syslog and "
    "transactions of files that `orgpulse import` reads. Without it: from the topics.",
)
@click.option("--model", type=click.Path(dir_okay=False, exists=True), help="Another health model (TOML).")
@click.option(
    "--cut-points",
    type=click.Choice([steps.PUBLISHED, steps.OWN, steps.SHIPPED]),
    default=steps.PUBLISHED,
    show_default=True,
    help="Close weeks by the cut points they were published by, by those of a count of its own, or the model's.",
)
@click.option("--time-zone", metavar="ZONE", help="Weeks of this IANA zone for every org of the directory.")
@click.option(
    "--directory-as-of",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Leave out what the directory said later (UTC). As far as it was kept: see docs/backfill.md.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Workers that compute.")
@click.option(
    "--logs", type=click.Path(path_type=Path, file_okay=False), default=Path(), show_default="here",
    help="Where these workers write their logs.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def run(
    settings: Settings, name: str, first: str, last: str | None, files: Path | None, model: str | None,
    cut_points: str, time_zone: str | None, directory_as_of: datetime | None, workers: int, logs: Path, yes: bool,
) -> None:  # fmt: skip
    """Compute the weeks --from to --to in the namespace NAME.

    Read is what these weeks depend on: messages since some weeks before (replies, ids, carried values), up to now.
    A run that was interrupted leaves nothing that can be compared: the same command begins anew. Weeks before --from
    are in the namespace too, but incomplete; `orgpulse compare` leaves them out.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))  # so that the workers end too
    console, clock, began = Console(), WallClock(), time.monotonic()
    live = with_generation(settings, patience_seconds=_PATIENCE_SECONDS)
    now_ms = int(clock.now() * 1000)
    if time_zone:
        try:
            zone_of(time_zone)
        except UnknownZoneError as error:
            raise ToldError(str(error), 'Name an IANA zone, such as "Europe/Vienna".') from error
    numbers = weeks_between(first, last or first, now_ms)
    reach = reach_of(*numbers, load_model(model or live.model.file), live, now_ms)
    source = files_in(files, live, now_ms) if files else Topics(live)
    as_of_ms = int(directory_as_of.replace(tzinfo=UTC).timestamp() * 1000) if directory_as_of else 0
    work = steps.Run(
        live, name, reach, source, logs, clock, model=model or "", cut_points=cut_points, time_zone=time_zone or "",
        directory_as_of_ms=as_of_ms, workers=workers,
    )  # fmt: skip
    total = work.prepare()
    _ask(work, yes=yes)
    record = work.record
    since = f"that arrived since {_date(record.read_from_ms)}" if record.read_from_ms else "there are"
    console.print(
        f"{record.first_week} to {record.last_week} in the namespace {name}, from the {total:,} messages {since} "
        f"({record.source}); logs in {logs.resolve()}",
        soft_wrap=True,
    )
    with progress("messages copied and read") as tell:
        record = work.compute(total, tell)
    if record.late:
        console.print(
            f"{record.late:,} events were late even here: dedupe.max_ids is reached. Raise it and begin anew, "
            "or take fewer weeks.", soft_wrap=True,
        )  # fmt: skip
    console.print(
        f"Done in {time.monotonic() - began:.0f} s. Next: orgpulse compare {name}; then orgpulse backfill drop {name}",
        soft_wrap=True,
    )


@backfill.command("save")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.pass_obj
def save(settings: Settings, folder: Path) -> None:
    """Write the raw topics and the directory to compressed files in DIR; goes on where the last run ended.

    So history outlives Kafka's retention: run it more often than that, from cron. Files are JSON lines with a checksum
    in DIR/manifest.json; `orgpulse backfill NAME --files DIR` reads them.

    \b
    Example:
      orgpulse backfill save /archive/raw
    """
    live = with_generation(settings, patience_seconds=_PATIENCE_SECONDS)
    with progress("records saved") as tell:
        work = Save(live, folder, tell)
        manifest = asyncio.run(work.run())
    for line in work.holes:
        click.echo(f"A hole: {line}.")
    table = Table("source", "new", "kept", "oldest", "newest")
    for source, number in work.records.items():
        segments = [segment for _, segment in manifest.segments(source)]
        ends = (
            [_date(min(s.oldest_ms for s in segments)), _date(max(s.newest_ms for s in segments))] if segments else []
        )
        table.add_row(source, f"{number:,}", f"{sum(s.records for s in segments):,}", *ends)
    Console().print(table)


@backfill.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the namespaces."""
    live = with_generation(settings, patience_seconds=_PATIENCE_SECONDS)
    table = Table("name", "weeks", "state", "from", "messages", "cut points", "begun")
    for name in asyncio.run(names_of(live)):
        found = asyncio.run(backfill_of(namespace_of(live, name)))
        if found is None:  # deleted meanwhile
            continue
        state = found.state if found.state == "done" or _is_computed(live, name) else "cut off"
        count = sum(sum(days.values()) for days in found.messages.values())
        weeks = f"{found.first_week} to {found.last_week}" if found.first_week else ""
        table.add_row(name, weeks, state, found.source, f"{count:,}", found.cut_points, found.begun)
    if table.row_count:
        Console().print(table)
    else:
        click.echo("There are none.")


@backfill.command("drop")
@click.argument("name")
@click.pass_obj
def drop_(settings: Settings, name: str) -> None:
    """Delete everything of the namespace NAME."""
    live = with_generation(settings, patience_seconds=_PATIENCE_SECONDS)
    space = namespace_of(live, name)
    if name not in (names := asyncio.run(names_of(live))):
        raise ToldError(f'there is no backfill "{name}"', f"There are: {', '.join(names) or 'none'}.")
    if _is_computed(live, name):
        raise ToldError(f'the backfill "{name}" is being computed', "End it first (Ctrl-C), or wait for its end.")
    click.echo(f"{len(drop(space))} topics deleted.")


def _is_computed(live: Settings, name: str) -> bool:
    """Say whether workers run in the namespace."""
    group, deadline = group_of(namespace_of(live, name)), time.monotonic() + _COORDINATOR_SECONDS
    with connected_admin(live, wait_seconds=10.0) as admin:
        while (members := members_of_group(admin, group)) == NOBODY_CAN_TELL and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
    return bool(members)


def _ask(work: steps.Run, *, yes: bool) -> None:
    """Say what can't be computed any more, and ask whether to go on."""
    for source, number in work.record.gone.items():
        click.echo(f"The first {number} messages of {source} are gone: what they led to may be missing.")
    if work.record.gone and not yes:
        click.confirm("Go on without them?", abort=True)


def _date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
