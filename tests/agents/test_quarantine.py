"""What cannot be read in a table goes to the dead letters with its bytes, and only that."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from agents.quarantine import Quarantine, RowReader, read_census_row, read_ledger_row, read_member_row, read_park_row
from state.census import Census
from streams.dead_letters import DeadLetters
from streams.metrics import Metrics
from streams.reading import REASONS
from tests.agents.by_hand import Table
from tests.agents.test_count_people import MemoryTable, counted
from tests.golden.make import golden_shard, tables

READERS: dict[str, RowReader] = {
    "ledger": read_ledger_row,
    "members": read_member_row,
    "park": read_park_row,
}


def quarantine(metrics: Metrics, name: str, read: RowReader, table: Table) -> Quarantine:
    any_table: Any = table
    return Quarantine({any_table: read}, DeadLetters("dead-letters", lambda: 1.0, 10_000), metrics)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("poison", [b"", b"\xc1", b"\x91", b"not msgpack", b"\x92\xa1x\x02"])
def test_only_the_poisoned_row_is_taken_out(name: str, poison: bytes) -> None:
    table, metrics = Table(name), Metrics()
    good = tables(golden_shard())[name]
    key = {"ledger": b"users", "members": b"u:bob", "park": b"k:bob"}[name]
    table.contents[1] = good | {key: poison}
    letter, tombstone = quarantine(metrics, name, READERS[name], table).clear(1)
    said = orjson.loads(letter.value or b"")
    assert (said["reason"], said["topic"], said["partition"]) == ("bad_state", table.changelog, 1)
    assert base64.b64decode(said["value"]) == poison and base64.b64decode(said["key"]) == key
    assert (tombstone.topic, tombstone.key, tombstone.value) == (table.changelog, key, None)
    assert table.contents[1] == good
    assert metrics.state_quarantined.value(name) == 1
    assert said["reason"] in REASONS


@pytest.mark.parametrize("name", READERS)
def test_a_table_that_can_be_read_is_left_alone(name: str) -> None:
    table = Table(name)
    table.contents[0] = tables(golden_shard())[name]
    assert quarantine(Metrics(), name, READERS[name], table).clear(0) == []


def test_cut_points_and_summaries_are_looked_at() -> None:
    table = Table("census")
    table.contents[0] = {b"c": b"\xc1", b"s:3": b"\xc1", b"r": b"\xc1"}
    assert len(quarantine(Metrics(), "census", read_census_row, table).clear(0)) == 6
    assert table.contents[0] == {}


def test_the_rows_that_the_census_keeps_are_left_alone() -> None:
    kept, table = MemoryTable(), Table("census")
    counted(kept)
    table.contents[0] = {**kept.content, b"r": Census(1).dump_reference()}
    assert len(table.contents[0]) == 3
    assert quarantine(Metrics(), "census", read_census_row, table).clear(0) == []


def test_tables_of_another_width_are_not_ours_to_clear() -> None:
    table = Table("park")
    table.contents[0] = {b"k:bob": b"\xc1"}
    assert quarantine(Metrics(), "park", read_park_row, table).clear(0, width=1) == []
