"""The tables of a storage network's export: their columns, what else the columns are called, how files are recognised.

Invariant: each table and column is named here once; a reader, a rule and a message take the name from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

ID, TEXT, TIME, BYTES, NUMBER, MICROS, UNITS, ACTION, MONTH = (
    "id", "text", "time", "bytes", "number", "micros", "units", "action", "month",
)  # fmt: skip
"""What a column holds: see `reports.storage_values`."""

UPLOAD, DOWNLOAD, OTHER = 1, 2, 0
"""Actions of bandwidth rows; audits, repairs and deletions are OTHER."""


class StorageError(ValueError):
    """The exports can't be used; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it holds, and its *others* names; *needed* = every file has it, *empty* = cells may be.

    A column that is not needed and not there is empty in every row.
    """

    name: str
    holds: str
    others: tuple[str, ...] = ()
    needed: bool = True
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of file: *words* in its name tell it, *cut* names the column that the date cut-off looks at."""

    name: str
    title: str
    words: tuple[str, ...]
    columns: tuple[Column, ...]
    cut: str = ""

    def column(self, name: str) -> Column:
        """Return the column called *name*."""
        return next(column for column in self.columns if column.name == name)

    def columns_of(self, *holds: str) -> list[str]:
        """Return the names of the columns that hold one of *holds*."""
        return [column.name for column in self.columns if column.holds in holds]


def _maybe(name: str, holds: str, *others: str) -> Column:
    return Column(name, holds, others, needed=False, empty=True)


PROJECTS: Final = Table(
    "projects", "projects", ("project",),
    (
        Column("project_id", ID, ("id",)), Column("user_id", ID, ("owner_id",)), Column("created_at", TIME),
        Column("usage_limit", BYTES, empty=True), _maybe("bandwidth_limit", BYTES),
    ),
    "created_at",
)  # fmt: skip
USERS: Final = Table(
    "users", "users", ("user", "account"),
    (Column("user_id", ID, ("id",)), Column("email_hash", ID, empty=True), Column("created_at", TIME, empty=True)),
    "created_at",
)  # fmt: skip
BANDWIDTH: Final = Table(
    "bandwidth", "bandwidth rollups", ("bandwidth", "rollup"),
    (
        Column("project_id", ID), Column("interval_start", TIME), Column("action", ACTION),
        Column("settled", BYTES), _maybe("inline", BYTES), _maybe("user_id", ID),
    ),
    "interval_start",
)  # fmt: skip
TALLIES: Final = Table(
    "tallies", "storage tallies", ("tally", "tallies"),
    (Column("project_id", ID), Column("interval_start", TIME), Column("remote", BYTES), _maybe("bucket", TEXT)),
    "interval_start",
)  # fmt: skip
NODES: Final = Table(
    "nodes", "nodes", ("node",),
    (
        Column("node_id", ID, ("id",)), Column("wallet", ID, empty=True), _maybe("email_hash", ID),
        Column("last_contact_success", TIME, empty=True), _maybe("last_contact_failure", TIME),
        _maybe("created_at", TIME), _maybe("vetted_at", TIME), _maybe("disqualified", TIME),
        _maybe("suspended", TIME), _maybe("exit_finished_at", TIME),
        _maybe("free_disk", NUMBER), _maybe("piece_count", NUMBER), _maybe("total_audit_count", NUMBER),
        _maybe("audit_success_count", NUMBER), _maybe("total_uptime_count", NUMBER),
        _maybe("uptime_success_count", NUMBER),
    ),
    "created_at",
)  # fmt: skip
PAYMENTS: Final = Table(
    "payments", "payments to nodes", ("payment", "paystub"),
    (Column("period", MONTH), Column("node_id", ID), Column("amount", MICROS)),
    "period",
)  # fmt: skip
RECEIPTS: Final = Table(
    "receipts", "receipts of nodes", ("receipt",),
    (Column("period", MONTH), Column("node_id", ID), Column("amount", MICROS), Column("receipt", TEXT, empty=True)),
    "period",
)  # fmt: skip
PAYERS: Final = Table(
    "payers", "payer lists", ("payer",),
    (Column("wallet", ID, ("address", "addr")), Column("amount", MICROS, ("amnt",)), _maybe("period", MONTH)),
    "period",
)  # fmt: skip

TABLES: Final = {
    table.name: table for table in (PROJECTS, USERS, BANDWIDTH, TALLIES, NODES, PAYMENTS, RECEIPTS, PAYERS)
}
_BY_WORD: Final = (BANDWIDTH, TALLIES, PAYERS, RECEIPTS, PAYMENTS, NODES, PROJECTS, USERS)
"""In this order, because `node_payments` has two of the words and `project_bandwidth` too."""
_PARTS = re.compile(r"[^a-z0-9]+")


def table_of(path: PurePath) -> Table | None:
    """Return which table a file holds, by the words in its name; None = its name says nothing.

    >>> table_of(PurePath("eu1_node-payments.csv.gz")).name, table_of(PurePath("us/storage_tallies.csv")).name
    ('payments', 'tallies')
    """
    name = path.name.lower()
    return next((table for table in _BY_WORD if any(word in name for word in table.words)), None)


def region_of(path: PurePath, regions: tuple[str, ...]) -> str:
    """Return the region a file is from: a part of its name, else of its folders, nearest first; empty = it says none.

    >>> region_of(PurePath("exports/us1/ap-users.csv"), ("ap", "eu", "us")), region_of(PurePath("eu1/x.csv"), ("eu",))
    ('ap', 'eu')
    """
    for part in reversed(path.parts):
        for word in _PARTS.split(part.lower()):
            if (found := word.rstrip("0123456789")) in regions:
                return found
    return ""
