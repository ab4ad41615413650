"""Owns reading product events: JSON lines in the contract's form or that of a Mixpanel export.

Invariant: a line that needs no mapping goes on byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agents.importers.json_rows import convert_rows, encode, key_of, missing
from agents.importers.mapping import Rule, apply_rules
from agents.importers.source import Row, Source

FIELDS = ("event_id", "name", "distinct_id", "time", "org_id", "quantity", "unit", "properties")
_NEEDED = ("name", "distinct_id", "time")
_MIXPANEL_NAMES = {"distinct_id": "distinct_id", "time": "time", "$insert_id": "event_id"}


def read_events(source: Source, rules: Sequence[Rule], *, org: str | None) -> Iterator[Row]:
    """Yield one row per event, keyed by `distinct_id`.

    Args:
        source: JSON lines.
        rules: Mapped fields (dotted paths reach into `properties`); they win over fields of the same name.
        org: The org of all events; wins over what they say.
    """

    def convert(row: dict[str, Any], line: bytes) -> Row:
        message = flat_form(row)
        if not rules and org is None:
            return Row(key_of(message.get("distinct_id")), line, missing(message, _NEEDED))
        mapped, problem = apply_rules(rules, row)
        message = {name: message[name] for name in FIELDS if message.get(name) is not None} | mapped
        if org is not None:
            message["org_id"] = org
        return Row(key_of(message.get("distinct_id")), encode(message), missing(message, _NEEDED) or problem)

    return convert_rows(source, convert)


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
