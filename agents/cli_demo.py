"""Owns `orgpulse demo`: its options; the work is in the `demo_*` modules.

Invariant: exit code 0 means that the demo ran and, with `--once`, that its results were checked and equal.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from agents.demo_run import DemoRun, Play
from agents.demo_system import Servers
from agents.simulate_base import MIN_USERS
from streams.settings import Settings

ONCE_LIVE_SECONDS = 4.0
PLAIN_COLUMNS = 110  # where there is no terminal to ask


@click.command()
@click.option("--once", is_flag=True, help="Play, check the results against an independent recomputation, end.")
@click.option("--brokers", default="", metavar="HOST:PORT", help="Use this Kafka instead of an own one.")
@click.option("--redis", "redis_url", default="", metavar="URL", help="Use this Redis instead of an own one.")
@click.option("--keep", is_flag=True, help="Leave what was made on that Kafka and Redis.")
@click.option("--orgs", type=click.IntRange(3, 100_000), default=240, show_default=True)
@click.option("--users", type=click.IntRange(1, 10_000_000), default=3200, show_default=True)
@click.option("--weeks", type=click.IntRange(1, 520), default=5, show_default=True, help="Length of the history.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True)
@click.option("--rate", type=click.FloatRange(0.1, 50_000), default=200.0, show_default=True, help="Live messages/s.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Of live messages. Default: until Ctrl-C; once: 4.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), hidden=True)
@click.pass_obj
def demo(
    settings: Settings, once: bool, brokers: str, redis_url: str, keep: bool, orgs: int, users: int, weeks: int,
    seed: int, rate: float, seconds: float | None, picture: Path | None,
) -> None:  # fmt: skip
    """See it all work on this machine: Kafka, Redis, two workers, a made-up company base, a live view.

    Five weeks of history are played, then live events until Ctrl-C; one org, northwind, visibly stops using the
    product. Own servers listen on free ports of the loopback address and are gone at the end. On servers that you name
    everything carries names of this run alone and is removed at the end. Of the settings, [latency] and model.file
    apply; the others are the demo's own.
    """
    if "@" in redis_url:
        raise click.BadParameter("what is on a command line everybody can read: no login there", param_hint="--redis")
    if users < orgs + MIN_USERS:
        raise click.BadParameter(f"needs at least {MIN_USERS} more than orgs", param_hint="--users")
    if seconds is None or (once and seconds == 0):
        seconds = ONCE_LIVE_SECONDS if once else 0.0
    run = DemoRun(
        settings,
        Play(orgs, users, weeks, seed, rate, seconds),
        Servers(brokers, redis_url, keep, checked=once),
        Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_COLUMNS),
    )

    def then(run: DemoRun) -> int:
        code = run.check() if once else run.show()
        if picture is not None:
            run.save_picture(picture)
        return code

    sys.exit(run.run(then))
