"""Creates the tables and views, and brings older ones up to date.

Owns the version of the schema: table `schema_version`, one row for each file of `migrations/`. Invariant: the files
are applied in order, each once and whole or not at all; a schema of a newer version is left alone.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

from psycopg import sql

from agents.sinks.errors import StoreRefusesError
from agents.sinks.pg_connect import Connection

_LOCK = 0x6F72_6770_756C  # "orgpul": one process at a time changes the schema
_OLDEST_SERVER = 130_000


class Migration(NamedTuple):
    """One step of the schema."""

    version: int
    name: str
    text: str


def migrations() -> list[Migration]:
    """Return all steps, in order."""
    found = []
    for file in (resources.files("agents.sinks") / "migrations").iterdir():
        number, _, rest = file.name.partition("_")
        if rest.endswith(".sql"):
            found.append(Migration(int(number), file.name, file.read_text(encoding="utf-8")))
    return sorted(found)


async def bring_up(connection: Connection, schema: str, steps: list[Migration], *, create: bool) -> list[str]:
    """Apply the steps that are missing and return their names; without *create* only look.

    Raises:
        StoreRefusesError: If the schema is newer, or misses steps and *create* is not wanted.
    """
    if connection.info.server_version < _OLDEST_SERVER:
        raise StoreRefusesError(
            f"PostgreSQL {connection.info.server_version // 10_000} is too old", "Use PostgreSQL 13 or newer."
        )
    known = await version_of(connection, schema)
    newest = steps[-1].version
    if known > newest:
        raise StoreRefusesError(
            f"schema {schema} has version {known}; this orgpulse knows versions up to {newest}",
            "Run the newer orgpulse again, or set another [sink] schema.",
        )
    missing = [step for step in steps if step.version > known]
    if not missing:
        return []
    if not create:
        what = f"has version {known}, not {newest}" if known else "has no tables of orgpulse"
        raise StoreRefusesError(
            f"schema {schema} {what}",
            "Run `orgpulse sink postgres --create` with a role that may create, or set [sink] migrate = true.",
        )
    return await _apply(connection, schema, missing)


async def version_of(connection: Connection, schema: str) -> int:
    """Return the version of the schema, 0 = there is none."""
    cursor = await connection.execute("SELECT to_regclass(quote_ident(%s) || '.schema_version') IS NOT NULL", (schema,))
    if not ((await cursor.fetchone()) or (False,))[0]:
        return 0
    cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM schema_version")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _apply(connection: Connection, schema: str, missing: list[Migration]) -> list[str]:
    done = []
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")  # an index of a large table takes its time
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor = await connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,))
        if await cursor.fetchone() is None:  # IF NOT EXISTS wants the right to create even when it is there
            await connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version"
            " (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        known = await version_of(connection, schema)  # another process may have been first
        for step in missing:
            if step.version > known:
                await connection.execute(step.text.encode())
                await connection.execute(
                    "INSERT INTO schema_version (version, name) VALUES (%s, %s)", (step.version, step.name)
                )
                done.append(step.name)
    return done
