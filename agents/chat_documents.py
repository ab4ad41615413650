"""Spells an org's chat activity for Redis, and figures for the metrics.

Invariant: what Redis holds follows from the effect alone; figures that are not known are left out, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import orjson

from agents.documents import SCHEMA, Documents
from reports.rate import WINDOW_SECONDS, latest_rate
from state.effects import ChatCounts
from state.week import iso_time
from streams.fenced_write import Write
from streams.org_metrics import ChatFigures

_WINDOW_MS = WINDOW_SECONDS * 1000


class ChatDocuments:
    """Spells chat activity; *zones* gives the time zone of an org's server where it is not the org's own."""

    def __init__(self, documents: Documents, zones: Mapping[str, str] | None = None) -> None:
        self._documents, self._zones = documents, zones or {}

    def write(self, found: ChatCounts, position: int, partition: int) -> Write:
        """Return the hash for Redis; its removal when nothing of the last days is left."""
        fence, key = self._documents.fence(position), f"chat:{{{found.org}}}"
        if not found.windows:
            return Write(key, {}, fence, (), None, partition)
        figures = figures_of(found)
        totals = accumulate(messages for _, messages, _ in found.windows)
        windows = [
            [window * WINDOW_SECONDS, messages, online, total]
            for (window, messages, online), total in zip(found.windows, totals, strict=True)
        ]
        people = [{"user": user, "name": name or user, "messages": n} for user, name, n in found.people]
        fields = {
            "timezone": self._zones.get(found.org, found.timezone),
            "since": iso_time(found.since_ms),
            "updated": iso_time(found.updated_ms),
            "messages_10m": str(figures.window_messages),
            "rate_per_minute": f"{figures.per_minute:.3f}",
            "messages_total": str(found.messages),
            "windows": orjson.dumps(windows).decode(),
            "people": orjson.dumps(people).decode(),
            "people_left_out": str(found.people_left_out),
            "schema": SCHEMA,
            "fence": fence,
        }
        if found.online is not None:
            fields["online"] = str(found.online)
        if found.online_at_ms:
            fields["online_at"] = iso_time(found.online_at_ms)
        if found.last_message_ms:
            fields["last_message_at"] = iso_time(found.last_message_ms)
        return Write(key, fields, fence, (), None, partition)


def figures_of(found: ChatCounts) -> ChatFigures:
    """Return the figures of the moment: those of the last whole window, and who is online."""
    whole = found.updated_ms // _WINDOW_MS - 1
    written = {window: messages for window, messages, _ in found.windows[-40:]}
    return ChatFigures(
        found.online, latest_rate(written.items(), whole), written.get(whole, 0), found.last_message_ms / 1000
    )
