"""Owns reading the activity log as a table: `id, org, userid, created, ghost` from CSV, Parquet, JSON or a query.

Invariant: what an operator did as the user (`ghost`) stays marked; an id is the log's own or the row's place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agents.importers.json_rows import encode, instant, key_of, missing
from agents.importers.mapping import Rule
from agents.importers.source import Row, Source
from agents.importers.tables import Query, columns_used, read_table
from agents.importers.transactions import table_message

FIELDS = ("id", "org", "userid", "created", "ghost", "action")
_NEEDED = ("org", "userid", "created")
_YES = {"true": 1, "t": 1, "yes": 1, "y": 1, "false": 0, "f": 0, "no": 0, "n": 0, "": 0}


def read_activities(source: Source, rules: Sequence[Rule], *, delimiter: str | None = ",") -> Iterator[Row]:
    """Yield one row per activity, keyed by user.

    Args:
        source: A table (see `read_table`).
        rules: Mapped fields; others come from columns of their own name.
        delimiter: Between CSV columns.

    Raises:
        InputError: Like `read_transactions`.
    """
    needs_id = "id" if isinstance(source.content, Query) and not source.content.ordered else ""
    wanted = columns_used(rules, FIELDS)
    for record in read_table(source, rules, delimiter=delimiter, wanted=wanted):
        if record.cells is None:
            yield Row(None, record.raw, record.problem)
            continue
        message, problem = table_message(record, rules, FIELDS, "id", needs_id, "created")
        if "ghost" in message:
            message["ghost"] = _ghost(message["ghost"])
        problem = record.problem or missing(message, _NEEDED) or problem
        time = instant(message.get("created"))
        yield Row(key_of(message.get("userid")), encode(message), problem, time=time)


def _ghost(value: Any) -> Any:
    """Return a mark as the number that the contract wants: CSV has text, databases have booleans.

    >>> [_ghost(value) for value in ("0", "812", True, "false", "maybe")]
    [0, 812, 1, 0, 'maybe']
    """
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else _YES.get(text, value)
