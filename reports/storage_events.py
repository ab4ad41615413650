"""Product events of a storage service as the tables that its exports have.

Invariant: every message is a row of a table, another event (counted), or bad with its reason and place; the same event
id twice is one row.

    upload, download   properties.bytes (else quantity), project, inline          a row of bandwidth, by distinct_id
    stored             properties.bytes (else quantity), project, bucket          a storage tally (a gauge)
    project_created    project, usage_limit, bandwidth_limit                      a project of distinct_id
    user_created       email_hash, else email (then its SHA-256)                  a user

A project that nobody was told to have created is that of the first one who uploads or downloads there, without a
creation date and without a tier.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pyarrow as pa

from reports.storage_read import REST, Bad, Loaded, frame_of
from reports.storage_tables import (
    BANDWIDTH,
    BYTES,
    DOWNLOAD,
    PROJECTS,
    TALLIES,
    TIME,
    UPLOAD,
    USERS,
    Table,
)
from reports.storage_values import LARGEST, LONGEST_ID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US, _END_US = -62_135_596_800_000_000, 253_402_300_800_000_000
_TYPES = {"action": pa.int8()}
Row = dict[str, Any]


class _Refused(Exception):  # noqa: N818  # an outcome, not a fault
    def __init__(self, reason: str, column: str, value: Any = "") -> None:
        super().__init__(reason)
        self.reason, self.column, self.value = reason, column, str(value)[:80]


class EventTables:
    """Takes messages one by one; its tables are those of all that were taken."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._rows: dict[str, dict[str, list[Any]]] = {}
        self._bad: dict[tuple[str, str, str], tuple[int, str, str]] = {}
        self._texts: dict[str, str] = {}
        self._first: dict[str, tuple[int, str]] = {}
        self.mixed: dict[tuple[str, str], int] = {}
        self.spellings: dict[tuple[str, str], set[str]] = {}
        self.others = 0
        """Events of other names."""

    def add(self, place: str, value: bytes | None) -> None:
        """Take the message *value*; *place* says where it is."""
        table = BANDWIDTH
        try:
            name, event, properties = _decoded(value)
            if name not in _KINDS:
                self.others += 1
                return
            table, read = _KINDS[name]
            row = read(self, name, event, properties)
        except _Refused as refused:
            key = (table.name, refused.reason, refused.column)
            rows, first, example = self._bad.get(key, (0, place, refused.value))
            self._bad[key] = (rows + 1, first, example)
            return
        row[REST] = _event_hash(event, value or b"")
        columns = self._rows.setdefault(table.name, {})
        for column in (*(each.name for each in table.columns), REST):
            columns.setdefault(column, []).append(row.get(column))

    def loaded(self) -> list[Loaded]:
        """Return the tables, as if they had been read from files."""
        self._add_projects()
        found = []
        for table in (PROJECTS, USERS, BANDWIDTH, TALLIES):
            columns = self._rows.get(table.name)
            bad = [
                Bad(name, "", self._topic, reason, column, rows, f"at {place}", value)
                for (name, reason, column), (rows, place, value) in self._bad.items()
                if name == table.name
            ]
            if columns is None and not bad:
                continue
            arrays = {
                column.name: pa.array((columns or {}).get(column.name, []), _type_of(column.name, column.holds))
                for column in table.columns
            }
            arrays[REST] = pa.array((columns or {}).get(REST, []), pa.uint64())
            rows = len(arrays[REST]) + sum(each.rows for each in bad)
            loaded = Loaded(table, "", self._topic, frame_of(table, arrays), rows, bad)
            loaded.mixed = {column: count for (name, column), count in self.mixed.items() if name == table.name}
            loaded.spellings = {column: texts for (name, column), texts in self.spellings.items() if name == table.name}
            found.append(loaded)
        return found

    def id_of(self, value: Any, table: Table, column: str) -> str:
        """Return an id in lower case, one object for each.

        Raises:
            _Refused: If it is none.
        """
        text = str(value).strip() if type(value) in (str, int) else ""
        if not text:
            raise _Refused("empty" if value in (None, "") or isinstance(value, str) else "bad_id", column, value)
        found = self._texts.get(text)
        if found is None:
            if len(text) > LONGEST_ID or not text.isprintable():
                raise _Refused("bad_id", column, text)
            found = self._texts[text] = text.lower()
        key = (table.name, column)
        self.mixed[key] = self.mixed.get(key, 0) + (text != found)
        self.spellings.setdefault(key, set()).add(text)
        return found

    def seen(self, project: str, user: str, time_us: int) -> None:
        """Note who was the first in a project."""
        self._first[project] = min(self._first.get(project, (time_us, user)), (time_us, user))

    def _add_projects(self) -> None:
        columns = self._rows.setdefault("projects", {each.name: [] for each in PROJECTS.columns} | {REST: []})
        known = set(columns["project_id"])
        for project, (_, user) in sorted(self._first.items()):
            if project not in known:
                row: Row = {"project_id": project, "user_id": user, REST: 0}
                for column, cells in columns.items():
                    cells.append(row.get(column))


