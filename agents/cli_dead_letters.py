"""Owns `orgpulse dead-letters`: options, tables and questions; reading and sending are in `streams`.

Invariant: no byte of a message reaches the terminal as a control character, and nothing is sent that was not chosen.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.cli_errors import EXIT_FAILED, EXIT_USAGE, ToldError
from agents.letter_text import safe, shown
from streams.clock import WallClock
from streams.letters import Address, GoneError, Letter, Note, bytes_of, letter_at, records_of
from streams.replay import Fix, RefusedError, Tally, end_former_replay, replay, replayed_in
from streams.settings import Settings

HANDFUL = 5
"""More letters than these are sent again only after a question."""
MOST_CHOSEN = 200_000
"""Most letters of one replay: their addresses are held in memory."""
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; empty = any."""

    topic: str | None
    reason: str | None
    since: float

    def takes(self, letter: Letter) -> bool:
        """Say whether *letter* is meant."""
        return self.topic in (None, letter.topic) and self.reason in (None, letter.reason) and letter.time >= self.since


def _since(_: Any, __: Any, text: str | None) -> float:
    if not text:
        return 0.0
    if found := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return WallClock().now() - int(found[1]) * _UNITS[found[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter('wanted is an age ("90m", "6h", "2d") or a time ("2026-05-01T12:00")') from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _address(text: str) -> Address:
    if not (found := re.fullmatch(r"(\d{1,9}):(\d{1,18})", text)):
        raise ToldError(f'"{safe(text)}" is no address', "An address is partition:offset; see list.", EXIT_USAGE)
    return Address(int(found[1]), int(found[2]))


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--since", callback=_since, metavar="WHEN", help="Only newer ones: 90m, 6h, 2d, or a time (UTC)."),
        click.option("--reason", help="Only those with this reason, such as bad_time."),
        click.option("--topic", help="Only those of this source (its name without prefix)."),
    ):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """Show messages that can't be used, and send them again.

    Every such message is kept with its bytes and the reason. Each has an address, partition:offset.

    \b
    Examples:
      orgpulse dead-letters list --since 1d
      orgpulse dead-letters show 3:17
      orgpulse dead-letters replay 3:17 --set 'currency="EUR"'
    """


@dead_letters.command("list")
@_filters
@click.option("--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="So many of the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(
    settings: Settings, topic: str | None, reason: str | None, since: float, limit: int, as_json: bool
) -> None:
    """Count the letters by topic and reason, and list the newest."""
    asyncio.run(_list(settings, Filter(topic, reason, since), limit, as_json))


async def _list(settings: Settings, wanted: Filter, limit: int, as_json: bool) -> None:
    noted = await replayed_in(settings)
    counts: Counter[tuple[str, str]] = Counter()
    again: Counter[tuple[str, str]] = Counter()
    newest: list[tuple[float, Address, Letter]] = []
    foreign = 0
    async for address, found in records_of(settings):
        foreign += found is None
        if not isinstance(found, Letter) or not wanted.takes(found):
            continue
        kind = (found.topic, found.reason)
        counts[kind] += 1
        again[kind] += address in noted
        entry = (found.time, address, msgspec.structs.replace(found, key=None, value=None))
        if len(newest) < limit:
            heappush(newest, entry)
        elif limit:
            heappushpop(newest, entry)
    newest.sort(key=lambda entry: entry[:2], reverse=True)
    kinds = [(*kind, number, again[kind]) for kind, number in counts.most_common()]
    rows = [
        (str(at), _when(one.time), one.topic, one.reason, one.detail, at in noted) for _, at, one in newest
    ]  # fmt: skip
    if as_json:
        heads = ("address", "time", "topic", "reason", "detail", "replayed")
        _say_json(
            {
                "counts": [dict(zip(("topic", "reason", "letters", "replayed"), k, strict=True)) for k in kinds],
                "letters": [dict(zip(heads, row, strict=True)) for row in rows],
                "foreign": foreign,
            }
        )
        return
    console = Console(highlight=False)
    if not kinds:
        console.print("There are no such dead letters.")
    else:
        _table(console, ("topic", "reason", "letters", "replayed"), kinds)
        console.print()
        heads = ("address", "time (UTC)", "topic", "reason", "detail", "")
        _table(console, heads, [(*row[:5], "replayed" if row[5] else "") for row in rows])
    if foreign:
        console.print(f"{foreign} records of the topic are no letters: somebody else wrote them.")


@dead_letters.command()
@click.argument("address")
@click.pass_obj
def show(settings: Settings, address: str) -> None:
    """Show the letter at ADDRESS with its message; what was cut is read from the source while it is there."""
    asyncio.run(_show(settings, _address(address)))


async def _show(settings: Settings, address: Address) -> None:
    letter = await letter_at(settings, address)
    if letter is None:
        raise ToldError(f"there is no letter at {address}", "`orgpulse dead-letters list` shows the addresses.")
    note = "yes" if address in await replayed_in(settings) else "no"
    key, value, origin = letter.key, letter.value, "the letter"
    if not letter.is_whole:
        try:
            key, value = await bytes_of(settings, letter)
            origin = "the source topic"
        except GoneError as error:
            origin = f"the letter; not whole: {error}"
    lines = {
        "address": str(address), "reason": letter.reason, "detail": letter.detail, "time": _when(letter.time),
        "source": f"{letter.topic}/{letter.partition} at {letter.offset}", "replayed": note,
        "bytes from": origin, "key": "none" if key is None else shown(key),
    }  # fmt: skip
    for name, text in lines.items():
        click.echo(f"{name + ':':<12}{safe(text)}")
    click.echo("value:" if value is not None else "value:      none")
    if value is not None:
        click.echo(shown(value))


@dead_letters.command("replay")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@_filters
@click.option("--set", "changes", multiple=True, metavar="FIELD=JSON", help="Set a top-level field of JSON values.")
@click.option("--with", "replacement", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
              help="Send the content of FILE as the value; for a single letter.")  # fmt: skip
@click.option("--again", is_flag=True, help="Send those that were replayed before, too.")
@click.option("--dry-run", is_flag=True, help="Send nothing; say what would be sent.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def replay_command(
    settings: Settings, addresses: tuple[str, ...], topic: str | None, reason: str | None, since: float,
    changes: tuple[str, ...], replacement: Path | None, again: bool, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Send letters to their source topic again: those at the ADDRESSes, or those that the filters choose.

    A letter is replayed once, however often this runs; --again overrides that. A message that is as it was is
    refused again for the same reason: one that was too late is too late still. Letters of users and orgs are
    entries of the directory: an old one replaces a newer one of the same key.

    Exits with 1 if some could not be sent.
    """
    if bool(addresses) == bool(topic or reason or since):
        raise click.UsageError("name either addresses or filters (--topic, --reason, --since)")
    if replacement and changes:
        raise click.UsageError("--set and --with exclude each other")
    fix = _fix(changes, replacement)
    if not dry_run:
        asyncio.run(end_former_replay(settings))
    chosen = {_address(text) for text in addresses} or asyncio.run(_chosen(settings, Filter(topic, reason, since)))
    if replacement and len(chosen) != 1:
        raise click.UsageError(f"--with is for a single letter; {len(chosen)} are chosen")
    if len(chosen) > HANDFUL and not (yes or dry_run):
        click.confirm(f"Send {len(chosen)} letters again (those not replayed yet)?", abort=True, err=True)
    with click.progressbar(length=len(chosen), file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        run = replay(settings, chosen, fix, WallClock().now, again=again, dry=dry_run, progress=bar.update)
        tally = asyncio.run(run)
    _say_tally(tally, len(chosen), dry_run)


def _say_tally(tally: Tally, chosen: int, dry_run: bool) -> None:
    for address, why in tally.refusals:
        click.echo(f"{address} not sent: {safe(why)}", err=True)
    missing = chosen - tally.sent - tally.already - tally.refused
    verb = "would be sent" if dry_run else "sent"
    click.echo(f"{tally.sent} {verb}, {tally.already} replayed before, {tally.refused} refused, {missing} not found")
    if tally.refused or missing:
        raise click.exceptions.Exit(EXIT_FAILED)


async def _chosen(settings: Settings, wanted: Filter) -> set[Address]:
    found = set()
    async for address, letter in _letters(settings):
        if wanted.takes(letter):
            found.add(address)
            if len(found) > MOST_CHOSEN:
                raise ToldError(f"more than {MOST_CHOSEN} letters are chosen", "Narrow it with --since or --reason.")
    return found


async def _letters(settings: Settings) -> AsyncIterator[tuple[Address, Letter]]:
    async for address, found in records_of(settings):
        if found is not None and not isinstance(found, Note):
            yield address, found


def _fix(changes: tuple[str, ...], replacement: Path | None) -> Fix:
    """Return what makes a letter's value into the one that is sent; other fields keep every digit."""
    instead = replacement.read_bytes() if replacement else None
    fields: dict[str, msgspec.Raw] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        try:
            msgspec.json.decode(text.encode())
        except msgspec.DecodeError:
            equals = ""
        if not (name and equals):
            raise click.UsageError(f"--set wants FIELD=JSON, such as 'currency=\"EUR\"', not {safe(change)!r}")
        fields[name] = msgspec.Raw(text.encode())

    def fixed(value: bytes | None) -> bytes:
        if instead is not None:
            return instead
        if value is None:
            raise RefusedError("the message has no value; give one by --with")
        if not fields:
            return value
        try:
            return msgspec.json.encode({**msgspec.json.decode(value, type=dict[str, msgspec.Raw]), **fields})
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RefusedError("the value is no JSON object, so --set can't change it") from None

    return fixed


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _table(console: Console, heads: tuple[str, ...], rows: list[Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold" if head == "detail" else "ellipsis", no_wrap=head != "detail")
    for row in rows:
        table.add_row(*(Text(safe(str(cell)).replace("\n", " ")) for cell in row))
    console.print(table)


def _say_json(said: object) -> None:
    click.echo(json.dumps(said).replace("\x7f", "\\u007f"))
