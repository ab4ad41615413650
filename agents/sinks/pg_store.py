"""Writes changes to PostgreSQL: a chunk is one transaction, with the position after it.

    lock the partition's position ─► leave out what is stored already ─► COPY, upsert, delete ─► move the position

Owns one connection for each kind of topic. Invariant: what a partition's position has passed is never written again,
so neither a repeated chunk nor a process that was asleep and lost its partition changes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from agents.sinks.errors import PositionMovedError, RowRefusedError, StoreAwayError
from agents.sinks.pg_connect import Connection, connect, in_time, let_go
from agents.sinks.pg_errors import meaning_of
from agents.sinks.pg_schema import bring_up, migrations
from agents.sinks.pg_tables import CLAIMS, CLEAR_CLAIMS, COPY_CLAIMS, FIRST, MERGE_CLAIMS, Table
from agents.sinks.place import Mark, Stretch, next_mark, offset_of
from streams.settings_sink import SinkSettings

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a record says of one key: a row, or that it is gone (None); `claims` are a user's."""

    table: Table
    key: tuple[str, ...]
    row: Row | None
    fence: int
    claims: Sequence[Row] = ()


@dataclass
class Written:
    """What became of a chunk: rows by (table, outcome), and what could not be stored by offset."""

    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    def count(self, table: Table, outcome: str, rows: int) -> None:
        """Count *rows* of *table*."""
        if rows:
            self.rows[table.name, outcome] = self.rows.get((table.name, outcome), 0) + rows


class PgStore:
    """The database of a sink."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._connections: dict[str, Connection] = {}

    async def prepare(self, *, create: bool) -> list[str]:
        """Look at the schema, or bring it up to date; return the names of the steps that were applied."""
        connection = await self._open(())
        steps, schema = migrations(), self._settings.schema

        async def work() -> list[str]:
            return await bring_up(connection, schema, steps, create=create)

        try:
            return await in_time(connection, 10 * self._settings.timeout_seconds, work)
        finally:
            await let_go(connection)

    async def marks(self, topics: Mapping[tuple[str, int], str]) -> dict[tuple[str, int], Mark]:
        """Return up to where each of (topic, partition) → the topic's id is stored, and keep what follows from it."""
        connection = await self._open(())

        async def work() -> dict[tuple[str, int], Mark]:
            found = {}
            async with connection.transaction():
                for (topic, partition), topic_id in sorted(topics.items()):
                    found[topic, partition] = await _mark(connection, topic, partition, topic_id)
            return found

        try:
            return await in_time(connection, self._settings.timeout_seconds, work)
        finally:
            await let_go(connection)

    async def begin(self, starts: Mapping[tuple[str, int], int]) -> None:
        """Note where partitions begin that nothing is stored of; from now on a position that is gone was taken away."""
        connection = await self._open(())

        async def work() -> None:
            async with connection.cursor() as cursor:
                await cursor.executemany(
                    "UPDATE sink_position SET next_offset = %s WHERE topic = %s AND partition = %s"
                    " AND next_offset IS NULL",
                    [(start, *place) for place, start in sorted(starts.items())],
                )

        try:
            await in_time(connection, self._settings.timeout_seconds, work)
        finally:
            await let_go(connection)

    async def forget_positions(self) -> int:
        """Let everything be read from where the topics begin; return how many partitions that are."""
        connection = await self._open(())

        async def work() -> int:
            async with connection.transaction():
                await connection.execute("DELETE FROM sink_refused")
                return (await connection.execute("UPDATE sink_position SET next_offset = NULL")).rowcount

        try:
            return await in_time(connection, self._settings.timeout_seconds, work)
        finally:
            await let_go(connection)

    async def write(self, tables: Sequence[Table], stretch: Stretch, epoch: int, changes: Sequence[Change]) -> Written:
        """Store *changes* of the *tables* of a topic, in the order of their records.

        Raises:
            StoreAwayError: If it could not be done now; it may have been.
            StoreRefusesError: If somebody has to act.
            PositionMovedError: If the database holds the partition up to another place than it did.
        """
        connection = await self._of(tables)

        async def work() -> Written:
            async with connection.transaction():
                return await _write(connection, stretch, epoch, changes)

        try:
            return await in_time(connection, self._settings.timeout_seconds, work)
        except BaseException as error:
            await self._drop(tables)
            if isinstance(error, RowRefusedError):
                raise StoreAwayError("other", str(error)) from None  # no row of ours: it comes again
            raise

    async def close(self) -> None:
        """Close all connections."""
        for name in list(self._connections):
            await let_go(self._connections.pop(name))

    async def _of(self, tables: Sequence[Table]) -> Connection:
        connection = self._connections.get(tables[0].name)
        if connection is None or connection.closed:
            setup = [statement for table in tables for statement in table.setup()]
            if any(table.lookup == ("job_type", "job_type") for table in tables):
                setup.append(CLAIMS)
            connection = self._connections[tables[0].name] = await self._open(setup)
        return connection

    async def _drop(self, tables: Sequence[Table]) -> None:
        connection = self._connections.pop(tables[0].name, None)
        if connection is not None:
            await let_go(connection)

    async def _open(self, setup: Sequence[str]) -> Connection:
        mine = self._settings
        return await connect(mine.postgres_url, mine.schema, mine.timeout_seconds, setup)


