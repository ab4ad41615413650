"""Owns how long work of a command shows how far it is.

Invariant: it goes to standard error, so that what a command says can be piped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SAY_EVERY = 20  # lines of progress where there is no terminal

Tell = Callable[[int, int], None]
"""Gets (done, to do in all)."""


@contextmanager
def progress(what: str) -> Iterator[Tell]:
    """Yield what is told of the progress: a bar on a terminal, lines elsewhere ("3 of 20 *what*")."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    said = -1

    def tell(done: int, total: int) -> None:
        nonlocal said
        step = done * _SAY_EVERY // max(total, 1)
        if step != said:
            said = step
            click.echo(f"{done} of {total} {what}", err=True)

    yield tell
