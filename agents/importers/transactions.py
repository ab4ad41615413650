"""Owns reading transactions from tables: CSV with a header line, Parquet, JSON, the rows of a query.

Invariant: amounts pass as exact decimal text; a row without an id of its own gets file name and line, so the same one
each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agents.importers.json_rows import encode, instant, key_of, missing
from agents.importers.mapping import Rule, apply_rules, decimal_text
from agents.importers.source import InputError, Row, Source
from agents.importers.tables import Query, Record, columns_used, read_table

FIELDS = ("transaction_id", "org_id", "amount", "currency", "status", "time")
_NEEDED = ("org_id", "amount", "status", "time")
_COMPLETE = ("transaction_id", *_NEEDED)


def read_transactions(source: Source, rules: Sequence[Rule], *, delimiter: str | None = ",") -> Iterator[Row]:
    """Yield one row per transaction, keyed by org, so that a later status follows the first.

    Fields that no rule maps come from columns of their own name. A time without a zone is read as UTC, and said.

    Args:
        source: A table (see `read_table`).
        rules: Mapped fields.
        delimiter: Between CSV columns.

    Raises:
        InputError: If the header lacks a column that a rule names, or a line is beyond all measure.
    """
    wanted = columns_used(rules, FIELDS)
    for record in read_table(source, rules, delimiter=delimiter, wanted=wanted):
        if record.cells is None:
            yield Row(None, record.raw, record.problem)
        elif record.raw is not None and not rules and not missing(record.cells, _COMPLETE):
            time = instant(record.cells["time"])
            yield Row(key_of(record.cells["org_id"]), record.raw, record.problem, time=time)
        else:
            yield _row(record, rules, needs_id="transaction_id" if _unordered(source) else "")


def _unordered(source: Source) -> bool:
    return isinstance(source.content, Query) and not source.content.ordered


def _row(record: Record, rules: Sequence[Rule], needs_id: str) -> Row:
    """Return the message of one row."""
    message, problem = table_message(record, rules, FIELDS, "transaction_id", needs_id)
    if isinstance(message.get("amount"), Decimal):
        message["amount"] = decimal_text(message["amount"])
    problem = record.problem or missing(message, _NEEDED) or problem
    return Row(key_of(message.get("org_id")), encode(message), problem, time=instant(message.get("time")))


def table_message(
    record: Record, rules: Sequence[Rule], fields: Sequence[str], id_field: str, needs_id: str = "", time: str = "time"
) -> tuple[dict[str, Any], str | None]:
    """Return the message of a table's row and what is odd about it.

    Args:
        record: The row.
        rules: Mapped fields; other *fields* come from columns of their name.
        fields: What the message knows.
        id_field: Gets the row's place where the row has no id of its own.
        needs_id: Not empty where the place is no id, because the rows have no order.
        time: The field that is made to have a zone.

    Raises:
        InputError: If an id is needed and not there.
    """
    cells = record.cells or {}
    mapped, problem = apply_rules(rules, cells)
    message = {name: cells[name] for name in fields if cells.get(name) not in (None, "")} | mapped
    if id_field not in message:
        if needs_id:
            raise InputError(
                f"{record.place}: the query gives neither an id nor an order, so the same row would get another id the "
                f"next time: add ORDER BY, or --map {id_field}=COLUMN"
            )
        message[id_field] = record.place
    if isinstance(message.get(time), str):
        message[time], oddity = zoned(message[time])
        problem = problem or oddity
    return message, problem


def zoned(text: str) -> tuple[str | int, str | None]:
    """Return an ISO time with a zone, UTC where it has none, and what is odd about it; other text stays.

    Digits alone are epoch seconds, milliseconds or microseconds, which messages have as numbers.

    >>> zoned("2011-01-04 10:00:00")
    ('2011-01-04T10:00:00+00:00', 'no_zone_read_as_utc')
    """
    stripped = text.strip()
    if stripped.isdecimal() and stripped.isascii() and 9 <= len(stripped) <= 17:
        return int(stripped), None
    try:
        time = datetime.fromisoformat(stripped)
    except ValueError:
        return text, "bad_time"
    if time.tzinfo is not None:
        return text, None
    return time.replace(tzinfo=UTC).isoformat(), "no_zone_read_as_utc"