async def _mark(connection: Connection, topic: str, partition: int, topic_id: str) -> Mark:
    cursor = await connection.execute(
        "SELECT topic_id, epoch, next_offset FROM sink_position WHERE topic = %s AND partition = %s FOR UPDATE",
        (topic, partition),
    )
    row = await cursor.fetchone()
    mark = next_mark(Mark(row[1], row[2]) if row else None, row[0] if row else "", topic_id)
    await connection.execute(
        "INSERT INTO sink_position VALUES (%s, %s, %s, %s, %s) ON CONFLICT (topic, partition) DO UPDATE"
        " SET topic_id = excluded.topic_id, epoch = excluded.epoch, next_offset = excluded.next_offset",
        (topic, partition, topic_id or (row[0] if row else ""), *mark),
    )
    return mark


async def _write(connection: Connection, stretch: Stretch, epoch: int, changes: Sequence[Change]) -> Written:
    cursor = await connection.execute(
        "SELECT epoch, next_offset FROM sink_position WHERE topic = %s AND partition = %s FOR UPDATE",
        (stretch.topic, stretch.partition),
    )
    row = await cursor.fetchone()
    where = f"{stretch.topic}-{stretch.partition}"
    if row is None or row[0] != epoch or row[1] is None:
        raise PositionMovedError(f"the database no longer knows up to where it holds {where}")
    known = int(row[1])
    if known < stretch.begin:
        raise PositionMovedError(f"the database holds {where} up to {known}, and {stretch.begin} was to come next")
    written = Written()
    fresh = [change for change in changes if offset_of(change.fence) >= known]
    await _apply(connection, fresh, written)
    if written.refused:
        async with connection.cursor() as bulk:
            await bulk.executemany(
                "INSERT INTO sink_refused VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [(stretch.topic, stretch.partition, at, said) for at, said in sorted(written.refused.items())],
            )
    if known > stretch.begin:  # a part of it was stored before: what was refused then is told now, with the offset
        cursor = await connection.execute(
            "SELECT record_offset, detail FROM sink_refused WHERE topic = %s AND partition = %s"
            " AND record_offset >= %s AND record_offset < %s",
            (stretch.topic, stretch.partition, stretch.begin, stretch.end),
        )
        written.refused |= dict(await cursor.fetchall())
    await connection.execute(
        "UPDATE sink_position SET next_offset = greatest(next_offset, %s) WHERE topic = %s AND partition = %s",
        (stretch.end, stretch.topic, stretch.partition),
    )
    return written


async def _apply(connection: Connection, changes: Sequence[Change], written: Written) -> None:
    """Store *changes*; where one does not fit, the halves are tried apart until it is found."""
    if not changes:
        return
    done = Written()
    try:
        async with connection.transaction():
            await _merge(connection, changes, done)
    except psycopg.Error as error:
        meaning = meaning_of(error)
        if not isinstance(meaning, RowRefusedError):
            raise
        if len(changes) == 1:
            written.refused[offset_of(changes[0].fence)] = str(meaning)
            written.count(changes[0].table, "refused", 1)
            return
        half = len(changes) // 2
        await _apply(connection, changes[:half], written)
        await _apply(connection, changes[half:], written)
        return
    for (name, outcome), rows in done.rows.items():
        written.rows[name, outcome] = written.rows.get((name, outcome), 0) + rows


async def _merge(connection: Connection, changes: Sequence[Change], done: Written) -> None:
    """Bring *changes* into their tables, of each key the one that counts."""
    counting: dict[Table, dict[tuple[str, ...], Change]] = {}
    for change in changes:
        known = counting.setdefault(change.table, {})
        if change.table.newer == FIRST:
            known.setdefault(change.key, change)
        else:
            known[change.key] = change
    for table, by_key in counting.items():
        gone = [key for key, change in by_key.items() if change.row is None]
        if gone:
            await _copy(connection, table.copy_gone(), gone)
            done.count(table, "deleted", (await connection.execute(table.delete())).rowcount)
        rows = [change for change in by_key.values() if change.row is not None]
        if rows:
            await _upsert(connection, table, rows, done)
        for statement in table.clear():
            await connection.execute(statement)


async def _upsert(connection: Connection, table: Table, changes: Sequence[Change], done: Written) -> None:
    await _copy(connection, table.copy_rows(), [change.row for change in changes if change.row is not None])
    upserted = 0
    for statement in table.merge():
        upserted = (await connection.execute(statement)).rowcount
    done.count(table, "stored", upserted)
    done.count(table, "unchanged", len(changes) - upserted)
    claims = [claim for change in changes for claim in change.claims]
    if table.lookup == ("job_type", "job_type"):
        await _copy(connection, COPY_CLAIMS, claims)
        for statement in (*MERGE_CLAIMS, CLEAR_CLAIMS):
            await connection.execute(statement)


async def _copy(connection: Connection, statement: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)
