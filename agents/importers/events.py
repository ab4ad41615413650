"""Owns reading product events: the contract's form, a Mixpanel export's, Segment's, Snowplow's, and tables.

Invariant: a line in one of the forms that the system reads itself, and that needs no mapping, goes on byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agents.importers.json_rows import convert_rows, encode, instant, key_of, missing
from agents.importers.mapping import Rule, apply_rules
from agents.importers.segment import from_segment, is_segment
from agents.importers.snowplow import COLUMNS, from_snowplow, is_snowplow, row_of_line
from agents.importers.source import Row, Source
from agents.importers.tables import Query, columns_used, read_table
from agents.importers.transactions import table_message

FIELDS = ("event_id", "name", "distinct_id", "time", "org_id", "quantity", "unit", "properties")
FORMS = ("auto", "json", "mixpanel", "segment", "snowplow", "table")
_NEEDED = ("name", "distinct_id", "time")
_MIXPANEL_NAMES = {"distinct_id": "distinct_id", "time": "time", "$insert_id": "event_id"}


def read_events(
    source: Source, rules: Sequence[Rule], *, org: str | None, form: str = "auto", delimiter: str | None = None
) -> Iterator[Row]:
    """Yield one row per event, keyed by `distinct_id`.

    Args:
        source: JSON (lines or one array), Snowplow's lines, or a table.
        rules: Mapped fields (dotted paths reach into `properties`, or whatever the form has); they win over the form.
        org: The org of all events; wins over what they say.
        form: One of FORMS; `auto` looks at each object, and at a file's beginning.
        delimiter: Between CSV columns; `None`: told by the header line.
    """
    if form == "auto":
        form = _form_of(source)
    if form == "table":
        return _table(source, rules, org, delimiter)
    if form == "snowplow" and source.peek().lstrip()[:1] not in (b"{", b"["):
        return _snowplow_lines(source, rules, org)

    def convert(row: dict[str, Any], line: bytes) -> Row:
        if form == "segment" or (form == "auto" and is_segment(row)):
            message, held = from_segment(row) if is_segment(row) else (None, "no_segment_call")
            return Row(None, None, held) if message is None else finished(row, message, rules, org)
        if form == "snowplow" or (form == "auto" and is_snowplow(row)):
            return finished(row, from_snowplow(row), rules, org)
        message = flat_form(row)
        if not rules and org is None:
            problem = missing(message, _NEEDED)
            return Row(key_of(message.get("distinct_id")), line, problem, time=instant(message.get("time")))
        return finished(row, message, rules, org)

    return convert_rows(source, convert)


def finished(row: dict[str, Any], message: dict[str, Any], rules: Sequence[Rule], org: str | None) -> Row:
    """Return the row of a form's message with what is mapped from the form's own *row*."""
    if message.get("event") in ("$identify", "$create_alias"):
        properties = message["properties"]
        time = instant(properties.get("time"))
        return Row(key_of(properties.get("distinct_id")), encode(message), None, time=time)
    mapped, problem = apply_rules(rules, row)
    message = {name: message[name] for name in FIELDS if message.get(name) is not None} | mapped
    if org is not None:
        message["org_id"] = org
    problem = missing(message, _NEEDED) or problem
    return Row(key_of(message.get("distinct_id")), encode(message), problem, time=instant(message.get("time")))


def _form_of(source: Source) -> str:
    """Return `auto` for JSON, whose objects say themselves what they are, else the form of the first line."""
    if isinstance(source.content, Query):
        return "table"
    head = source.peek()
    if head.lstrip()[:1] in (b"{", b"[", b""):
        return "auto"
    columns = head.partition(b"\n")[0].count(b"\t") + 1
    if columns == len(COLUMNS) and not head.startswith(b"app_id\t"):
        return "snowplow"
    # A line of another kind is no table without a header; it goes on as it stands, as evidence.
    first = head.partition(b"\n")[0]
    return "table" if head.startswith(b"PAR1") or any(between in first for between in b",;\t|") else "auto"


def _snowplow_lines(source: Source, rules: Sequence[Rule], org: str | None) -> Iterator[Row]:
    for line in source.lines():
        if line is None:
            yield Row(None, None, "too_large")
            continue
        if not line.strip():
            continue
        row = row_of_line(line)
        if row is None:
            yield Row(None, line.rstrip(b"\r\n"), "other_number_of_columns")
        else:
            yield finished(row, from_snowplow(row), rules, org)


def _table(source: Source, rules: Sequence[Rule], org: str | None, delimiter: str | None) -> Iterator[Row]:
    needs_id = "event_id" if isinstance(source.content, Query) and not source.content.ordered else ""
    for record in read_table(source, rules, delimiter=delimiter, wanted=columns_used(rules, FIELDS)):
        if record.cells is None:
            yield Row(None, record.raw, record.problem)
            continue
        message, problem = table_message(record, rules, FIELDS, "event_id", needs_id)
        quantity = message.get("quantity")
        if isinstance(quantity, str) and quantity.lstrip("-").isdecimal() and len(quantity) < 20:
            message["quantity"] = int(quantity)
        if org is not None:
            message["org_id"] = org
        problem = record.problem or missing(message, _NEEDED) or problem
        time = instant(message.get("time"))
        yield Row(key_of(message.get("distinct_id")), encode(message), problem, time=time)


def flat_form(row: dict[str, Any]) -> dict[str, Any]:
    """Return an event in the contract's own form; one that is in it already is returned as it is.

    >>> flat_form({"event": "Search", "properties": {"distinct_id": 7, "time": 5, "$insert_id": "a", "q": "x"}})
    {'name': 'Search', 'distinct_id': 7, 'time': 5, 'event_id': 'a', 'properties': {'q': 'x'}}
    """
    properties = row.get("properties")
    if "event" not in row or not isinstance(properties, dict):
        return row
    message = {"name": row["event"]}
    message |= {ours: properties[theirs] for theirs, ours in _MIXPANEL_NAMES.items() if theirs in properties}
    message["properties"] = {name: value for name, value in properties.items() if name not in _MIXPANEL_NAMES}
    return message
