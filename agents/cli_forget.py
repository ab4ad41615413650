"""Owns `orgpulse forget`: somebody is removed from everything, and a receipt says what was done.

Invariant: nothing is removed before somebody has agreed, and the exit code is 0 only if nothing is left but what the
receipt excuses.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.cli_errors import EXIT_FAILED, EXIT_USAGE, ToldError
from agents.cli_progress import progress
from agents.directory import read_directory
from agents.forget_names import Names, names_of, with_raw_names
from agents.forget_receipt import Receipt, json_of, read_receipt, write_receipt
from agents.forget_remove import Removal, read_list, take_off_list, unexcused
from agents.forget_search import PARQUET, POSTGRES, Search, search
from state.week import iso_time
from streams.clock import WallClock
from streams.generation import with_generation
from streams.pseudonyms import called_by
from streams.settings import Settings
from streams.suppression import Suppression, suppression_of

_EPILOG = """\b
Examples:
  orgpulse forget ann@example.org --dry-run          where anything of them is
  orgpulse forget 8812 --receipt ann.json            asks, then forgets user 8812 under all their aliases
  orgpulse forget --verify ann.json                  reads everything raw: is anything left?
  orgpulse forget --again ann.json                   after workers were away
  orgpulse forget --lift ann@example.org             let messages under this name in again
