"""The command `orgpulse latency`: maps of the week in the terminal, as pictures, as tables, and on a wall.

Owns the options and in which order things are done. Invariant: it only reads from Redis.
"""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from agents.cli_errors import ToldError
from agents.latency_data import Shown, gather
from agents.latency_options import SECTIONS, SectionedCommand, with_options
from agents.latency_output import Files, document_of, heading, svg_of, terminal_of, write_files
from agents.latency_request import Wish, usage, wish_of
from agents.latency_wall import Picture, file_name, pages, repeat, write_pages
from reports.whole_file import put
from streams.clock import Clock, WallClock
from streams.reader import ALL, Reader
from streams.redis_access import reader_of
from streams.settings import Settings


@dataclass(frozen=True)
class Outlet:
    """Where the outcome goes."""

    files: Files
    wall: Path | None
    as_json: bool
    terminal: bool
    counts: bool
    every_seconds: float | None


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.argument("orgs", nargs=-1, metavar="[ORG]...")
@with_options
@click.pass_obj
def latency(settings: Settings, /, orgs: tuple[str, ...], **options: Any) -> None:
    """Show how long replies take, by the hour of the week in which the question was asked.

    ORG "all" (the default) is every org together. Without options the last months are shown, as they are kept ready
    in Redis; a wall takes several orgs. docs/latency.md has examples.
    """
    wish = wish_of(options)
    outlet = _outlet(options)
    wanted = orgs or (ALL,)
    if len(wanted) > 1 and outlet.wall is None:
        raise usage(f"{len(wanted)} orgs given: only a wall shows several", "Name one, or give --wall DIR")
    with reader_of(settings.redis) as reader:
        _Run(reader, settings, wanted, wish, outlet, WallClock()).start()


def _outlet(options: dict[str, Any]) -> Outlet:
    files = Files(options["svg"], options["png"], options["csv"])
    written = bool(files.paths) or options["wall"] is not None
    if options["every"] is not None and not written:
        raise usage("--every makes files anew, but none is named", "Add --svg, --png, --csv or --wall")
    for path in files.paths:
        if not path.parent.is_dir():
            raise usage(f"{path}: there is no folder {path.parent}", f"mkdir -p {path.parent}")
    terminal = options["terminal"] or not (written or options["as_json"])
    return Outlet(files, options["wall"], options["as_json"], terminal, options["counts"], options["every"])


class _Run:
    """One run of the command."""

    def __init__(
        self, reader: Reader, settings: Settings, orgs: tuple[str, ...], wish: Wish, outlet: Outlet, clock: Clock
    ) -> None:
        self._reader, self._settings, self._orgs = reader, settings, orgs
        self._wish, self._outlet, self._clock = wish, outlet, clock
        self._pictures: dict[str, Picture] = {}
        self._drawn_seconds: float | None = None

    def start(self) -> None:
        """Show and write once, or until it is stopped."""
        outlet = self._outlet
        if outlet.wall is not None:
            outlet.wall.mkdir(parents=True, exist_ok=True)
        if outlet.every_seconds is None:
            self.make()
            for path in [*outlet.files.paths, *([outlet.wall / "index.html"] if outlet.wall else [])]:
                click.echo(f"{path} written", err=outlet.as_json)
            return
        stop = threading.Event()
        former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in former:
                signal.signal(number, lambda *_: stop.set())
            click.echo(f"writing every {outlet.every_seconds:.0f} s; Ctrl-C ends it", err=True)
            repeat(self.make, outlet.every_seconds, stop, partial(_say, self._clock), self.tell_wall)
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def make(self) -> None:
        """Read, and hand out the outcome."""
        troubles = []
        for org in self._orgs:
            try:
                shown = gather(self._reader, org, self._wish, self._settings.latency, self._clock.now())
            except ToldError as error:
                if len(self._orgs) == 1:
                    raise
                troubles.append(error)
                continue
            self._hand_out(org, shown)
        if self._outlet.wall is not None:
            self._drawn_seconds = self._clock.now()
            self.tell_wall("; ".join(error.message for error in troubles))
        if len(troubles) == len(self._orgs):
            raise troubles[0]

    def tell_wall(self, trouble: str) -> None:
        """Write the pages of the wall, with what is the trouble, if anything."""
        if self._outlet.wall is None:
            return
        every = self._outlet.every_seconds or 60.0
        shown = [self._pictures[org] for org in self._orgs if org in self._pictures]
        write_pages(self._outlet.wall, pages(shown, every, self._drawn_seconds, trouble))

    def _hand_out(self, org: str, shown: Shown) -> None:
        outlet = self._outlet
        write_files(shown, outlet.files, counts=outlet.counts)
        if outlet.wall is not None:
            picture = svg_of(shown, counts=outlet.counts)
            put(outlet.wall / file_name(org), picture.encode())
            self._pictures[org] = Picture.of(org, heading(shown), picture)
        if outlet.as_json:
            click.echo(json.dumps(document_of(shown)))
        if outlet.terminal:
            Console(highlight=False).print(terminal_of(shown, counts=outlet.counts))


def _say(clock: Clock, text: str) -> None:
    from datetime import UTC, datetime

    click.echo(f"{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%d %H:%M:%S} UTC: {text}", err=True)
