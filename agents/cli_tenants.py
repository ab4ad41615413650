"""Owns `orgpulse tenants`: who there is, how each is served, and making or removing what is theirs.

Invariant: nothing of one tenant is touched for another, and nothing is removed unless it was asked for by name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from agents.cli import config_in_use
from agents.cli_errors import EXIT_FAILED, EXIT_USAGE, ToldError
from streams.generation import with_generation
from streams.held_back import CHECK, HELD
from streams.published_workers import WorkerCard
from streams.reader_errors import ReaderError
from streams.redis_access import reader_of
from streams.settings import Settings, load_settings, tenant_names
from streams.tenant_remains import Remains, remains_of, remove_from_kafka, remove_from_redis
from streams.topics import create_topics, topic_specs

_WAIT_SECONDS = 10.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How one tenant is served."""

    tenant: str
    kafka: str
    """What its topics begin with."""
    redis: str
    """What its keys begin with."""
    events_per_second: int
    bytes_per_second: int
    topics: int | None
    """How many there are; None = Kafka does not say."""
    missing_topics: int | None
    workers: tuple[str, ...]
    last_seen: str
    """When a worker was last heard of; empty = not lately."""
    lag_messages: int | None
    """None = no worker says."""
    held_back: bool
    problem: str = ""


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def tenants(ctx: click.Context, as_json: bool) -> None:
    """Show every tenant of the settings file: names, quota, topics, workers, what waits, and whether it is held back.

    Exits with 1 if one lacks topics, or can't be asked about.

    \b
    Examples:
      orgpulse tenants
      orgpulse tenants create              topics of all tenants, those that are missing
      orgpulse --tenant acme worker        any command, for one tenant
      orgpulse tenants remove acme         topics, groups and keys, for good
    """
    if ctx.invoked_subcommand is not None:
        return
    path, names = _declared(ctx)
    found = [_standing(load_settings(path, tenant=name)) for name in names]
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(each) for each in found], ensure_ascii=False))
    else:
        _show(found)
    if any(each.problem or each.missing_topics for each in found):
        raise click.exceptions.Exit(EXIT_FAILED)


@tenants.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--repair", is_flag=True, help="Also set the configuration of topics that exist to what is declared.")
@click.pass_context
def create(ctx: click.Context, names: tuple[str, ...], repair: bool) -> None:
    """Create the topics that tenants lack: those of the NAMEs, else of all. Run it as often as you like.

    \b
    Examples:
      orgpulse tenants create
      orgpulse tenants create acme
    """
    path, known = _declared(ctx)
    for name in names or known:
        settings = with_generation(load_settings(path, tenant=name), patience_seconds=0)
        done = create_topics(settings, repair=repair)
        for line in done:
            click.echo(f"{name}: {line}")
        click.echo(f"{name}: topics are there, {len(done)} changed")


@tenants.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def remove(ctx: click.Context, name: str, yes: bool) -> None:
    """Delete everything of a tenant from Kafka and Redis: topics, groups, keys. There is no way back.

    Its workers and sinks must have ended. Tables of a PostgreSQL sink, Parquet files, users, rights and what was saved
    elsewhere stay; it says where. Cut off, it can be run again. Take the tenant out of the settings file afterwards.

    \b
    Examples:
      orgpulse tenants remove acme
      orgpulse tenants remove acme --yes
    """
    path, _ = _declared(ctx)
    settings = load_settings(path, tenant=name)
    found = remains_of(settings, wait_seconds=_WAIT_SECONDS)
    click.echo(f"{len(found.topics)} topics and {len(found.groups)} groups that begin with {settings.kafka.prefix}")
    click.echo(f"all keys of Redis that begin with {settings.redis.prefix}")
    if not yes:
        if not sys.stdin.isatty():
            raise ToldError("nobody can be asked whether that may go for good", "Say --yes.", EXIT_USAGE)
        if (
            click.prompt(f"Type the tenant's name to delete it for good [{name}]", default="", show_default=False)
            != name
        ):
            raise ToldError("that is not its name; nothing was deleted")
    remove_from_kafka(settings, found)
    keys = remove_from_redis(settings)
    click.echo(f"deleted {len(found.topics)} topics, {len(found.groups)} groups, {keys} keys")
    click.echo(
        f"what may be left: schema {settings.sink.schema} of PostgreSQL, files in {settings.sink.parquet_directory},"
        f" rights of users (`orgpulse --tenant {name} acl kafka` names them), [tenants.{name}] in {path}"
    )


