"""Owns the course of the demo: start, play, show until told to end, stop.

Invariant: however it ends, everything it started is stopped before `run` returns, and a second Ctrl-C meanwhile does
not cut that short.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import redis
from rich.console import Console
from rich.live import Live

from agents.demo_check import check, check_table, difference_lines, summary
from agents.demo_figures import Watch, read_page
from agents.demo_play import LAST_HOURS, Player
from agents.demo_screen import RISK_TITLE, View, WorkerLine, alert_table, log_line, most_at_risk, overall_map, screen
from agents.demo_system import DemoSystem, Servers
from agents.demo_workers import Crew
from agents.render import risk_table
from agents.simulate import make_base
from deploy.local.errors import LocalError
from streams.clock import WallClock
from streams.reader import Ranking, Reader
from streams.redis_access import reader_of
from streams.settings import Settings, redacted_url

READY_SECONDS, KNOWN_SECONDS, HISTORY_SECONDS, LAST_DAY_SECONDS = 60.0, 60.0, 240.0, 120.0
_HOUR_SECONDS = 1.0  # an hour of the last day, while somebody watches
_SCREEN_EVERY_SECONDS, _LINE_EVERY_SECONDS = 0.5, 5.0
_NEWS_SECONDS = 15.0
_ORGS_READ = 5_000
_ORGS_PRINTED = 12
_ALERTS_SHOWN = 12
_POLL_SECONDS = 0.1
_FONTS = re.compile(
    r"@font-face \{.*?\}\s*", re.DOTALL
)  # they would be fetched from a host; any monospace font will do
PICTURE_COLUMNS, PICTURE_LINES = 100, 38


@dataclass(frozen=True, slots=True)
class Play:
    """What is played."""

    orgs: int
    users: int
    weeks: int
    seed: int
    rate: float
    seconds: float
    """Of live messages; 0 means until interrupted."""


class DemoRun:
    """One run of the demo."""

    def __init__(self, settings: Settings, play: Play, servers: Servers, console: Console) -> None:
        """Prepare; nothing is started yet."""
        self.play, self.console = play, console
        self.base = make_base(play.seed, play.orgs, play.users)
        self.system, self._checked = DemoSystem(settings, servers), servers.checked
        self._watch = Watch()
        self._news = ("", 0.0)
        self.crew: Crew
        self.player: Player
        self.reader: Reader

    def run(self, then: Callable[[DemoRun], int]) -> int:
        """Start everything, call *then* when the history is played, stop everything; return the exit code."""
        code = 130
        with _told_to_end():
            try:
                self._start()
                code = then(self)
            except KeyboardInterrupt:
                pass  # Ctrl-C or SIGTERM: the ordinary end of a live demo, else 130
            finally:
                _ignore_signals()
                self._stop()
        return code

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show *what* is being done, and how long it took."""
        begin = time.monotonic()
        if self.console.is_terminal:
            self.console.print(f"[dim]  {what} …[/]", end="\r")
        yield
        self.console.print(f"[green]✓[/] {what}  [dim]{time.monotonic() - begin:.1f} s[/]", highlight=False)

    def look(self) -> View:
        """Return how everything is now; starts killed workers again.

        Raises:
            LocalError: If a part that can't be started again has ended.
        """
        for line in self.crew.look():
            self._news = (line, time.monotonic())
        self.check_parts()
        said, at = self._news
        settings, totals, alerts = self.system.settings, self.reader.totals(), self.reader.open_alerts()
        fallen = self.reader.orgs(alert.org for alert in alerts[:_ALERTS_SHOWN])
        return View(
            title=self._title(),
            figures=self._watch.look(self.crew.addresses),
            workers=[
                WorkerLine(worker.name, worker.pid, worker.url, read_page(worker.url + "/ready")[0] == 200)
                for worker in self.crew.workers
            ],
            brokers=settings.kafka.brokers,
            redis_url=redacted_url(settings.redis.url),
            directory=_short_path(self.system.directory),
            orgs=most_at_risk(self.reader.orgs_by_score(Ranking(_ORGS_READ))),
            alerts=list(zip(alerts, fallen, strict=False)),
            alerts_open=len(alerts),
            latency=self.reader.latency(),
            bands=totals.users_by_band if totals else {},
            news=said if time.monotonic() - at < _NEWS_SECONDS else "",
        )

    def check_parts(self) -> None:
        """Raise LocalError or SendError when a server or the player has ended."""
        self.system.check_servers()
        if self.player.failure is not None:
            raise self.player.failure

    def show(self) -> int:
        """Show everything until interrupted, or until the live messages end; returns 0."""
        try:
            if self.console.is_terminal:
                self._show_screen()
            else:
                self._show_lines()
        except KeyboardInterrupt:
            self.console.print("Stopping …")
        except redis.RedisError as error:
            raise LocalError(f"Redis does not answer any more: {error}", "orgpulse doctor") from error
        return 0

    def check(self) -> int:
        """Let the live messages end, check the results at rest, print them; returns 0 if all is equal, else 1."""
        with self.step(f"The last day hour by hour, and {self.play.seconds:g} s of live messages"):
            self.crew.wait(lambda: self._is(not self.player.is_alive()), "The live messages did not end",
                           LAST_DAY_SECONDS + self.play.seconds + READY_SECONDS)  # fmt: skip
        view = self.look()
        with self.step("At rest, recounted and compared"):
            checked = check(self.system.settings, self.crew)
        shown = self.look()
        self.console.print()
        self.console.print(alert_table(shown.alerts, shown.alerts_open))
        self.console.print()
        self.console.print(risk_table(shown.orgs[:_ORGS_PRINTED], RISK_TITLE))
        self.console.print()
        self.console.print(overall_map(view.latency))
        self.console.print()
        self.console.print(check_table(checked))
        for line in difference_lines(checked):
            self.console.print(line, style="red", markup=False)
        self.console.print(summary(checked), style="bold green" if checked.equal else "bold red")
        return 0 if checked.equal else 1

    def save_picture(self, path: Path) -> None:
        """Write the screen as it is now to *path*, as SVG."""
        with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=PICTURE_COLUMNS, height=PICTURE_LINES, file=nowhere,
                              force_terminal=True, color_system="truecolor")  # fmt: skip
            console.print(screen(self.look(), PICTURE_COLUMNS, PICTURE_LINES))
            picture = console.export_svg(title="orgpulse demo")
        path.write_text(_FONTS.sub("", picture), encoding="utf-8")

    def _start(self) -> None:
        play, clock = self.play, WallClock()
        self.crew = self.system.start(self.step)
        settings = self.system.settings
        self.console.print(f"  logs: {_short_path(self.system.directory)}", style="dim", highlight=False)
        self.reader = reader_of(settings.redis)
        self.player = Player(
            settings.kafka, settings.kafka.prefix, self.base, clock,
            weeks=play.weeks, hour_seconds=0.0 if self._checked else _HOUR_SECONDS, rate=play.rate,
            live_seconds=play.seconds, group=settings.kafka.application,
        )  # fmt: skip
        with self.step("Workers ready"):
            self.crew.wait(self.crew.are_ready, "The workers did not become ready", READY_SECONDS)
        self.console.print(f"  [bold]The page: {self.crew.addresses[0]}/[/]", highlight=False)
        with self.step(f"Directory: {play.orgs:,} orgs, {play.users:,} users"):
            self.player.start()
            self.crew.wait(
                lambda: self._is(self.player.directory_sent.is_set()) and self.crew.know(play.orgs, play.users),
                "The workers did not learn the directory", KNOWN_SECONDS,
            )  # fmt: skip
        with self.step(f"{play.weeks} weeks of history, but for the last day"):
            self.player.release()
            self.crew.wait(
                lambda: self._is(self.player.history_sent.is_set()), "The history was not sent", HISTORY_SECONDS
            )
        self.console.print(f"  {self.player.sent_history:,} messages", style="dim", highlight=False)

    def _is(self, condition: bool) -> bool:
        """Return *condition*, unless something that it waits for has ended."""
        self.check_parts()
        return condition

    def _show_screen(self) -> None:
        with Live(console=self.console, screen=True, auto_refresh=False) as live:
            while self.player.is_alive():
                begin = time.monotonic()
                live.update(screen(self.look(), self.console.width, self.console.height), refresh=True)
                time.sleep(max(_POLL_SECONDS, begin + _SCREEN_EVERY_SECONDS - time.monotonic()))

    def _show_lines(self) -> None:
        while self.player.is_alive():
            view = self.look()
            if view.news:
                self.console.out(view.news)
                self._news = ("", 0.0)
            self.console.out(log_line(view), highlight=False)
            end = time.monotonic() + _LINE_EVERY_SECONDS
            while self.player.is_alive() and time.monotonic() < end:
                time.sleep(_POLL_SECONDS)

    def _title(self) -> str:
        play, hours = self.play, self.player.hours_left
        played = f"{self.player.sent_live:,} live messages"
        if hours:
            played = f"hour {LAST_HOURS - hours + 1} of the last {LAST_HOURS}, then live"
        return f"{play.orgs:,} orgs, {play.users:,} users; {played}; Ctrl-C ends it"

    def _stop(self) -> None:
        if hasattr(self, "player"):
            self.player.stop()
        if hasattr(self, "reader"):
            self.reader.close()
        for trouble in self.system.stop():
            self.console.print(trouble, style="yellow", highlight=False)
        if self.system.directory != Path():
            self.console.print(f"Stopped; the logs are in {_short_path(self.system.directory)}", highlight=False)


def _short_path(path: Path) -> str:
    """Return *path* relative to the working directory where it lies inside."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Make SIGTERM end the run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
