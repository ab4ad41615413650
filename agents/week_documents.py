"""Reads the topic `weeks` with the moment at which each row was told.

Owns the look at it. Invariant: the last row of each key counts, and a tombstone ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from streams.log_state import ends_of, stretches
from streams.settings import Settings
from streams.topic_specs import topic_names


@dataclass(slots=True)
class WeekDocuments:
    """Rows by key, when they were told (ms), and when each key's row was taken away (ms)."""

    rows: dict[str, dict[str, Any]]
    told_ms: dict[str, int]
    removed_ms: dict[str, int]


async def week_documents(settings: Settings, first: str, last: str) -> WeekDocuments:
    """Return what `weeks` says of the ISO weeks *first* to *last*, both inclusive.

    Raises:
        OperatorError: If the topic is missing or could not be read to its end.
    """
    found = WeekDocuments({}, {}, {})
    topic = topic_names(settings).weeks
    ends = await ends_of(settings.kafka, [topic])
    async for _, record in stretches(settings.kafka, dict.fromkeys(ends, 0), ends, whole=True):
        key = record.key.decode()
        if not first <= key.rpartition("|")[2] <= last:  # ISO weeks sort like their names
            continue
        if record.value is None:
            found.rows.pop(key, None)
            found.removed_ms[key] = record.timestamp
        else:
            found.rows[key] = orjson.loads(record.value)
            found.told_ms[key] = record.timestamp
    return found
