"""Owns `orgpulse subject`: everything that is held about a person, as JSON.

Invariant: it only reads.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click
import orjson

from agents.cli_errors import ToldError
from agents.cli_progress import progress
from agents.directory import read_directory
from agents.forget_names import names_of, with_raw_names
from agents.forget_search import PARQUET, POSTGRES
from agents.subject import subject_of
from streams.generation import with_generation
from streams.pseudonyms import called_by
from streams.settings import Settings

_EPILOG = """\b
Examples:
  orgpulse subject ann@example.org > ann.json
  orgpulse subject 8812 --sink postgres --output 8812.json
"""


@click.command("subject", epilog=_EPILOG)
@click.argument("user")
@click.option(
    "--sink", "sinks", type=click.Choice([POSTGRES, PARQUET]), multiple=True, help="Also look into this sink's store."
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, for its owner alone."
)
@click.pass_obj
def subject(settings: Settings, user: str, sinks: tuple[str, ...], output: Path | None) -> None:
    """Show everything that is held about USER (a user id, or any alias), as JSON.

    Directory entry, aliases and memberships; rolling week, score with contributions, weeks, open messages and replies
    as the state has them; published scores and weeks; what waits; alerts and dead letters that name them; raw messages;
    Redis; rows of sinks. Reads every topic from its beginning.
    """
    settings = with_generation(settings, patience_seconds=0)
    directory = asyncio.run(read_directory(settings))
    names = asyncio.run(with_raw_names(settings, names_of(directory, user, called_by(settings)), user))
    with progress("offsets of all topics searched") as tell:
        found = asyncio.run(subject_of(settings, directory, names, tell, sinks))
    held = [each for name, each in found.items() if name not in ("user", "names", "directory", "messages") and each]
    if not (held or names.known or any(topic["number"] for topic in found["messages"].values())):
        raise ToldError(f'nothing is held about "{user}"', "`orgpulse identity show` says what leads to whom.")
    raw = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)
    if output is None:
        click.echo(raw.decode())
        return
    with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(raw + b"\n")
    click.echo(f"{output}: {len(raw)} bytes")