def _traffic(tables: EventTables, name: str, event: Row, properties: Row) -> Row:
    project = tables.id_of(properties.get("project"), BANDWIDTH, "project_id")
    user = tables.id_of(event.get("distinct_id"), BANDWIDTH, "user_id")
    time_us = _time_us(event.get("time"), "interval_start")
    settled = _whole(properties.get("bytes", event.get("quantity")), "settled")
    if settled is None:
        raise _Refused("empty", "settled")
    inline = _whole(properties.get("inline"), "inline")
    tables.seen(project, user, time_us)
    return {
        "project_id": project, "user_id": user, "interval_start": time_us, "settled": settled, "inline": inline,
        "action": UPLOAD if name == "upload" else DOWNLOAD,
    }  # fmt: skip


def _stored(tables: EventTables, _: str, event: Row, properties: Row) -> Row:
    remote = _whole(properties.get("bytes", event.get("quantity")), "remote")
    if remote is None:
        raise _Refused("empty", "remote")
    bucket = properties.get("bucket")
    return {
        "project_id": tables.id_of(properties.get("project"), TALLIES, "project_id"),
        "interval_start": _time_us(event.get("time"), "interval_start"), "remote": remote,
        "bucket": None if bucket in (None, "") else str(bucket),
    }  # fmt: skip


def _project(tables: EventTables, _: str, event: Row, properties: Row) -> Row:
    return {
        "project_id": tables.id_of(properties.get("project"), PROJECTS, "project_id"),
        "user_id": tables.id_of(event.get("distinct_id"), PROJECTS, "user_id"),
        "created_at": _time_us(event.get("time"), "created_at"),
        "usage_limit": _whole(properties.get("usage_limit"), "usage_limit"),
        "bandwidth_limit": _whole(properties.get("bandwidth_limit"), "bandwidth_limit"),
    }


def _user(tables: EventTables, _: str, event: Row, properties: Row) -> Row:
    hashed, email = properties.get("email_hash"), properties.get("email")
    if hashed in (None, "") and isinstance(email, str) and email.strip():
        hashed = hashlib.sha256(email.strip().lower().encode()).hexdigest()
    return {
        "user_id": tables.id_of(event.get("distinct_id"), USERS, "user_id"),
        "email_hash": None if hashed in (None, "") else tables.id_of(hashed, USERS, "email_hash"),
        "created_at": _time_us(event.get("time"), "created_at"),
    }


_KINDS: Final[Mapping[str, tuple[Table, Callable[[EventTables, str, Row, Row], Row]]]] = {
    "upload": (BANDWIDTH, _traffic),
    "download": (BANDWIDTH, _traffic),
    "stored": (TALLIES, _stored),
    "project_created": (PROJECTS, _project),
    "user_created": (USERS, _user),
}


def _decoded(value: bytes | None) -> tuple[str, Row, Row]:
    """Return an event's name, its fields and its properties; the export form keeps its fields in the properties."""
    try:
        event = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Refused("not_json", "") from None
    if not isinstance(event, dict):
        raise _Refused("not_json", "")
    properties = event.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if event.get("name") is None and event.get("event") is not None:
        own = {key: properties.get(key) for key in ("distinct_id", "time", "quantity")}
        event = {**own, "name": event["event"], "event_id": properties.get("$insert_id", event.get("event_id"))}
    name = event.get("name")
    if not isinstance(name, str):
        raise _Refused("not_json", "name")
    return name, event, properties


def _time_us(value: Any, column: str) -> int:
    """Return microseconds since 1970 of ISO 8601, or of seconds, milliseconds or microseconds, told by their size."""
    if value is None or value == "":
        raise _Refused("empty", column)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _Refused("bad_time", column, value) from None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1)
    if type(value) not in (int, float):
        raise _Refused("bad_time", column, value)
    size = abs(value)
    found = round(value * 1_000_000) if size < 1e11 else round(value * 1000) if size < 1e14 else int(value)
    if not _FIRST_US <= found < _END_US:
        raise _Refused("bad_time", column, value)
    return found


def _whole(value: Any, column: str) -> int | None:
    """Return bytes; nothing where nothing is said."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip()[:30])
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise _Refused("bad_number", column, value)
    if abs(value) > LARGEST:
        raise _Refused("too_large", column, value)
    if value < 0:
        raise _Refused("negative", column, value)
    return value


def _event_hash(event: Row, value: bytes) -> int:
    """Return what tells an event from others: its id, else all of its bytes."""
    event_id = event.get("event_id")
    text = value if event_id in (None, "") else str(event_id).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _type_of(column: str, holds: str) -> Any:
    if holds == TIME:
        return pa.timestamp("us", tz="UTC")
    return pa.int64() if holds == BYTES else _TYPES.get(column, pa.string())
