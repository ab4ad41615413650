"""Owns the reading of `product-events` for sinks.

Invariant: an event is stored exactly when the workers' reader takes it, under the id by which they find duplicates;
what they refuse is in their dead letters already. Times are judged by the message's arrival, so that the outcome does
not depend on when it is read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from agents.sinks.safe_text import fit_json, fit_text
from state.identity import spelled
from streams.reading import Reader, Rejected

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Event(msgspec.Struct, gc=False):
    """What the workers do not keep of an event."""

    name: str | None = None
    event: str | None = None
    quantity: int | None = None
    unit: msgspec.Raw = msgspec.Raw(b"")
    properties: msgspec.Raw = msgspec.Raw(b"")


class _Export(msgspec.Struct, gc=False):
    """The same, of the properties of the export form."""

    quantity: int | None = None
    unit: msgspec.Raw = msgspec.Raw(b"")


class EventRow(NamedTuple):
    """A product event; `mended` says whether something in it could not be stored as it came."""

    event_id: str
    occurred_at: datetime
    name: str
    alias: str
    alias_key: str
    org_id: str | None
    quantity: int | None
    unit: str | None
    properties: str | None
    mended: bool


_event, _export = msgspec.json.Decoder(_Event), msgspec.json.Decoder(_Export)
_any = msgspec.json.Decoder()


def time_of(time_ms: int) -> datetime:
    """Return a moment, exact to the millisecond."""
    return _EPOCH + timedelta(milliseconds=time_ms)


def read_event(record: Any, reader: Reader, max_value_bytes: int, max_ahead_ms: int) -> EventRow | None:
    """Return the event in a record, None for one that only says that two aliases are one person.

    Raises:
        Rejected: For what the workers refuse too; or not_json and too_deep for properties that can't be stored.
    """
    value: bytes = record.value or b""
    if len(value) > max_value_bytes:
        raise Rejected("too_big", f"{len(value)} bytes, at most {max_value_bytes}")
    reading = reader(value)
    if reading.link:
        return None
    if reading.time_ms > record.timestamp + max_ahead_ms:
        raise Rejected("bad_time", "`time` is ahead of the message's arrival")
    found = _event.decode(value)
    name, quantity, unit, properties = found.name, found.quantity, bytes(found.unit), bytes(found.properties)
    if name is None:
        inner = _export.decode(properties or b"{}")
        name, quantity, unit = found.event, inner.quantity, bytes(inner.unit)
    text, mended = (None, False) if properties in (b"", b"null") else fit_json(properties)
    fit_name, fit_unit = fit_text(name or ""), _unit(unit)
    mended |= fit_name != name or (fit_unit is not None and "\ufffd" in fit_unit)
    return EventRow(
        reading.id[1:], time_of(reading.time_ms), fit_name, reading.who, spelled(reading.who), reading.org or None,
        quantity, fit_unit, text, mended,
    )  # fmt: skip


def _unit(raw: bytes) -> str | None:
    """Return the unit as text; what is no text is kept as it is written."""
    if raw in (b"", b"null"):
        return None
    try:
        unit = _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        unit = None
    return fit_text(unit if isinstance(unit, str) else raw.decode("utf-8", "replace"))
