"""What Redis, PostgreSQL and Parquet files hold of a person: finding it and removing it.

Owns the places beside Kafka. Invariant: finding changes nothing; removing takes what is theirs alone (keys, members,
entries, rows) and leaves documents of orgs that name them to the workers, who tell them anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from psycopg import sql

from agents.forget_names import Names
from agents.sinks.pg_connect import Connection, connect, let_go
from streams.redis_access import redis_client
from streams.redis_rights import escaped
from streams.settings import Settings

_SCAN = 1_000


def _redis(settings: Settings) -> closing[Any]:
    return closing(redis_client(settings.redis, timeout_seconds=max(5.0, settings.redis.timeout_seconds)))


@asynccontextmanager
async def _postgres(settings: Settings) -> AsyncIterator[Connection]:
    connection = await connect(settings.sink.postgres_url, settings.sink.schema, settings.sink.timeout_seconds)
    try:
        yield connection
    finally:
        await let_go(connection)


def in_redis(settings: Settings, names: Names) -> tuple[list[str], int]:
    """Return the keys under the prefix that hold a name (`key`, `key member`, `key entry id`), and how many there are.

    Raises:
        RedisError: If it can't be asked.
    """
    prefix = settings.redis.prefix.encode()
    with _redis(settings) as client:
        found, looked = list[str](), 0
        for key in client.scan_iter(match=escaped(settings.redis.prefix) + "*", count=_SCAN):
            looked += 1
            shown = key[len(prefix) :].decode("utf-8", "replace")
            if names.is_in(key[len(prefix) :]):
                found.append(shown)
                continue
            found += [f"{shown} {part}" if part else shown for part in _parts_with(client, key, names)]
        return found, looked


def _parts_with(client: Any, key: bytes, names: Names) -> Iterator[str]:
    """Yield members or entries of *key* that hold a name; empty = the value as a whole."""
    match client.type(key):
        case b"hash":
            fields = client.hgetall(key)
            if any(names.is_in(part) for pair in fields.items() for part in pair):
                yield ""
        case b"zset":
            yield from (m.decode("utf-8", "replace") for m in client.zrange(key, 0, -1) if names.is_in(m))
        case b"set":
            yield from (m.decode("utf-8", "replace") for m in client.smembers(key) if names.is_in(m))
        case b"stream":
            for entry, fields in client.xrange(key):
                if any(names.is_in(value) for value in fields.values()):
                    yield entry.decode()
        case b"list":
            if any(names.is_in(each) for each in client.lrange(key, 0, -1)):
                yield ""
        case _:
            if names.is_in(client.get(key)):
                yield ""


def redis_values(settings: Settings, found: list[str]) -> dict[str, Any]:
    """Return what Redis holds at the places that `in_redis` has found."""
    prefix, values = settings.redis.prefix, dict[str, Any]()
    with _redis(settings) as client:
        for place in found:
            key, _, part = place.rpartition(" ") if not client.exists(prefix + place) else (place, "", "")
            name = prefix + key
            match client.type(name):
                case b"hash":
                    values[place] = {_text(k): _text(v) for k, v in client.hgetall(name).items()}
                case b"zset":
                    values[place] = client.zscore(name, part)
                case b"stream":
                    entries = client.xrange(name, part, part)
                    values[place] = [{_text(k): _text(v) for k, v in fields.items()} for _, fields in entries]
                case _:
                    values[place] = True
        return values


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def remove_from_redis(settings: Settings, names: Names, orgs: set[str]) -> int:
    """Remove the hashes, members and entries that are about the person in *orgs*; return how many there were."""
    prefix, removed = settings.redis.prefix, 0
    with _redis(settings) as client:
        for org in sorted(orgs):
            for name in sorted(names.all):
                removed += client.delete(f"{prefix}user:{{{org}}}:{name}", f"{prefix}shadow:user:{{{org}}}:{name}")
                removed += client.zrem(f"{prefix}org:{{{org}}}:users:by-score", name)
        subjects = {f"user:{org}/{name}".encode() for org in orgs for name in names.all}
        for entry, fields in client.xrange(prefix + "changes"):
            if fields.get(b"subject") in subjects:
                removed += client.xdel(prefix + "changes", entry)
        return removed


_TABLES = {
    "product_event": ("alias_key", "alias"),
    "user_score": ("user_id",),
    "live_score": ("user_id",),
    "app_user": ("user_id", "email", "username"),
    "user_alias": ("alias", "user_id"),
    "identity_link": ("alias", "user_id"),
}
"""Tables of the sink with people in them → the columns that name them; what names nobody is not searched."""


async def in_postgres(settings: Settings, names: Names) -> tuple[list[str], int]:
    """Return the tables that hold rows of the person, by row, and how many tables were looked at."""
    async with _postgres(settings) as connection:
        found = []
        for table, columns in _TABLES.items():
            cursor = await connection.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE {}").format(sql.Identifier(table), _named(columns)),
                _values(names, columns),
            )
            row = await cursor.fetchone()
            found += [table] * int(row[0] if row else 0)
        # Names within the properties of events and the documents of orgs.
        for table, column in (("product_event", "properties"), ("live_score", "document")):
            cursor = await connection.execute(
                sql.SQL("SELECT {}::text FROM {} WHERE {}::text ILIKE ANY(%s)").format(
                    sql.Identifier(column), sql.Identifier(table), sql.Identifier(column)
                ),
                ([f"%{_like(name)}%" for name in names.all],),
            )
            found += [f"{table}.{column}" async for (text,) in cursor if names.is_in(text.encode())]
        return found, len(_TABLES)


async def rows_in_postgres(settings: Settings, names: Names) -> dict[str, list[Any]]:
    """Return the rows of the person by table, each as its columns by name."""
    async with _postgres(settings) as connection:
        found = {}
        for table, columns in _TABLES.items():
            statement = sql.SQL("SELECT to_jsonb(t) FROM {} AS t WHERE {}")
            composed = statement.format(sql.Identifier(table), _named(columns))
            found[table] = [row async for (row,) in await connection.execute(composed, _values(names, columns))]
        return found


async def remove_from_postgres(settings: Settings, names: Names) -> int:
    """Delete the rows of the person; return how many there were."""
    async with _postgres(settings) as connection:
        removed = 0
        async with connection.transaction():
            for table, columns in _TABLES.items():
                statement = sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table), _named(columns))
                removed += (await connection.execute(statement, _values(names, columns))).rowcount
        return removed


def _named(columns: tuple[str, ...]) -> sql.Composed:
    each = [sql.SQL("{} = ANY(%s) OR lower({}) = ANY(%s)").format(*2 * [sql.Identifier(column)]) for column in columns]
    return sql.SQL(" OR ").join(each)


def _values(names: Names, columns: tuple[str, ...]) -> tuple[list[str], ...]:
    """Return names as they are written, and addresses, whose case does not count; for each column."""
    return (sorted(names.all), sorted(name for name in names.all if "@" in name)) * len(columns)


def _like(name: str) -> str:
    return name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def in_parquet(settings: Settings, names: Names) -> tuple[list[str], int]:
    """Return the files with rows of the person, by row, and how many files were looked at."""
    return await asyncio.to_thread(_in_parquet, settings.sink.parquet_directory, names)


def _in_parquet(directory: str, names: Names) -> tuple[list[str], int]:
    import pyarrow.parquet as pq  # a quarter of a second that few need

    found, looked = list[str](), 0
    for path in sorted(Path(directory).glob("week=*/part-*.parquet")):
        looked += 1
        with path.open("rb") as file:
            column = pq.read_table(file, columns=["user"])["user"].to_pylist()
        found += [str(path)] * sum(user in names.all for user in column)
    return found, looked
