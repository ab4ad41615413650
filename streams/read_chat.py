"""Owns the reading of chat messages, their deletions and later versions, and presence samples.

Invariant: a message's id and the id it replies to are spelled alike, so that
the two meet.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.reading import (
    Reader,
    Reading,
    Rejected,
    checked_id,
    checked_integer,
    checked_org,
    decoded,
    plain_text,
    time_ms_of,
)


class ChatMessage(msgspec.Struct, gc=False):
    """A chat message or, by its `type`: a sample of who is online ("presence"), a later version of a message ("edit"),
    or its end ("delete"; `time` is then the time of deletion)."""

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
_LARGEST_CACHE = 10_000


def chat_reader(channels: Mapping[str, str], max_id: int, teams: Mapping[str, str] | None = None) -> Reader:
    """Return the reader of chat messages.

    Args:
        channels: Which org a channel or server belongs to.
        max_id: Most characters of an id.
        teams: Which team a channel belongs to; one that is not there is a place of its own.
    """
    places = _Places(teams or {}, max_id)

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
            return _presence(message, org, max_id)
        if message.type == "delete":
            return _deletion(message, org, max_id)
        if message.type == "edit":
            return _edit(message, max_id)
        parent = message.in_reply_to
        return Reading(
            org,
            checked_id(message.author, "author", max_id),
            "message",
            time_ms_of(message.time),
            0,
            "c" + checked_id(message.message_id, "message_id", max_id),
            "" if parent is None or parent == "" else "c" + checked_id(parent, "in_reply_to", max_id),
            "",
            "",
            "" if message.channel is None else places[str(message.channel)],
        )

    return read


class _Places(dict[str, str]):
    """Channel → where its messages count: its team, else itself, as text that a terminal bears."""

    def __init__(self, teams: Mapping[str, str], longest: int) -> None:
        super().__init__()
        self._teams, self._longest = teams, longest

    def __missing__(self, channel: str) -> str:
        place = self._teams.get(channel) or plain_text(channel).strip()[: self._longest]
        if len(self) < _LARGEST_CACHE:
            self[channel] = place
        return place


def _presence(message: ChatMessage, org: str, max_id: int) -> Reading:
    if not org:
        org = checked_org(message.server, "server", max_id)
    if message.online is None:
        raise Rejected("missing_field", "no `online`")
    time_ms = time_ms_of(message.time)
    online = checked_integer(message.online, "online")
    # Samples of an org's servers are told apart by what they refer to.
    server = "" if message.server is None else f"o{message.server}"
    return Reading(org, "", "presence", time_ms, online, f"o{message.server}/{time_ms}", server)


def _edit(message: ChatMessage, max_id: int) -> Reading:
    """Return a later version of a message: counted apart, since it changes neither who asked when nor what."""
    who = "" if message.author is None else checked_id(message.author, "author", max_id)
    said = checked_id(message.message_id, "message_id", max_id)
    return Reading("", who, "message", time_ms_of(message.time), 0, "c" + said, "", "edit")


def _deletion(message: ChatMessage, org: str, max_id: int) -> Reading:
    """Return a deletion: its author's, or where it names none the org's (or that of its server)."""
    who = "" if message.author is None else checked_id(message.author, "author", max_id)
    if not who and not org:
        org = checked_org(message.server, "server", max_id)
    gone = checked_id(message.message_id, "message_id", max_id)
    return Reading(org, who, "message_deleted", time_ms_of(message.time), 0, "d" + gone, "c" + gone)
