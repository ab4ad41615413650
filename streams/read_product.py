"""Owns the reading of product events, in both forms.

Invariant: an event without an id gets one from its content, so that the same
bytes twice are one event.
"""

from __future__ import annotations

import msgspec
import xxhash

from state.identity import spelled
from state.measures import Catalogue
from streams.read_amount import amounts_of
from streams.reading import Reader, Reading, Rejected, checked_id, checked_integer, checked_org, decoded, time_ms_of


class ProductEvent(msgspec.Struct, gc=False):
    """A product event as it comes in, but for its properties; the Mixpanel export form has `event` and everything else
    in these."""

    name: str | None = None
    event: str | None = None
    event_id: str | int | None = None
    distinct_id: str | int | None = None
    time: int | float | str | None = None
    org_id: str | int | None = None
    quantity: int | None = None
    unit: str | None = None


class Properties(msgspec.Struct, gc=False):
    """What few are asked for."""

    properties: msgspec.Raw = msgspec.Raw(b"")


class ExportProperties(msgspec.Struct, gc=False):
    """What the export form keeps in its properties."""

    distinct_id: str | int | None = None
    time: int | float | str | None = None
    insert_id: str | int | None = msgspec.field(default=None, name="$insert_id")
    org_id: str | int | None = None
    quantity: int | None = None
    alias: str | int | None = None
    identified_id: str | int | None = msgspec.field(default=None, name="$identified_id")
    anon_id: str | int | None = msgspec.field(default=None, name="$anon_id")


LINKS = ("$identify", "$create_alias")
"""Events of the export form that only say that two aliases are one person."""

_event = msgspec.json.Decoder(ProductEvent)
_rest = msgspec.json.Decoder(Properties)
_properties = msgspec.json.Decoder(ExportProperties)


def product_reader(catalogue: Catalogue, max_id: int) -> Reader:
    """Return the reader of product events; unknown names count as `other`.

    The amount is the quantity, or what `amounts_of` makes of it.
    """
    measure_of, amounts = catalogue.by_event.get, amounts_of(catalogue)

    def read(value: bytes) -> Reading:
        event = decoded(_event, value)
        name, event_id = event.name, event.event_id
        if name is None and event.event is not None:
            inner = decoded(_properties, bytes(decoded(_rest, value).properties) or b"{}")
            name, event_id = event.event, inner.insert_id if inner.insert_id is not None else event_id
            if name in LINKS:
                return _link(name, inner, max_id)
            event.distinct_id, event.time, event.org_id, event.quantity = (
                inner.distinct_id,
                inner.time,
                inner.org_id,
                inner.quantity,
            )
        if name is None:
            raise Rejected("missing_field", "no `name` (or `event`)")
        measure = measure_of(name)
        if measure is None:
            checked_id(name, "name", max_id)
            measure = "other"
        found = Reading(
            "" if event.org_id is None else checked_org(event.org_id, "org_id", max_id),
            checked_id(event.distinct_id, "distinct_id", max_id),
            measure,
            time_ms_of(event.time),
            checked_integer(event.quantity, "quantity"),
            "p" + (xxhash.xxh3_128_hexdigest(value) if event_id is None else checked_id(event_id, "event_id", max_id)),
            "",
        )
        if measure in amounts:
            found.amount = amounts[measure](decoded(_rest, value).properties, event.quantity, found.time_ms)
        return found

    return read


def _link(name: str, inner: ExportProperties, max_id: int) -> Reading:
    """Return what an event says of two aliases."""
    who, other = inner.distinct_id, inner.alias
    if name == "$identify":
        who, other = (inner.distinct_id if inner.identified_id is None else inner.identified_id), inner.anon_id
    known = spelled(checked_id(who, "distinct_id", max_id))
    alias = spelled(checked_id(other, "alias", max_id))
    return Reading("", known, "", time_ms_of(inner.time), 0, "", "", link=alias)
