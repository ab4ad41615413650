"""Owns the calls of Segment's spec: track, page, screen, identify, alias, as product events.

Invariant: `context` (addresses, devices, traits) never leaves the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CALLS = frozenset({"track", "page", "screen", "identify", "group", "alias"})
_PAGES = {"page": "Viewed a Page", "screen": "Viewed a Screen"}
_TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")


def is_segment(row: Mapping[str, Any]) -> bool:
    """Return whether an object is a call of Segment's spec."""
    return row.get("type") in _CALLS and ("userId" in row or "anonymousId" in row or "messageId" in row)


def from_segment(row: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """Return the message of one call, or why there is none.

    `track` keeps its event's name; `page` and `screen` become `Viewed a Page` and `Viewed a Screen`, with the page's
    name among the properties; `identify` and `alias` become what the export form calls `$identify` and
    `$create_alias`, which links two aliases; `group` says nothing of what somebody did and is held back.

    >>> from_segment({"type": "alias", "userId": "7", "previousId": "x", "timestamp": "2026-01-05T10:00:00Z"})[0]
    {'event': '$create_alias', 'properties': {'distinct_id': '7', 'time': '2026-01-05T10:00:00Z', 'alias': 'x'}}
    """
    kind, user, anonymous = row["type"], row.get("userId"), row.get("anonymousId")
    time = next((row[name] for name in _TIMES if row.get(name)), None)
    if kind == "group":
        return None, "group_call"
    if kind in ("identify", "alias"):
        other = row.get("previousId") if kind == "alias" else anonymous
        if not user or not other:
            return None, "names_one_alias"
        properties = {"distinct_id": user, "time": time}
        properties |= {"$identified_id": user, "$anon_id": other} if kind == "identify" else {"alias": other}
        return {"event": "$identify" if kind == "identify" else "$create_alias", "properties": properties}, None
    message: dict[str, Any] = {"name": row.get("event") if kind == "track" else _PAGES[kind]}
    message["distinct_id"] = user or anonymous
    message["time"] = time
    message["event_id"] = row.get("messageId")
    properties = dict(row["properties"]) if isinstance(row.get("properties"), dict) else {}
    for name in ("name", "category"):
        if kind != "track" and row.get(name):
            properties.setdefault(name, row[name])
    if isinstance(properties.get("quantity"), int) and not isinstance(properties["quantity"], bool):
        message["quantity"] = properties["quantity"]
    message["properties"] = properties
    return {name: value for name, value in message.items() if value not in (None, "", {})}, None
