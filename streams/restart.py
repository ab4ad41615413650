"""Owns what follows a worker's failure: its end, or the same command line run again in the same process.

Invariant: what an operator has to resolve is never tried again by itself; anything else is, with fresh memory and
after pauses that double up to a limit, and every time is counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from streams.clock import Clock
from streams.errors import StartAnewError
from streams.metrics import Metrics
from streams.redaction import cover

OPTION = "--started-anew"
"""What a restart adds to the command line: the worker's life so far. No person needs it."""
FIRST_PAUSE_SECONDS = 1.0
GOOD_WHILE_SECONDS = 60.0
"""A worker that ran for this long has left the failures before behind: its next pause is the first one again."""
LONGEST_REASON_CHARS = 300
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger(__name__)


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker that starts anew knows of its former lives."""

    restarts: int = 0
    """Since the process was started from outside."""
    in_a_row: int = 0
    """Failures since it last ran for a good while."""
    pause_seconds: float = 0.0
    """How long to wait before beginning."""
    reason: str = ""
    """What ended the last life; empty in the first one."""
    kind: str = ""
    """Name of the error's class."""
    ended_at: float = 0.0
    """When, seconds since 1970-01-01 UTC."""


def needs_operator(error: BaseException) -> bool:
    """Say whether a restart cannot help: errors that a person has to resolve carry a `remedy`."""
    return isinstance(getattr(error, "remedy", None), str)


def life_of(argv: Sequence[str]) -> Life:
    """Return the life that a command line carries; a first one when it carries none.

    >>> life_of(["orgpulse", "worker"]).restarts
    0
    """
    for argument in argv:
        if argument.startswith(f"{OPTION}="):
            return msgspec.json.decode(argument.partition("=")[2].encode(), type=Life)
    return Life()


def next_life(life: Life, error: BaseException, ran_seconds: float, longest_pause_seconds: float, now: float) -> Life:
    """Return the life that begins after *error* ended one that had run for *ran_seconds*.

    >>> first = next_life(Life(), ValueError("no"), 5.0, 30.0, 0.0)
    >>> second = next_life(first, ValueError("no"), 5.0, 30.0, 0.0)
    >>> first.pause_seconds, second.pause_seconds, second.restarts, second.reason
    (1.0, 2.0, 2, 'ValueError: no')
    >>> next_life(second, ValueError("no"), 60.0, 30.0, 0.0).pause_seconds
    1.0
    """
    kind, ran_well = type(error).__name__, ran_seconds >= GOOD_WHILE_SECONDS
    # Twice in a row means that what was built on now is not there either: then it waits like any other.
    at_once = isinstance(error, StartAnewError) and (ran_well or life.kind != kind)
    in_a_row = (0 if ran_well else life.in_a_row) + (not at_once)
    pause = 0.0 if at_once else min(longest_pause_seconds, FIRST_PAUSE_SECONDS * 2.0 ** min(in_a_row - 1, 20))
    reason = cover(f"{kind}: {error}")[:LONGEST_REASON_CHARS]
    return Life(
        restarts=life.restarts + 1, in_a_row=in_a_row, pause_seconds=pause, reason=reason, kind=kind, ended_at=now
    )


class Restarts:
    """Decides, at a worker's failure, what follows, and is the service that waits before a new life begins."""

    def __init__(self, clock: Clock, longest_pause_seconds: float, metrics: Metrics | None = None) -> None:
        """Read the former life from this process's command line."""
        self.life = life_of(sys.orig_argv)
        self._clock, self._longest_pause_seconds = clock, longest_pause_seconds
        self._began = time.monotonic()
        self._paused = self.life.pause_seconds > 0
        if metrics is not None:
            metrics.restarts.add(self.life.restarts)

    async def start(self) -> None:
        """Wait for as long as the former life's failure asks for."""
        life = self.life
        if life.restarts:
            _log.warning("started anew", restarts=life.restarts, reason=life.reason, pause_seconds=life.pause_seconds)
        await asyncio.sleep(life.pause_seconds)
        self._paused = False
        self._began = time.monotonic()

    async def stop(self) -> None:
        """Nothing to end."""

    def check(self) -> tuple[str, bool, str]:
        """Return what being ready has to say: not before the pause is over."""
        life = self.life
        if not life.restarts:
            return "restarts", True, "none"
        ended = datetime.fromtimestamp(life.ended_at, UTC).isoformat(timespec="seconds")
        last = f"{life.restarts}, the last at {ended} after {life.reason}"
        return "restarts", not self._paused, f"{last}; pauses for {life.pause_seconds:g} s" if self._paused else last

    def after(self, error: BaseException) -> Life | None:
        """Return the life to begin after *error*, or None when the process has to end."""
        if needs_operator(error):
            return None
        ran_seconds = 0.0 if self._paused else time.monotonic() - self._began
        return next_life(self.life, error, ran_seconds, self._longest_pause_seconds, self._clock.now())

    def begin(self, life: Life) -> None:
        """Run the same command line again in this process; does not return.

        Signals that ask for the end wait, from here on, until the new life listens for them.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        os.execv(sys.executable, again(sys.orig_argv, life))


def again(argv: Sequence[str], life: Life) -> list[str]:
    """Return the command line of the next life.

    >>> again(["python3", "-m", "job", "--started-anew={}"], Life())[:3]
    ['python3', '-m', 'job']
    """
    kept = [argument for argument in argv if not argument.startswith(f"{OPTION}=")]
    return [*kept, f"{OPTION}={msgspec.json.encode(life).decode()}"]


def listen_for_stop() -> None:
    """Let signals through that a restart held back; called once somebody listens for them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
