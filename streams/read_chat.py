"""Owns the reading of chat messages and presence samples.

Invariant: a message's id and the id it replies to are spelled alike, so that
the two meet.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.reading import Reader, Reading, Rejected, checked_id, checked_integer, checked_org, decoded, time_ms_of


class ChatMessage(msgspec.Struct, gc=False):
    """A chat message or, with `type` "presence", a sample of who is online."""

    message_id: str | int | None = None
    author: str | int | None = None
    time: int | float | str | None = None
    channel: str | int | None = None
    in_reply_to: str | int | None = None
    org_id: str | int | None = None
    server: str | int | None = None
    type: str | None = None
    online: int | None = None


_message = msgspec.json.Decoder(ChatMessage)


def chat_reader(channels: Mapping[str, str], max_id: int) -> Reader:
    """Return the reader of chat messages; *channels* maps channels and servers to orgs."""

    def org_of(message: ChatMessage) -> str:
        if message.org_id is not None:
            return checked_org(message.org_id, "org_id", max_id)
        for place in (message.channel, message.server):
            if place is not None and str(place) in channels:
                return channels[str(place)]
        return ""

    def read(value: bytes) -> Reading:
        message = decoded(_message, value)
        org = org_of(message)
        if message.type == "presence":
            if not org:
                org = checked_org(message.server, "server", max_id)
            if message.online is None:
                raise Rejected("missing_field", "no `online`")
            time_ms = time_ms_of(message.time)
            online = checked_integer(message.online, "online")
            # Samples of an org's servers are told apart by what they refer to.
            server = "" if message.server is None else f"o{message.server}"
            return Reading(org, "", "presence", time_ms, online, f"o{message.server}/{time_ms}", server)
        parent = message.in_reply_to
        return Reading(
            org,
            checked_id(message.author, "author", max_id),
            "message",
            time_ms_of(message.time),
            0,
            "c" + checked_id(message.message_id, "message_id", max_id),
            "" if parent is None or parent == "" else "c" + checked_id(parent, "in_reply_to", max_id),
        )

    return read