def _declared(ctx: click.Context) -> tuple[Path, tuple[str, ...]]:
    """Return the settings file and its tenants.

    Raises:
        ToldError: If there are none.
    """
    path = config_in_use(ctx.find_root().params.get("config"))
    names = tenant_names(path)
    if path is None or not names:
        where = path or "there is no settings file, so it"
        raise ToldError(f"{where} names no tenants", "Add one: [tenants.acme] (docs/tenants.md).", EXIT_USAGE)
    return path, names


def _standing(settings: Settings) -> Standing:
    """Ask Kafka and Redis how a tenant is served."""
    remains: Remains | None = None
    missing: int | None = None
    cards: list[WorkerCard] = []
    problems: list[str] = []
    try:
        remains = remains_of(settings, wait_seconds=_WAIT_SECONDS)
        needed = {spec.name for spec in topic_specs(with_generation(settings, patience_seconds=0))}
        missing = len(needed.difference(remains.topics))
    except Exception as error:
        if not hasattr(error, "remedy"):
            raise
        problems.append(str(getattr(error, "message", error)))
    try:
        with reader_of(settings.redis) as reader:
            cards = reader.workers()
    except (ReaderError, RedisError, OSError) as error:
        problems.append(str(error))
    lags = [part.lag_messages for card in cards for part in card.partitions if part.lag_messages is not None]
    seen = max((card.updated for card in cards if card.updated is not None), default=None)
    last_seen = "" if seen is None else seen.isoformat(timespec="seconds")
    return Standing(
        tenant=settings.worker.tenant, kafka=settings.kafka.prefix, redis=settings.redis.prefix,
        events_per_second=settings.quota.events_per_second, bytes_per_second=settings.quota.bytes_per_second,
        topics=None if remains is None else len(remains.topics),
        missing_topics=missing,
        workers=tuple(card.name for card in cards), last_seen=last_seen,
        lag_messages=sum(lags) if lags else None, held_back=any(map(_is_held, cards)), problem="; ".join(problems),
    )  # fmt: skip


def _is_held(card: WorkerCard) -> bool:
    return any(check.name == CHECK and check.detail.startswith(HELD) for check in card.checks)


def _show(found: list[Standing]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("tenant", "begins with", "quota", "topics", "workers", "last seen", "waits", "held back"):
        table.add_column(head, justify="right" if head in ("topics", "waits") else "left")
    for each in found:
        table.add_row(
            each.tenant, f"{each.kafka}\n{each.redis}", _quota(each), _topics(each), ", ".join(each.workers) or "none",
            each.last_seen or "–", "–" if each.lag_messages is None else f"{each.lag_messages:,}",
            "yes" if each.held_back else "no" if each.workers else "–",
        )  # fmt: skip
    console = Console(highlight=False)
    Console(highlight=False, width=max(console.width, 120) if not console.is_terminal else None).print(table)
    for each in found:
        if each.problem:
            click.echo(f"{each.tenant}: {each.problem}", err=True)
        elif each.missing_topics:
            click.echo(f"{each.tenant}: {each.missing_topics} topics are missing: orgpulse tenants create", err=True)


def _quota(each: Standing) -> str:
    said: list[Any] = [(each.events_per_second, "messages/s"), (each.bytes_per_second, "bytes/s")]
    return "\n".join(f"{number:,} {unit}" for number, unit in said if number) or "none"


def _topics(each: Standing) -> str:
    if each.topics is None:
        return "?"
    return str(each.topics) + (f" ({each.missing_topics} missing)" if each.missing_topics else "")
