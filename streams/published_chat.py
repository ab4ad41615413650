"""An org's chat activity as a downstream service reads it, and its decoding.

Invariant: missing is None, never zero; a document is decoded as a whole or not at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from streams.published_decode import Decoder, Fields, Reading, moment_of, whole_of

WINDOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ChatWindow:
    """Ten minutes in which something was; `cumulative` counts messages since the horizon, its own included."""

    start: datetime
    messages: int
    online: int | None  # None = no sample
    cumulative: int


@dataclass(frozen=True, slots=True)
class ChatPerson:
    """Who wrote, by what people call them (else by id)."""

    user: str
    name: str
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatActivity:
    """The chat activity of an org's server.

    Attributes:
        timezone: IANA name of the server's zone; all moments are given in it.
        since: What is older is not counted.
        updated: The event time that the document holds as of; it moves only when the document changes.
        online: Members online by the newest samples; None = there is none of the last half hour.
        online_at: When the newest sample was taken.
        window_messages: Messages of the last whole ten minutes before `updated`.
        rate_per_minute: Messages per minute at their end, smoothed.
        messages_total: Since `since`.
        windows: Those in which a message or a sample was, oldest first; the last one may be running.
        people: Who wrote most, first.
        people_left_out: How many others wrote.
        age_seconds: How long ago this was known to hold, as of a `Score`; None = not known.
        stale: Whether that is longer than the reader's limit, or unknown.
    """

    org: str
    timezone: str
    since: datetime | None
    updated: datetime | None
    online: int | None
    online_at: datetime | None
    window_messages: int | None
    rate_per_minute: float | None
    messages_total: int | None
    last_message_at: datetime | None
    windows: tuple[ChatWindow, ...]
    people: tuple[ChatPerson, ...]
    people_left_out: int | None
    fence: str
    age_seconds: float | None
    stale: bool


def chat_of(org: str, fields: Fields, decoder: Decoder) -> ChatActivity | None:
    """Return an org's chat activity, or None when there is none.

    Raises:
        NewerSchemaError, UnreadableError: If it can't be read.
    """
    if "windows" not in fields:
        return None
    with Reading(f"chat of {org}", fields):
        zone = ZoneInfo(fields["timezone"])

        def local(name: str) -> datetime | None:
            found = moment_of(fields.get(name))
            return None if found is None else found.astimezone(zone)

        rate, (age, stale) = fields.get("rate_per_minute"), decoder.age(moment_of(fields.get("updated")))
        return ChatActivity(
            org=org,
            timezone=fields["timezone"],
            since=local("since"),
            updated=local("updated"),
            online=whole_of(fields.get("online")),
            online_at=local("online_at"),
            window_messages=whole_of(fields.get("messages_10m")),
            rate_per_minute=float(rate) if rate else None,
            messages_total=whole_of(fields.get("messages_total")),
            last_message_at=local("last_message_at"),
            windows=tuple(
                ChatWindow(datetime.fromtimestamp(start, UTC).astimezone(zone), messages, online, cumulative)
                for start, messages, online, cumulative in json.loads(fields["windows"])
            ),
            people=tuple(
                ChatPerson(each["user"], each["name"], int(each["messages"]))
                for each in json.loads(fields.get("people") or "[]")
            ),
            people_left_out=whole_of(fields.get("people_left_out")),
            fence=fields.get("fence", ""),
            age_seconds=age,
            stale=stale,
        )
