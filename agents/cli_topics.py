"""Owns `orgpulse topics create` and `orgpulse topics check`.

Invariant: `check` changes nothing, and `create` changes an existing topic only when told `--repair`.
"""

from __future__ import annotations

import click

from agents.cli_errors import EXIT_FAILED
from streams.generation import with_generation
from streams.settings import Settings
from streams.topics import check_topics, create_topics, topic_specs

_wait = click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a broker that is just starting.",
)


@click.group("topics")
def topics() -> None:
    """Create the topics, or check them."""


@topics.command("create")
@click.option("--repair", is_flag=True, help="Also set the configuration of topics that exist to what is declared.")
@_wait
@click.pass_obj
def create(settings: Settings, repair: bool, wait_seconds: float) -> None:
    """Create the topics that don't exist. Run it as often as you like; it deletes nothing.

    \b
    Examples:
      orgpulse topics create
      orgpulse topics create --wait 120     while the cluster comes up
      orgpulse topics create --repair       after changing retention or sizes
    """
    settings = with_generation(settings, patience_seconds=0)
    done = create_topics(settings, repair=repair, wait_seconds=wait_seconds)
    for line in done:
        click.echo(line)
    click.echo(f"{len(topic_specs(settings))} topics are there, {len(done)} changed")


@topics.command("check")
@_wait
@click.pass_obj
def check(settings: Settings, wait_seconds: float) -> None:
    """Compare every topic with what orgpulse needs: partitions, copies, compaction, retention, sizes, time stamps.

    Exits with 1 if one differs; each line names the command that mends it.
    """
    settings = with_generation(settings, patience_seconds=0)
    problems = check_topics(settings, wait_seconds=wait_seconds)
    for problem in problems:
        click.echo(f"{problem.topic}: {problem.what}\n  mend it: {problem.remedy}")
    if problems:
        click.echo(f"{len(problems)} problems in {len({problem.topic for problem in problems})} topics")
        raise click.exceptions.Exit(EXIT_FAILED)
    click.echo(f"all {len(topic_specs(settings))} topics are as they should be")
