"""Sets aside records of tables that cannot be read, one key at a time, instead of letting the worker fail over them.

Owns the list of tables with what reads their rows. Invariant: a row that cannot be read is taken out of the table and
goes to the dead letters with its bytes, both in one transaction, before the first chunk of its partition; after that
no handler meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import structlog

from agents.ledger import OUTCOMES_OF
from agents.members import decode_user
from state.activity import Calibration, decode_record
from state.census import read_month, read_reference
from state.ledger import SourceLedger, load_shares
from state.records import record_of
from state.telling import decode_summary
from streams.dead_letters import DeadLetters
from streams.metrics import Metrics
from streams.parked import Parked, read_claims
from streams.reading import Rejected
from streams.tables import ChunkTable
from streams.transactions import Outgoing

_log = structlog.get_logger(__name__)
UNKNOWN_OFFSET = -1
"""Stands for the offset in a letter: a table does not know where in its changelog a row came from."""

RowReader = Callable[[bytes, bytes], object]  # (key, value) → the row; raises ValueError (DecodeError is one)


def read_ledger_row(key: bytes, value: bytes) -> object:
    """Read a row of the table `ledger`."""
    name = key.decode()
    return load_shares(value, OUTCOMES_OF[name]) if name in OUTCOMES_OF else SourceLedger.load(value)


_cuts = msgspec.msgpack.Decoder(Calibration)
_waiting = msgspec.msgpack.Decoder(list[Parked])


def read_member_row(key: bytes, value: bytes) -> object:
    """Read a row of the table `members`: a user as ingest's partition knew them last."""
    key.decode()
    return decode_user(value)


def read_park_row(key: bytes, value: bytes) -> object:
    """Read a row of the table `park`: a known alias, or what waits for one."""
    key.decode()
    return read_claims(value) if key.startswith(b"k:") else record_of(_waiting, value)


def read_census_row(key: bytes, value: bytes) -> object:
    """Read a row of the table `census`: a partition's summary or a month of
    its latency, the last cut points, or those that they drift from."""
    if key == b"r":
        return read_reference(value)
    if key.startswith((b"s:", b"x:")):  # x: of a shadow model
        return decode_summary(value)
    if key.startswith(b"m:"):
        return read_month(value)
    return decode_record(value) if key == b"xc" else record_of(_cuts, value)


class _Row(NamedTuple):
    """A row in the shape of a record, for its letter."""

    offset: int
    key: bytes
    value: bytes


class Quarantine:
    """Looks through tables (with what reads their rows) after a recovery."""

    def __init__(self, tables: Mapping[ChunkTable, RowReader], dead_letters: DeadLetters, metrics: Metrics) -> None:
        self._tables, self._dead_letters, self._metrics = dict(tables), dead_letters, metrics

    def clear(self, partition: int, *, width: int | None = None) -> list[Outgoing]:
        """Take out of *partition* of every table what cannot be read; return the records for the commit.

        Args:
            partition: Of the tables.
            width: Only tables with this many partitions; all when left out.
        """
        out: list[Outgoing] = []
        for table, read in self._tables.items():
            if width is None or table.partitions == width:
                out += self._clear_table(table, partition, read)
        return out

    def _clear_table(self, table: ChunkTable, partition: int, read: RowReader) -> list[Outgoing]:
        out: list[Outgoing] = []
        for key, value in table.items(partition):
            try:
                read(key, value)
            except ValueError as error:
                refusal = Rejected("bad_state", f"a row of a table that can't be read: {error}")
                row = _Row(UNKNOWN_OFFSET, key, value)
                out.append(self._dead_letters.letter(refusal, table.changelog, partition, row))
                out.append(table.stage(partition, key, None))
                self._metrics.state_quarantined.add(1, table.name)
                _log.error("row set aside", table=table.name, partition=partition, key=repr(key), error=str(error))
        return out
