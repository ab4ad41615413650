"""Owns `orgpulse sink`: the optional processes that keep history in PostgreSQL or as Parquet files.

Invariant: a sink exits 0 only after a clean stop; what it can't mend itself is one sentence with a remedy.
"""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from pathlib import Path

import click

from agents.cli_errors import ToldError
from streams.logs import configure
from streams.restart import OPTION
from streams.settings import Settings

_started_anew = click.option(OPTION, hidden=True, default="", help="What a sink that begins anew knows of before.")


@click.group()
def sink() -> None:
    """Keep history outside of Kafka: in PostgreSQL, or as Parquet files.

    A sink is a process of its own with a consumer group of its own; workers do not know of it. Several of a kind share
    the partitions. While its store is away it waits (/ready and the metrics say so), loses nothing, and goes on by
    itself. Tables, files, queries: docs/sinks.md.
    """


@sink.command()
@click.option("--create", is_flag=True, help="Create schema, tables and views, or bring them up to date; then end.")
@click.option("--from-start", is_flag=True, help="Let everything be read again from where the topics begin; then end.")
@_started_anew
@click.pass_obj
def postgres(settings: Settings, create: bool, from_start: bool, started_anew: str) -> None:
    """Keep events, scores by week and the directory in PostgreSQL.

    Tables and views are in schema [sink] schema, which is created by itself unless [sink] migrate is off.

    \b
    Examples:
      ORGPULSE_SINK_POSTGRES_URL_FILE=/run/secrets/pg orgpulse sink postgres
      orgpulse sink postgres --create       with a role that may, where the sink's own may not
      orgpulse sink postgres --from-start   fill in what was deleted by hand; running sinks begin anew
    \b
    Health:  http://HOST:PORT/live, /ready, /metrics ([web] host, [sink] port)
    """
    del started_anew  # read from the command line itself (streams.restart)
    if create or from_start:
        _once(settings, create, from_start)
        return
    from agents.sinks.postgres import PostgresSink

    _begin(settings)
    sys.exit(PostgresSink(settings).run())


def _once(settings: Settings, create: bool, from_start: bool) -> None:
    """Do what is done once, and say so."""
    from agents.sinks.errors import StoreAwayError
    from agents.sinks.pg_store import PgStore

    store = PgStore(settings.sink)
    try:
        if create:
            done = asyncio.run(store.prepare(create=True))
            said = f"applied {', '.join(done)}" if done else "is up to date"
            click.echo(f"schema {settings.sink.schema} {said}")
        if from_start:
            asyncio.run(store.prepare(create=False))
            partitions = asyncio.run(store.forget_positions())
            click.echo(f"{partitions} partitions will be read again from where their topics begin")
    except StoreAwayError as error:
        raise ToldError(f"PostgreSQL: {error}", "Check [sink] postgres_url, and that the server runs.") from None


@sink.command()
@click.option("--from-start", is_flag=True, help="Delete the files, so that all are written anew; then end.")
@_started_anew
@click.pass_obj
def parquet(settings: Settings, from_start: bool, started_anew: str) -> None:
    """Keep weeks as Parquet files, one for each week and partition.

    These are the weeks of users and orgs that the topic `weeks` has. Readers see one row per subject and week, the
    newest: DuckDB, pandas and Spark read the directory as it is.

    \b
    Examples:
      ORGPULSE_SINK_PARQUET_DIRECTORY=/data/weeks orgpulse sink parquet
      duckdb -c "SELECT week, count(*) FROM '/data/weeks/week=*/part-*.parquet' GROUP BY week"
    \b
    Health:  http://HOST:PORT/live, /ready, /metrics ([web] host, [sink] port)
    """
    del started_anew  # read from the command line itself (streams.restart)
    if from_start:
        from agents.sinks.parquet_store import ParquetStore

        files = ParquetStore(Path(settings.sink.parquet_directory)).forget(settings.kafka.partitions)
        click.echo(f"{files} files deleted; the sink writes them anew when it is started")
        return
    from agents.sinks.parquet import ParquetSink

    _begin(settings)
    sys.exit(ParquetSink(settings).run())


def _begin(settings: Settings) -> None:
    configure(settings.log.level, settings.log.format, settings.worker.tenant)
    faulthandler.enable()
    try:
        import uvloop
    except ImportError:  # not on every platform; only a matter of speed
        pass
    else:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
