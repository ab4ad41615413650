"""Owns the amounts of measures that are durations, or count at another time than the event's own.

Invariant: such an amount is how many milliseconds before the event's time the thing began, or took place; what can't be
told is refused, except for a duration that clocks made negative: it is NO_DURATION.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from state.measures import NO_DURATION, UNITS_MS, Catalogue
from state.week import HOUR_MS
from state.week_grid import WAIT_BITS
from streams.reading import Rejected, decoded, time_ms_of

_LONGEST_MS = (1 << WAIT_BITS) - 1
_AHEAD_MS = HOUR_MS  # so much later than its event something may take place, as events may be ahead of now

AmountOf = Callable[[msgspec.Raw, int | None, int], int]
"""Gets an event's properties (empty = it has none), its quantity and its time (ms); raises `Rejected`."""


def amounts_of(catalogue: Catalogue) -> dict[str, AmountOf]:
    """Return by measure what makes the amount, for those whose amount is not just the quantity."""
    found: dict[str, AmountOf] = {}
    for measure in catalogue.measures:
        if measure.since:
            found[measure.name] = _since(measure.since)
        elif measure.duration:
            found[measure.name] = _stated(UNITS_MS[measure.duration])
        elif measure.time:
            found[measure.name] = _moved(measure.time)
    return found


def _since(name: str) -> AmountOf:
    """Return what makes a duration of the time in property *name*."""
    began_ms = _time_in(name)

    def amount(properties: msgspec.Raw, _: int | None, time_ms: int) -> int:
        found = time_ms - began_ms(properties)
        if found > _LONGEST_MS:
            raise Rejected("bad_time", f"`{name}` is {found} ms before the event, at most {_LONGEST_MS}")
        return max(found, NO_DURATION)

    return amount


def _stated(unit_ms: int) -> AmountOf:
    """Return what makes a duration of the quantity, in units of *unit_ms*."""

    def amount(_: msgspec.Raw, quantity: int | None, __: int) -> int:
        if quantity is None:
            raise Rejected("missing_field", "no `quantity`")
        if quantity * unit_ms > _LONGEST_MS:
            raise Rejected("bad_quantity", f"`quantity` is {quantity * unit_ms} ms, at most {_LONGEST_MS}")
        return max(quantity * unit_ms, NO_DURATION)

    return amount


def _moved(name: str) -> AmountOf:
    """Return what tells how long before its event something took place, by the time in property *name*."""
    at_ms = _time_in(name)

    def amount(properties: msgspec.Raw, _: int | None, time_ms: int) -> int:
        found = time_ms - at_ms(properties)
        if found < -_AHEAD_MS:
            raise Rejected("bad_time", f"`{name}` is {-found} ms after the event, at most {_AHEAD_MS}")
        return found

    return amount


def _time_in(name: str) -> Callable[[msgspec.Raw], int]:
    """Return what reads the time (ms) in property *name*; nothing else of the properties is decoded."""
    kind = msgspec.defstruct(
        "Properties", [("moment", int | float | str | None, None)], rename={"moment": name}, gc=False
    )
    decoder, place = msgspec.json.Decoder(kind), f"`$.{name}`"

    def read(properties: msgspec.Raw) -> int:
        raw = bytes(properties)
        found: Any = decoded(decoder, b"{}" if raw in (b"", b"null") else raw, place)
        return time_ms_of(found.moment, name)

    return read
