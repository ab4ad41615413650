"""Owns reading chat logs: JSON lines in the contract's shape, or that of an IRC or Zulip archive with the same names.

Invariant: fields that are not in the contract (topics, further links) never leave the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agents.importers.json_rows import convert_rows, encode, key_of, missing
from agents.importers.mapping import Rule, apply_rules
from agents.importers.source import Row, Source

FIELDS = ("message_id", "author", "time", "channel", "in_reply_to", "org_id", "server", "type", "online")
_NEEDED = ("message_id", "author", "time", "channel")
_PRESENCE_NEEDED = ("server", "time", "online")


def read_chat(source: Source, rules: Sequence[Rule], *, channel: str | None, org: str | None) -> Iterator[Row]:
    """Yield one row per chat message or presence sample.

    Args:
        source: JSON lines.
        rules: Mapped fields; they win over fields of the same name.
        channel: Used where a message names none.
        org: The org of all messages; wins over what they say.
    """

    def convert(row: dict[str, Any], line: bytes) -> Row:
        message = {name: row[name] for name in FIELDS if row.get(name) is not None}
        mapped, problem = apply_rules(rules, row)
        message |= mapped
        presence = message.get("type") == "presence"
        if channel is not None and not presence:
            message.setdefault("channel", channel)
        if org is not None:
            message["org_id"] = org
        problem = missing(message, _PRESENCE_NEEDED if presence else _NEEDED) or problem
        return Row(key_of(message.get("server" if presence else "channel")), encode(message), problem)

    return convert_rows(source, convert)
