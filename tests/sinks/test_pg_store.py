"""The tables on a real PostgreSQL, without Kafka: fences, repeated and late chunks, versions of the schema."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from agents.sinks.errors import PositionMovedError, StoreAwayError, StoreRefusesError
from agents.sinks.pg_connect import connect
from agents.sinks.pg_schema import bring_up, migrations
from agents.sinks.pg_store import PgStore
from agents.sinks.place import Mark, Stretch
from streams.settings_sink import SinkSettings
from tests.sinks.house import week
from tests.sinks.logs import scores, weeks_of
from tests.sinks.server import LocalPostgres


def test_a_repeated_chunk_and_one_of_a_process_that_was_asleep_change_nothing(
    postgres: LocalPostgres, database: str
) -> None:
    log = weeks_of(database)
    log.add(week("user:o/a", "2026-W40"), week("user:o/b", "2026-W40", score="10.00"))
    log.add(("weeks", b"user:o/a|2026-W40", None), week("user:o/b", "2026-W40", score="20.00", state="restated"))
    log.store()
    wanted = [("b", "2026-W40", "restated", "20.00", 3)]
    assert scores(postgres, database) == wanted
    for begin, end in ((0, 2), (0, 4), (1, 3), (2, 4)):
        written = log.store(begin, end)
        assert scores(postgres, database) == wanted and not written.rows
    with pytest.raises(PositionMovedError):
        log.add(*[week("user:o/c", "2026-W40")] * 3)
        log.store(5, 6)  # the one before was not stored
    assert scores(postgres, database) == wanted


def test_a_process_that_sleeps_in_a_transaction_does_not_hold_up_another(
    postgres: LocalPostgres, database: str
) -> None:
    log = weeks_of(database)
    log.settings = SinkSettings(postgres_url=database, timeout_seconds=1.0)
    log.add(*[week(f"user:o/{number}", "2026-W40") for number in range(4)])
    log.store(0, 2)

    async def sleep_and_write() -> None:
        sleeper = await connect(database, "usage", 1.0)
        await sleeper.execute("BEGIN")
        await sleeper.execute("SELECT FROM sink_position FOR UPDATE")
        store, changes = PgStore(log.settings), log.intake.take(log.records[2:], 0, 0).changes
        deadline = time.monotonic() + 60
        while True:
            try:
                await store.write(log.intake.tables, Stretch("weeks", 0, 2, 4), 0, changes)
                break
            except StoreAwayError:  # as long as the sleeper is let sleep
                assert time.monotonic() < deadline
        await store.close()
        with pytest.raises(psycopg.Error):
            await sleeper.execute("COMMIT")

    asyncio.run(sleep_and_write())
    assert len(scores(postgres, database)) == 4


def test_a_lower_fence_does_not_replace_a_row_even_without_a_position(postgres: LocalPostgres, database: str) -> None:
    log = weeks_of(database)
    log.add(week("user:o/a", "2026-W40", score="10.00"), week("user:o/a", "2026-W40", score="20.00"))
    log.store()
    postgres.ask("UPDATE usage.sink_position SET next_offset = 0", url=database)
    assert log.store(0, 1).rows == {("user_score", "unchanged"): 1}
    assert scores(postgres, database) == [("a", "2026-W40", "final", "20.00", 1)]


def test_what_a_topic_made_anew_says_counts_more(postgres: LocalPostgres, database: str) -> None:
    log = weeks_of(database)
    log.add(*[week("user:o/a", "2026-W40", score="10.00")] * 5)
    log.store()
    store = PgStore(log.settings)
    mark = asyncio.run(store.marks({("weeks", 0): "another id"}))
    assert mark == {("weeks", 0): Mark(1, None)}
    again = weeks_of(database)
    again.add(week("user:o/a", "2026-W40", score="30.00"))

    async def write() -> None:
        await store.begin({("weeks", 0): 0})
        changes = again.intake.take(again.records, 0, 1).changes
        await store.write(again.intake.tables, Stretch("weeks", 0, 0, 1), 1, changes)
        await store.close()

    asyncio.run(write())
    assert [row[3] for row in scores(postgres, database)] == ["30.00"]


def test_an_older_schema_is_brought_up_to_date_and_a_newer_one_is_left_alone(
    postgres: LocalPostgres, database: str
) -> None:
    steps = migrations()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))

    async def up(which: Sequence[Any], create: bool = True) -> list[str]:
        connection = await connect(database, "usage", 20.0)
        try:
            return await bring_up(connection, "usage", list(which), create=create)
        finally:
            await connection.close()

    with pytest.raises(StoreRefusesError, match="no tables of orgpulse"):
        asyncio.run(up(steps, create=False))
    assert asyncio.run(up(steps[:1])) == [steps[0].name]
    postgres.ask("INSERT INTO usage.job_type (name) VALUES ('kept')", url=database)
    with pytest.raises(StoreRefusesError, match="has version 1, not 2"):
        asyncio.run(up(steps, create=False))
    assert asyncio.run(up(steps)) == [step.name for step in steps[1:]]
    assert asyncio.run(up(steps)) == []
    assert postgres.ask("SELECT name FROM usage.job_type", url=database) == [("kept",)]
    postgres.ask("INSERT INTO usage.schema_version VALUES (99, 'of tomorrow')", url=database)
    with pytest.raises(StoreRefusesError, match="has version 99"):
        asyncio.run(up(steps))
