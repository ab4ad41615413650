"""Owns reading transactions: CSV with a header line, or JSON lines.

Invariant: amounts pass as exact decimal text; a row without an id of its own gets file name and line, so the same one
each time.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agents.importers.json_rows import convert_rows, encode, key_of, missing
from agents.importers.mapping import Rule, apply_rules, check_columns
from agents.importers.source import InputError, Row, Source

FIELDS = ("transaction_id", "org_id", "amount", "currency", "status", "time")
_NEEDED = ("org_id", "amount", "status", "time")


def read_transactions(source: Source, rules: Sequence[Rule], *, delimiter: str = ",") -> Iterator[Row]:
    """Yield one row per transaction, keyed by org, so that a later status follows the first.

    Fields that no rule maps come from columns of their own name. A time without a zone is read as UTC, and said.

    Args:
        source: CSV or JSON lines (told by the first character).
        rules: Mapped fields.
        delimiter: Between CSV columns.

    Raises:
        InputError: If the header lacks a column that a rule names, or a line is beyond all measure.
    """
    lines = source.lines()
    first = next((line for line in lines if line is None or line.strip()), b"")
    if first is not None and first.lstrip().startswith(b"{"):
        return _json_rows(source, first, lines, rules)
    return _csv_rows(source, itertools.chain((first,), lines), rules, delimiter)


def _json_rows(source: Source, first: bytes, rest: Iterator[bytes | None], rules: Sequence[Rule]) -> Iterator[Row]:
    position = itertools.count(1)

    def convert(row: dict[str, Any], line: bytes) -> Row:
        number = next(position)
        if not rules and not missing(row, ("transaction_id", *_NEEDED)):
            return Row(key_of(row["org_id"]), line)
        return _row(row, rules, f"{source.name}:{number}")

    return convert_rows(source, convert, itertools.chain((first,), rest))


def _csv_rows(source: Source, lines: Iterator[bytes | None], rules: Sequence[Rule], delimiter: str) -> Iterator[Row]:
    reader = csv.reader(_text(source, lines), delimiter=delimiter)
    header = next(reader, None)
    if header is None:
        return
    check_columns(rules, header, source.name)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(None, None, f"csv_{str(error).split('(')[0].strip().replace(' ', '_')}")
            continue
        if not cells:
            continue
        row = _row(dict(zip(header, cells, strict=False)), rules, f"{source.name}:{reader.line_num}")
        yield row if len(cells) == len(header) else row._replace(problem="other_number_of_columns")


def _text(source: Source, lines: Iterator[bytes | None]) -> Iterator[str]:
    """Yield lines as text (a byte order mark is dropped, bytes that are no UTF-8 become U+FFFD)."""
    encoding = "utf-8-sig"
    for line in lines:
        if line is None:
            raise InputError(f"{source.name}: a line of this CSV file is over the limit of a Kafka record")
        yield line.decode(encoding, "replace")
        encoding = "utf-8"


def _row(row: dict[str, Any], rules: Sequence[Rule], default_id: str) -> Row:
    """Return the message of one row of either kind."""
    mapped, problem = apply_rules(rules, row)
    message = {name: row[name] for name in FIELDS if row.get(name) not in (None, "")} | mapped
    message.setdefault("transaction_id", default_id)
    if isinstance(message.get("amount"), Decimal):
        message["amount"] = format(message["amount"], "f")
    if isinstance(message.get("time"), str):
        message["time"], oddity = zoned(message["time"])
        problem = problem or oddity
    return Row(key_of(message.get("org_id")), encode(message), missing(message, _NEEDED) or problem)


def zoned(text: str) -> tuple[str, str | None]:
    """Return an ISO time with a zone, UTC where it has none, and what is odd about it; other text stays.

    >>> zoned("2011-01-04 10:00:00")
    ('2011-01-04T10:00:00+00:00', 'no_zone_read_as_utc')
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return text, None if text.strip().isdigit() else "bad_time"
    if time.tzinfo is not None:
        return text, None
    return time.replace(tzinfo=UTC).isoformat(), "no_zone_read_as_utc"
