"""Owns `orgpulse rebuild`: the command around `agents.rebuild`.

Invariant: it asks before it goes on without messages that the sources no longer have.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents import rebuild as steps
from agents.cli_errors import EXIT_FAILED
from agents.workers_aside import Progress as SoFar
from streams.clock import WallClock
from streams.settings import Settings

_EVERY = 10  # of the looks at the workers aside, without a terminal


@click.command()
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Workers that compute aside.")
@click.option(
    "--logs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Where these workers write their logs.",
)
@click.option(
    "--history-weeks",
    type=click.IntRange(1, 100),
    help="How far back the events in the sources reach, if they were imported later than they happened.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--afresh", is_flag=True, help="Throw away what an interrupted rebuild has computed, and begin again.")
@click.option(
    "--drop-old", is_flag=True, help="Only delete the topics of former generations, once the present one is good."
)
@click.pass_obj
def rebuild(
    settings: Settings, workers: int, logs: Path, history_weeks: int | None, yes: bool, afresh: bool, drop_old: bool
) -> None:
    """Compute everything anew from the source topics, and swap.

    For state that is damaged, that belongs to other topics than there are, or that another health
    model can't read. Workers of the present generation may go on meanwhile, or be stopped. Aside, workers
    of a new generation read the sources from their beginning into logs and tables of their own; Redis and
    the topics for everybody stay as they are. Once they have caught up, the new generation takes over: workers
    start anew by themselves ([worker] restart), and `scores`, `weeks` and Redis say what was computed.

    The sources are read side by side, so the workers aside allow events to be late by as much as the sources reach
    back; that takes memory (dedupe.max_ids is its limit). What the sources no longer have is not computed: how long
    they keep messages is up to you. Alerts of the past are not told again; those that are open stay so, and mutes
    are kept. A run that was interrupted goes on where it was when it is started again; --afresh begins from nothing,
    for one that can't go on.

    \b
    Examples:
      orgpulse rebuild --workers 2
      orgpulse rebuild --drop-old
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))  # workers aside end, and those who wait go on
    console = Console()
    work = steps.Rebuild(settings, WallClock(), logs, workers=workers, history_weeks=history_weeks or 0)
    if drop_old:
        gone = work.drop_old()
        console.print(f"{len(gone)} topics deleted." if gone else "There is nothing of a former generation.")
        return
    _ask(work, yes=yes)
    if afresh:
        console.print(f"{len(work.afresh())} topics of an interrupted rebuild deleted.")
    logs.mkdir(parents=True, exist_ok=True)
    console.print(f"Events up to {work.lateness_hours / 168:.1f} weeks old count; older ones are late.")
    console.print(f"Generation {work.number} is computed aside; logs in {logs.resolve()}", soft_wrap=True)
    _compute(work, console)
    console.print(f"Generation {work.number} takes over; workers of the former one have ended and wait.")
    for line in work.swap():
        console.print(f"  {line}", soft_wrap=True)
    console.print(
        f"Generation {work.number} is live. Workers begin in it by themselves; if none runs: orgpulse worker. "
        "Once all is well: orgpulse rebuild --drop-old",
        soft_wrap=True,
    )


def _ask(work: steps.Rebuild, *, yes: bool) -> None:
    """Say what can't be computed any more, and ask whether to go on."""
    gone = work.truncated_sources()
    for topic, number in gone.items():
        click.echo(f"The first {number} messages of {topic} are gone: what they led to will be missing.")
    if gone and not yes:
        click.confirm("Go on without them?", abort=True)


def _compute(work: steps.Rebuild, console: Console) -> None:
    """Compute aside, with a bar on a terminal and a line now and then elsewhere."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("messages", total=None)
            work.compute(lambda so_far: bar.update(task, completed=so_far.read, total=so_far.read + so_far.unread))
        return
    looks = 0

    def say(so_far: SoFar) -> None:
        nonlocal looks
        if looks % _EVERY == 0:
            click.echo(f"{so_far.read} messages read, {so_far.unread} to read")
        looks += 1

    work.compute(say)
