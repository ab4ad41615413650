"""Owns reading chat: which form an export has, and JSON lines or tables in the contract's own words.

Invariant: fields that are not in the contract (topics, further links) never leave the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from agents.importers.chat_message import FIELDS, NEEDED, ChatOptions
from agents.importers.discord import read_discord
from agents.importers.discord_activity import read_activity
from agents.importers.expand import Reader, over_files
from agents.importers.json_rows import convert_rows, encode, instant, key_of, missing
from agents.importers.mapping import Rule, apply_rules
from agents.importers.slack import is_slack, read_slack
from agents.importers.source import InputError, Row, Source
from agents.importers.tables import columns_used, read_table
from agents.importers.transactions import zoned
from agents.importers.zulip import is_zulip, read_zulip_export, read_zulip_messages

__all__ = ["FIELDS", "FORMS", "chat_form_reader", "read_chat"]

FORMS = ("auto", "json", "table", "discord", "discord-activity", "slack", "zulip")
_PRESENCE_NEEDED = ("server", "time", "online")
_EDIT_NEEDED = ("message_id", "time")
_ACTIVITY = re.compile(rb'"(quantities|online-members|messages-sent)"')
_EXPORTER = re.compile(rb'^\s*\{\s*"guild"\s*:\s*\{')
_ZULIP = re.compile(rb'"display_recipient"\s*:')


def chat_form_reader(form: str, options: ChatOptions, delimiter: str | None, encoding: str | None) -> Reader:
    """Return the reader of *form*; `auto` looks at the beginning of each file, and at what a folder holds."""

    def one_file(source: Source) -> Iterator[Row]:
        found = form_of(source) if form == "auto" else form
        if found == "discord":
            return read_discord(source, options)
        if found == "discord-activity":
            return read_activity(source, options)
        if found == "zulip":
            return read_zulip_messages(source, options)
        if found == "table":
            return read_chat_table(source, options, delimiter)
        return read_chat(source, options.rules, channel=options.channel, org=options.org)

    def read(source: Source) -> Iterator[Row]:
        if form in ("auto", "slack") and is_slack(source):
            return read_slack(source, options)
        if form in ("auto", "zulip") and is_zulip(source):
            return read_zulip_export(source, options)
        if form == "slack":
            raise InputError(f"{source.name}: no Slack export: it is a zip file or folder with users.json in it")
        return over_files(one_file, encoding)(source)

    return read


def form_of(source: Source) -> str:
    """Return which form a file has, by its beginning."""
    head = source.peek()
    if source.name.endswith(".bson") or (_ACTIVITY.search(head) and b'"message_id"' not in head):
        return "discord-activity"
    if _EXPORTER.search(head):
        return "discord"
    if _ZULIP.search(head):
        return "zulip"
    return "json" if head.lstrip()[:1] in (b"{", b"[", b"") else "table"


def read_chat(source: Source, rules: Sequence[Rule], *, channel: str | None, org: str | None) -> Iterator[Row]:
    """Yield one row per chat message or presence sample.

    Args:
        source: JSON lines, or one array.
        rules: Mapped fields; they win over fields of the same name.
        channel: Used where a message names none.
        org: The org of all messages; wins over what they say.
    """

    def convert(row: dict[str, Any], line: bytes) -> Row:
        message = {name: row[name] for name in FIELDS if row.get(name) is not None}
        mapped, problem = apply_rules(rules, row)
        return _finished(message | mapped, channel, org, problem)

    return convert_rows(source, convert)


def read_chat_table(source: Source, options: ChatOptions, delimiter: str | None) -> Iterator[Row]:
    """Yield one row per message of a table (see `read_table`), whose columns are the contract's fields or mapped."""
    rules = options.rules
    for record in read_table(source, rules, delimiter=delimiter, wanted=columns_used(rules, FIELDS)):
        if record.cells is None:
            yield Row(None, record.raw, record.problem)
            continue
        mapped, problem = apply_rules(rules, record.cells)
        message = {name: record.cells[name] for name in FIELDS if record.cells.get(name) not in (None, "")} | mapped
        if isinstance(message.get("time"), str):
            message["time"], odd = zoned(message["time"])
            problem = problem or odd
        if isinstance(message.get("online"), str) and message["online"].isdecimal():
            message["online"] = int(message["online"])
        yield _finished(message, options.channel, options.org, record.problem or problem)


def _finished(message: dict[str, Any], channel: str | None, org: str | None, problem: str | None) -> Row:
    kind = message.get("type")
    presence = kind == "presence"
    if channel is not None and not presence:
        message.setdefault("channel", channel)
    if org is not None:
        message["org_id"] = org
    needed = _PRESENCE_NEEDED if presence else _EDIT_NEEDED if kind in ("edit", "delete") else NEEDED
    problem = missing(message, needed) or problem
    return Row(
        key_of(message.get("server" if presence else "channel")),
        encode(message),
        problem,
        time=instant(message.get("time")),
    )
