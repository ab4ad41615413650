"""Measures by hour of the week, for the recount: when each event counts, and how long it took.

Owns the recount's own reading of `hours`, `since`, `duration` and `time` in `[measures]`, straight from the parsed
TOML. Invariant: what an event adds to its line depends on that event alone, and a duration that came out negative is in
no hour, no sum and no median.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import pandas as pd

from reports.recount_fields import moment_ms, refuse

LINE = "measure/"
_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
_LONGEST_MS = 549_755_813_887  # 17 years
_AHEAD_MS = 3_600_000


class Span(NamedTuple):
    """How long before its own time an event counts by the hour (ms), its amount, and whether its duration is none."""

    before_ms: int
    amount: int
    lacking: bool = False


def span_of(entry: Mapping[str, Any], properties: Any, number: int | None, time_ms: int) -> Span:
    """Return the span of an event of the measure *entry*.

    Args:
        entry: The measure in the model.
        properties: The event's properties; None = it has none.
        number: Its quantity, None = it has none.
        time_ms: Its own time.

    Raises:
        Refused: missing_field, wrong_type, bad_time or bad_quantity.
    """
    if name := entry.get("since"):
        return _lasting(time_ms - _property_ms(properties, name), "bad_time")
    if unit := entry.get("duration"):
        return _lasting((refuse("missing_field") if number is None else number) * _UNITS_MS[unit], "bad_quantity")
    if name := entry.get("time"):
        moved_ms = _property_ms(properties, name) - time_ms
        return Span(-moved_ms, 0) if moved_ms <= _AHEAD_MS else refuse("bad_time")
    return Span(0, number or 0)


def _lasting(lasted_ms: int, too_long: str) -> Span:
    if lasted_ms > _LONGEST_MS:
        refuse(too_long)
    return Span(lasted_ms, lasted_ms) if lasted_ms >= 0 else Span(0, 0, lacking=True)


def _property_ms(properties: Any, name: str) -> int:
    """Return the time in a property (ms)."""
    if not isinstance(properties, dict):
        refuse("missing_field" if properties is None else "wrong_type")
    value = properties.get(name)
    # A truth value is a whole number to Python alone.
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal | None):
        refuse("wrong_type")
    return moment_ms(value)


def with_measures(
    messages: pd.DataFrame, replies: pd.DataFrame, happened: pd.DataFrame, model: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return *messages* and *replies*, as `latency_lines` takes them, with the events and durations of measures.

    A duration is a wait that began with its event, and the only answer to it.
    """
    kept = {name: entry for name, entry in model.get("measures", {}).items() if entry.get("hours")}
    if not kept:
        return messages, replies
    counted = happened[happened["measure"].isin(list(kept)) & ~happened["lacking"].astype(bool)]
    began_ms = counted["time_ms"] - counted["before_ms"]
    events = pd.DataFrame({"org": counted["org"], "line": LINE + counted["measure"], "time_ms": began_ms})
    lasts = counted["measure"].isin([n for n, entry in kept.items() if "since" in entry or "duration" in entry])
    waits = events[lasts].rename(columns={"time_ms": "parent_ms"})
    waits = waits.assign(latency_ms=counted.loc[lasts, "amount"], first=True)
    return _joined(messages, events), _joined(replies, waits)


def _joined(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of both, by the columns of *other*; an empty one has no types to take part with."""
    parts = [part[list(other)] for part in (one, other) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else one