"""


@click.command("forget", epilog=_EPILOG)
@click.argument("user", required=False)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--all-orgs", is_flag=True, help="Forget a name that the directory doesn't know in every org it is in.")
@click.option(
    "--receipt", "receipt_file", type=click.Path(path_type=Path, dir_okay=False), show_default="forgotten-TIME.json",
    help="Where the receipt goes.",
)  # fmt: skip
@click.option(
    "--sink", "sinks", type=click.Choice([POSTGRES, PARQUET]), multiple=True,
    help="Also look into this sink's store ([sink] settings), and delete rows in PostgreSQL.",
)  # fmt: skip
@click.option(
    "--wait-seconds", type=click.FloatRange(0, 3600), default=120.0, show_default=True, help="Patience with workers."
)
@click.option(
    "--verify", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="RECEIPT",
    help="Search everything for the person of a receipt; remove nothing.",
)  # fmt: skip
@click.option(
    "--again", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="RECEIPT",
    help="Remove the person of a receipt once more; the receipt is written anew.",
)  # fmt: skip
@click.option("--lift", metavar="NAME", help="Take a name off the list; what is gone stays gone.")
@click.option("--json", "as_json_", is_flag=True, help="Print the receipt, or what was found, as JSON.")
@click.pass_obj
def forget(
    settings: Settings, user: str | None, yes: bool, dry_run: bool, all_orgs: bool, receipt_file: Path | None,
    sinks: tuple[str, ...], wait_seconds: float, verify: Path | None, again: Path | None, lift: str | None,
    as_json_: bool,
) -> None:  # fmt: skip
    """Remove USER (a user id, or any alias) from everything that orgpulse keeps, and keep them out.

    Goes: state and checkpoints, directory entry and links, scores, weeks, what waits, alerts and dead letters that name
    them, Redis, rows in PostgreSQL; a list of keyed hashes keeps later messages, replays and rebuilds from bringing
    them back. Stays: what their org did as numbers of nobody, and raw messages until the broker's retention ends; the
    receipt says what and until when. It can't be undone. Workers must run: they remove their part.
    """
    if sum(each is not None for each in (user, verify, again, lift)) != 1:
        said = "one of USER, --verify, --again and --lift is wanted"
        raise ToldError(said, "See `orgpulse forget --help`.", EXIT_USAGE)
    settings = with_generation(settings, patience_seconds=0)
    if verify is not None:
        _verify(settings, _read(verify), sinks, as_json=as_json_)
        return
    suppressed = _list_of(settings)
    if lift is not None:
        lifted = {lift, called_by(settings)(lift)}
        number = asyncio.run(take_off_list(settings, suppressed, lifted))
        click.echo(f"{number} names taken off the list" if number else "that name is not on the list")
        return
    now = WallClock().now()
    if again is not None:
        former = _read(again)
        names = Names(former.user, tuple(former.aliases), orgs=tuple(former.orgs))
        receipt_file = receipt_file or again
    else:
        assert user is not None
        names = names_of(asyncio.run(read_directory(settings)), user, called_by(settings))
        names = asyncio.run(with_raw_names(settings, names, user))
    found = _search(settings, names, sinks)
    _check(names, found, all_orgs=all_orgs or again is not None)
    if dry_run or not yes:
        _show_found(names, found, as_json=as_json_)
    if dry_run:
        return
    if not yes:
        click.confirm("Remove all of this, for good?", abort=True)
    receipt = Receipt(names.user, sorted(names.all), iso_time(round(now * 1000)), settings.worker.generation, [])
    path = receipt_file or Path(f"forgotten-{re.sub(r'[^0-9TZ]', '', receipt.at)}.json")
    write_receipt(receipt, path)  # what is under way can be done again, whatever happens
    removal = Removal(settings, names, receipt, suppressed, WallClock().now, lambda line: click.echo(line, err=True))
    with progress("offsets of all topics searched") as tell:
        asyncio.run(removal.run(found, wait_seconds, sinks, tell))
    write_receipt(receipt, path)
    _tell(receipt, path, as_json=as_json_)
    if receipt.problems:
        sys.exit(EXIT_FAILED)


def _read(path: Path) -> Receipt:
    try:
        return read_receipt(path)
    except ValueError as error:
        raise ToldError(f"{path} is no receipt: {error}", "It is what `orgpulse forget` has written.") from None


def _list_of(settings: Settings) -> Suppression:
    """Return the list of those who are kept out, read.

    Raises:
        ToldError: If there is no key for it.
    """
    suppressed = suppression_of(settings)
    if not suppressed.check:
        raise ToldError(
            "there is no key for the list of forgotten people",
            "Make one, (umask 077; openssl rand -hex 32 > suppression.key), and name it in [privacy] "
            "suppression_key_file of all workers, sinks and this command.",
            EXIT_USAGE,
        )
    asyncio.run(read_list(settings, suppressed))
    return suppressed


def _search(settings: Settings, names: Names, sinks: tuple[str, ...]) -> Search:
    with progress("offsets of all topics searched") as tell:
        return asyncio.run(search(settings, names, tell, sinks=sinks))


def _check(names: Names, found: Search, *, all_orgs: bool) -> None:
    """Refuse what may be a slip: a name that several people may have, or that nobody has."""
    if not found.traces:
        raise ToldError(f'nothing is found of "{names.user}"', "`orgpulse identity show` says what leads to whom.")
    orgs = ", ".join(sorted(found.orgs))
    if not names.known and len(found.orgs) > 1 and not all_orgs:
        raise ToldError(
            f'"{names.user}" is nobody of the directory and is in {len(found.orgs)} orgs ({orgs})',
            "They may be different people: --all-orgs forgets all of them.",
        )


def _show_found(names: Names, found: Search, *, as_json: bool) -> None:
    orgs = sorted({*found.orgs, *names.orgs})
    if as_json:
        click.echo(as_json_of(names, found, orgs))
        return
    console = Console(highlight=False)
    console.print(Text(f"{names.user} in {', '.join(orgs) or 'no org'}", style="bold"))
    console.print(Text(f"names: {', '.join(sorted(names.all))}"))
    table = Table(box=None, pad_edge=False)
    table.add_column("place")
    table.add_column("records", justify="right")
    for place, number in sorted(found.by_place.items()):
        table.add_row(Text(place), str(number))
    console.print(table)
    for problem in found.problems:
        console.print(Text(problem, style="red"))


def as_json_of(names: Names, found: Search, orgs: list[str]) -> str:
    """Return what a search found, as JSON."""
    return json_of(
        {
            "user": names.user, "aliases": sorted(names.all), "orgs": orgs, "found": found.by_place,
            "searched": found.searched, "problems": found.problems,
        }
    )  # fmt: skip


def _verify(settings: Settings, receipt: Receipt, sinks: tuple[str, ...], *, as_json: bool) -> None:
    """Search for the person of *receipt*; say what is left, and end with 1 if something is that should not be."""
    names, now = Names(receipt.user, tuple(receipt.aliases)), WallClock().now()
    found = _search(settings, names, sinks)
    problems = [*found.problems, *unexcused(receipt, found.traces, now)]
    excused = sorted({trace.place for trace in found.traces if trace.partition >= 0})
    if as_json:
        click.echo(as_json_of(names, found, receipt.orgs))
    else:
        partitions, records = len(found.searched), sum(each.records for each in found.searched)
        click.echo(f"{partitions} partitions and stores read raw, {records} records")
        for each in receipt.remains:
            number = found.by_place.get(each.place, 0)
            if number and each.place in excused:
                click.echo(f"{each.place}: {number} left, until {iso_time(round(each.until * 1000))}: {each.why}")
        click.echo("nothing else is left" if not problems else "")
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(EXIT_FAILED)


def _tell(receipt: Receipt, path: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json_of(receipt))
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("removed from")
    table.add_column("records", justify="right")
    for place, number in receipt.removed.items():
        table.add_row(Text(place), str(number))
    console.print(table)
    table = Table(box=None, pad_edge=False)
    for heading in ("remains in", "until", "why"):
        table.add_column(heading)
    for each in receipt.remains:
        until = "as long as they are sent" if not each.until else iso_time(round(each.until * 1000))
        table.add_row(Text(each.place), until, each.why)
    console.print(table)
    searched = sum(each.records for each in receipt.searched)
    console.print(f"{len(receipt.searched)} partitions and stores searched, {searched} records; receipt: {path}")
    for problem in receipt.problems:
        click.echo(problem, err=True)
