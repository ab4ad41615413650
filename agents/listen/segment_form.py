"""Owns the reading of calls as Segment's libraries send them: track, page, screen, identify, alias; also in a batch.

Source: segment.com/docs/connections/sources/catalog/libraries/server/http-api. What becomes of a call:

    track            an event of that name
    page, screen     an event `Viewed a Page` or `Viewed a Screen`
    identify         `$identify` (anonymousId is userId) and `$create_alias` (traits.email is userId)
    alias            `$create_alias` (previousId is userId)
    group            nothing: who belongs to which org is the directory's to say

Invariant: the write key is in no record.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.listen.auth import Grant
from agents.listen.rows import (
    Fields,
    Message,
    Refused,
    encoded,
    fields_of,
    has,
    inner,
    key_of,
    message,
    put_org,
    scalar,
)

CALLS = ("track", "page", "screen", "identify", "alias", "group")
_VIEWS = {"page": "Viewed a Page", "screen": "Viewed a Screen"}
_batch = msgspec.json.Decoder(list[msgspec.Raw])


class Envelope(msgspec.Struct):
    """A batch: its calls, and what it says of all of them."""

    calls: list[bytes]
    sent_at: str | int | None
    write_key: str


def write_key_of(row: bytes) -> str:
    """Return the write key inside a call or a batch; empty when there is none."""
    found = scalar(fields_of(row), "writeKey")
    return found if isinstance(found, str) else ""


def batch_of(body: bytes) -> Envelope:
    """Return the calls of a batch.

    Raises:
        Refused: If it is none.
    """
    fields = fields_of(body, "the body")
    try:
        calls = [bytes(call) for call in _batch.decode(fields["batch"])]
    except (KeyError, msgspec.DecodeError):
        raise Refused(
            "missing_field", "there is no array `batch`", 'Send {"batch": [{"type": "track", …}]}.', "batch"
        ) from None
    key = scalar(fields, "writeKey")
    return Envelope(calls, scalar(fields, "sentAt"), key if isinstance(key, str) else "")


def call(row: bytes, kind: str, grant: Grant, now_seconds: float, sent_at: str | int | None = None) -> list[Message]:
    """Return the messages of one call; none when it says nothing of use here.

    Args:
        row: The call.
        kind: Which one it is; empty: its `type` says so.
        grant: The sender's.
        now_seconds: When it came.
        sent_at: When its batch was sent.

    Raises:
        Refused: If it can't be used.
    """
    fields = fields_of(row)
    kind = kind or str(scalar(fields, "type") or scalar(fields, "action") or "")
    if kind not in CALLS:
        raise Refused("unknown_call", "`type` is no call that is known", f"One of: {', '.join(CALLS)}.", "type")
    if kind == "group":
        return []
    who = scalar(fields, "userId") if scalar(fields, "userId") not in (None, "") else scalar(fields, "anonymousId")
    if who in (None, ""):
        raise Refused("missing_field", "there is neither `userId` nor `anonymousId`", "Send one of them.", "userId")
    time = _time(fields, sent_at, now_seconds)
    if kind in ("identify", "alias"):
        return _links(fields, kind, time)
    return [_event(fields, kind, who, time, grant)]


def _event(fields: Fields, kind: str, who: str | int | None, time: object, grant: Grant) -> Message:
    name = _VIEWS.get(kind) or scalar(fields, "event")
    if not isinstance(name, str) or not name:
        raise Refused("missing_field", "a track call has no `event`", "Send the event's name as `event`.", "event")
    properties = inner(fields, "properties")
    for each in ("name", "category"):
        if kind in _VIEWS and has(fields, each):
            properties.setdefault(each, fields[each])
    found: Fields = {"name": name, "distinct_id": who, "time": time}
    id_ = scalar(fields, "messageId")
    if id_ is not None:
        found["event_id"] = id_
    for at in (inner(fields, "context").get("groupId"), properties.get("org_id")):
        if at is not None:
            found.setdefault("org_id", at)
    put_org(found, grant.org, "context.groupId")
    if isinstance(quantity := scalar(properties, "quantity"), int):
        found["quantity"] = quantity
    if properties:
        found["properties"] = properties
    return message("events", key_of(who), encoded(found))


def _links(fields: Fields, kind: str, time: object) -> list[Message]:
    """Return what the call says of aliases, in the export form's words."""
    user, found = scalar(fields, "userId"), list[tuple[str, dict[str, Any]]]()
    if user in (None, ""):
        return []
    if kind == "alias":
        if (previous := scalar(fields, "previousId")) not in (None, ""):
            found.append(("$create_alias", {"distinct_id": user, "alias": previous, "time": time}))
    else:
        if (anonymous := scalar(fields, "anonymousId")) not in (None, ""):
            found.append(("$identify", {"$identified_id": user, "$anon_id": anonymous, "time": time}))
        if (email := scalar(inner(fields, "traits"), "email")) not in (None, ""):
            found.append(("$create_alias", {"distinct_id": user, "alias": email, "time": time}))
    return [message("events", key_of(user), encoded({"event": name, "properties": said})) for name, said in found]


def _time(fields: Fields, sent_at: str | int | None, now_seconds: float) -> object:
    """Return when it happened: what the call says, else when it was sent, else now.

    Raises:
        Refused: If now it would be and there is no id: sent again it would count twice.
    """
    for name in ("timestamp", "originalTimestamp", "sentAt"):
        if has(fields, name):
            return fields[name]
    if sent_at is not None:
        return sent_at
    if not has(fields, "messageId"):
        raise Refused(
            "missing_field", "there is neither a `timestamp` nor a `messageId`",
            "Send `timestamp`: when it has to be sent again it would count twice otherwise.", "timestamp",
        )  # fmt: skip
    return datetime.fromtimestamp(now_seconds, UTC).isoformat()
