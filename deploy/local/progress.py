"""Progress on standard error: a bar on a terminal, a few lines anywhere else.

Invariant: standard output stays the program's own.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LINE_EVERY_SECONDS = 2.0


class Progress(Protocol):
    """Something that wants to hear how far a task is."""

    def advance(self, amount: int, what: str) -> None:
        """Note that *amount* more bytes are done, the last of them *what*."""


class _Lines:
    def __init__(self, label: str, total: int) -> None:
        self._label, self._total, self._done = label, total, 0
        self._last_line_at = time.monotonic()
        print(f"{label} …", file=sys.stderr, flush=True)

    def advance(self, amount: int, what: str) -> None:
        self._done += amount
        now = time.monotonic()
        if self._done >= self._total or now - self._last_line_at >= LINE_EVERY_SECONDS:
            self._last_line_at = now
            print(f"{self._label}: {100 * self._done // self._total} %", file=sys.stderr, flush=True)


@contextlib.contextmanager
def show_progress(label: str, total_bytes: int) -> Iterator[Progress]:
    """Show *label* and how much of *total_bytes* is done."""
    if not sys.stderr.isatty():
        yield _Lines(label, total_bytes)
        return
    with _bar() as bar:
        task = bar.add_task(label, total=total_bytes)

        class _Bar:
            def advance(self, amount: int, what: str) -> None:
                bar.advance(task, amount)

        yield _Bar()


def _bar() -> RichProgress:
    """Build rich's bar; imported here, so that the many starts with nothing to fetch do not pay for it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return RichProgress(*columns, console=Console(stderr=True))
