"""Owns reading Zulip: an organisation's export (folder or zip with `realm.json`) and messages as its API gives them.

Invariant: messages come by their ids, which is by time; Zulip has no replies, so nothing answers anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from agents.importers.chat_message import ChatOptions, Person, Said, rows_of, seconds_of, table_of, text_of
from agents.importers.files import Files, FilesProgress, root_of
from agents.importers.json_rows import convert_rows, decode_object
from agents.importers.json_scan import Scanner
from agents.importers.source import InputError, Row, Source

_PART = re.compile(r"^messages-(\d+)\.json$")
_STREAM = 2  # the type of a recipient that is a channel
_TABLES = frozenset({"zerver_userprofile", "zerver_userprofile_crossrealm", "zerver_stream", "zerver_recipient"})


def is_zulip(source: Source) -> bool:
    """Return whether the input is a folder or archive of an organisation's export."""
    return hasattr(source.content, "sizes") and root_of(source.content, "realm.json") is not None


@dataclass
class _Realm:
    """Who and what the numbers in an export are; `server` is the organisation's name in its address."""

    people: dict[str, Person] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    recipients: dict[str, str] = field(default_factory=dict)
    """Recipient → stream; who is not here is no stream but people."""
    server: str = ""


def read_zulip_export(source: Source, options: ChatOptions) -> Iterator[Row]:
    """Yield a row per message of an export, and one per edit.

    Args:
        source: The unpacked export.
        options: Names, and which messages are wanted.

    Raises:
        InputError: If files of the export are missing or cut off.
    """
    files, progress = cast(Files, source.content), cast(FilesProgress, source.raw)
    root = root_of(files, "realm.json") or ""
    realm = _realm(files, root)
    parts = sorted((int(match[1]), name) for name in files.sizes if (match := _PART.match(name.removeprefix(root))))
    if not parts:
        raise InputError(f"{source.name}: no messages-000001.json beside realm.json: unpack the whole export")
    for _, name in parts:
        part = progress.opened(files.open(name))
        try:
            elements = Scanner(part).members(frozenset({"zerver_message"}), frozenset())
            for number, (_, value) in enumerate(elements, start=1):
                place = f"{part.name}, message {number}"
                message = None if value is None else decode_object(value)
                if message is None:
                    raw = None if value is None else value[:1000]
                    yield Row(None, raw, "too_large" if value is None else "not_a_json_object", place)
                else:
                    yield from rows_of(_exported(message, realm, place), options, message)
        finally:
            progress.finished(part, files.sizes[name])


def _exported(message: dict[str, Any], realm: _Realm, place: str) -> Said:
    sender = text_of(message.get("sender"))
    recipient = text_of(message.get("recipient"))
    stream = realm.recipients.get(recipient)
    edited = message.get("last_edit_time")
    return Said(
        id=text_of(message.get("id")),
        author=realm.people.get(sender) or (Person(sender) if sender else None),
        time=seconds_of(message.get("date_sent", message.get("pub_date"))),
        channel="" if stream is None else realm.streams.get(stream, stream),
        server=realm.server,
        edited=None if edited is None else seconds_of(edited),
        direct=stream is None,
        place=place,
    )


def _realm(files: Files, root: str) -> _Realm:
    found = _Realm()
    source = files.open(f"{root}realm.json")
    try:
        for table, value in Scanner(source).members(_TABLES | {"zerver_realm"}, frozenset()):
            row = (decode_object(value) if value is not None else None) or {}
            id_ = text_of(row.get("id"))
            if table == "zerver_realm":
                found.server = text_of(row.get("string_id")) or text_of(row.get("name"))
            elif table == "zerver_stream":
                found.streams[id_] = text_of(row.get("name"))
            elif table == "zerver_recipient":
                if row.get("type") == _STREAM:
                    found.recipients[id_] = text_of(row.get("type_id"))
            else:
                email = text_of(row.get("delivery_email")) or text_of(row.get("email"))
                bot = row.get("is_bot") is True or table.endswith("crossrealm")
                found.people[id_] = Person(id_, text_of(row.get("full_name")), email.lower(), bot)
    finally:
        source.close()
    return found


def read_zulip_messages(source: Source, options: ChatOptions) -> Iterator[Row]:
    """Yield a row per message as `GET /messages` gives them: its answer as it is, an array, or lines.

    Args:
        source: The messages.
        options: Names, and which messages are wanted.
    """
    head = source.peek()
    if re.search(rb'"messages"\s*:\s*\[', head):
        for _, value in Scanner(source).members(frozenset({"messages"}), frozenset()):
            message = None if value is None else decode_object(value)
            if message is None:
                raw = None if value is None else value[:1000]
                yield Row(None, raw, "too_large" if value is None else "not_a_json_object")
            else:
                yield from rows_of(said_by_api(message), options, message)
        return
    pending: list[Row] = []

    def convert(message: dict[str, Any], _: bytes) -> Row:
        first, *more = rows_of(said_by_api(message), options, message)
        pending.extend(more)
        return first

    for row in convert_rows(source, convert):
        yield row
        yield from pending
        pending.clear()


def is_api_message(message: dict[str, Any]) -> bool:
    """Return whether an object is a message of Zulip's API."""
    return "display_recipient" in message and "sender_id" in message


def said_by_api(message: dict[str, Any]) -> Said:
    """Return a message of Zulip's API in the words of the contract."""
    recipient = message.get("display_recipient")
    id_ = text_of(message.get("sender_id"))
    email = text_of(message.get("sender_email")).lower()
    edited = message.get("last_edit_timestamp")
    history = message.get("edit_history")
    editor = text_of(table_of(history[0]).get("user_id")) if isinstance(history, list) and history else ""
    person = Person(id_, text_of(message.get("sender_full_name")), email, message.get("is_bot") is True)
    return Said(
        id=text_of(message.get("id")),
        author=person if id_ or email else None,
        time=seconds_of(message.get("timestamp")),
        channel=text_of(recipient),
        server=text_of(message.get("sender_realm_str")),
        edited=None if edited is None else seconds_of(edited),
        editor=Person(editor) if editor and editor != id_ else None,
        direct=message.get("type") in ("private", "direct") or isinstance(recipient, list),
    )
