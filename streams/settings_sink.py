"""Owns the settings of the optional sinks (`orgpulse sink`): default, limits, meaning.

Invariant: like `streams.settings_wire`; docs/settings.md and orgpulse.example.toml are made from here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The optional sinks: history in PostgreSQL, and as Parquet files. Only `orgpulse sink` reads these."""

    port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Where a sink serves `/live`, `/ready` and `/metrics`, on `web.host`; 0 takes a free one.",
        ),
    ] = 6070
    postgres_url: Annotated[
        str,
        Meta(
            pattern=r"^postgres(ql)?://.+$",
            description="PostgreSQL, 13 or newer: `postgresql://user:password@host:port/database`. Hold the password "
            "in a file and name it in `ORGPULSE_SINK_POSTGRES_URL_FILE`.",
            extra={"secret": True},
        ),
    ] = "postgresql://127.0.0.1:5432/orgpulse"
    schema: Annotated[
        str,
        Meta(pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="Schema of the database that holds tables and views."),
    ] = "usage"
    migrate: Annotated[
        bool,
        Meta(
            description="Create schema, tables and views, and bring older ones up to date, when a sink starts. Turn it "
            "off where the sink's role may not; somebody who may then runs `orgpulse sink postgres --create`."
        ),
    ] = True
    parquet_directory: Annotated[
        str, Meta(min_length=1, description="Directory of the Parquet files: `week=2026-W48/part-0003.parquet`, …")
    ] = "parquet"
    chunk_records: Annotated[
        int, Meta(ge=1, le=100000, description="Most messages that go into PostgreSQL in one transaction.")
    ] = 5000
    flush_seconds: Annotated[
        float,
        Meta(gt=0, le=86400, description="Parquet: what came in waits this long at most for its file to be rewritten."),
    ] = 60.0
    flush_rows: Annotated[
        int, Meta(ge=1, le=10000000, description="Parquet: so many rows of a partition that wait are written at once.")
    ] = 10000
    timeout_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=600,
            description="A connection or a transaction that takes longer counts as PostgreSQL being away.",
        ),
    ] = 20.0
    longest_pause_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="Longest pause before a store that is away is tried again. The first is half a second, each "
            "further one twice as long.",
        ),
    ] = 15.0
