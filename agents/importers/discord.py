"""Owns reading exports of DiscordChatExporter (JSON): one file a channel.

Invariant: a file is never held whole; guild and channel stand before the messages, as the exporter writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.importers.chat_message import ChatOptions, Person, Said, rows_of, seconds_of, table_of, text_of
from agents.importers.json_rows import decode_object
from agents.importers.json_scan import Scanner
from agents.importers.source import Row, Source

# What people write; all other types are Discord's own notes (somebody joined, a message was pinned, a thread begun).
_WRITTEN = frozenset({"Default", "Reply", "ChatInputCommand", "ContextMenuCommand", "20", "23"})
_DIRECT = frozenset({"DirectTextChat", "DirectGroupTextChat"})
_HEADS = frozenset({"guild", "channel"})


def read_discord(source: Source, options: ChatOptions) -> Iterator[Row]:
    """Yield a row per message, and one per edit.

    The id of the guild is the server, the name of the channel the channel; only a message of type `Reply` answers the
    one it refers to (crossposts and forwards refer to one too).

    Args:
        source: The export of one channel.
        options: Names, and which messages are wanted.

    Raises:
        InputError: If the document is cut off.
    """
    heads: dict[str, dict[str, Any]] = {"guild": {}, "channel": {}}
    for name, value in Scanner(source).members(frozenset({"messages"}), _HEADS):
        message = None if value is None else decode_object(value)
        if name in _HEADS:
            heads[name] = message or {}
        elif value is None:
            yield Row(None, None, "too_large")
        elif message is None:
            yield Row(None, value[:1000], "not_a_json_object")
        else:
            yield from _rows(message, heads["guild"], heads["channel"], options)


def _rows(
    message: dict[str, Any], guild: dict[str, Any], channel: dict[str, Any], options: ChatOptions
) -> Iterator[Row]:
    time = seconds_of(message.get("timestamp"))
    if text_of(message.get("type", "Default")) not in _WRITTEN:
        yield Row(None, None, "system_message", time=time if isinstance(time, float) else None)
        return
    parent = table_of(message.get("reference")).get("messageId") if message.get("type") == "Reply" else None
    edited = message.get("timestampEdited")
    said = Said(
        id=text_of(message.get("id")),
        author=_person(message.get("author")),
        time=time,
        channel=text_of(channel.get("name")) or text_of(channel.get("id")),
        server=text_of(guild.get("id")),
        parent=text_of(parent),
        edited=None if edited is None else seconds_of(edited),
        direct=channel.get("type") in _DIRECT,
    )
    yield from rows_of(said, options, message)


def _person(value: Any) -> Person | None:
    author = table_of(value)
    if not author:
        return None
    return Person(text_of(author.get("id")), text_of(author.get("name")), bot=author.get("isBot") is True)
