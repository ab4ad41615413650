"""Owns how the messages of every chat's export become messages of the contract: one place for their rules.

Invariant: a text that somebody wrote never leaves the export; only who wrote where, when, and in answer to what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agents.importers.json_rows import encode, key_of, missing
from agents.importers.mapping import Rule, apply_rules
from agents.importers.source import Row

FIELDS = ("message_id", "author", "time", "channel", "in_reply_to", "org_id", "server", "type", "online")
NEEDED = ("message_id", "author", "time", "channel")
AUTHORS = ("email", "name", "id")


@dataclass(frozen=True)
class Person:
    """Somebody in an export's directory."""

    id: str
    name: str = ""
    email: str = ""
    bot: bool = False


@dataclass(frozen=True)
class ChatOptions:
    """What the command line says of an export.

    `author` is which name stands for a person: their e-mail address, where the export has none their id; their user
    name; or their id. `bots` and `direct`: also messages of bots, and those among a few people.
    """

    channel: str | None = None
    org: str | None = None
    server: str | None = None
    author: str = "email"
    bots: bool = False
    direct: bool = False
    rules: Sequence[Rule] = field(default=())

    def name_of(self, person: Person) -> str:
        """Return what *person* is called in messages."""
        if self.author == "email" and person.email:
            return person.email
        return (person.name if self.author == "name" else "") or person.id


@dataclass(frozen=True)
class Said:
    """One message of an export, in the words of the contract; times are epoch seconds or text that is none."""

    id: str
    author: Person | None
    time: float | str
    channel: str
    server: str = ""
    parent: str = ""
    edited: float | str | None = None
    editor: Person | None = None
    direct: bool = False
    place: str = ""


def rows_of(said: Said, options: ChatOptions, raw: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the row of one message, and one more if it was edited later.

    Args:
        said: The message.
        options: Which messages are wanted, and names.
        raw: The message as the export has it, for mapped fields.
    """
    seconds = said.time if isinstance(said.time, float) else None
    held = "direct_message" if said.direct and not options.direct else ""
    if said.author is not None and said.author.bot and not options.bots:
        held = "bot_message"
    if held:
        yield Row(None, None, held, said.place, seconds)
        return
    message: dict[str, Any] = {
        "message_id": said.id,
        "time": iso(said.time),
        "channel": options.channel or said.channel,
    }
    if said.author is not None:
        message["author"] = options.name_of(said.author)
    if said.parent:
        message["in_reply_to"] = said.parent
    _place(message, said, options)
    mapped, problem = apply_rules(options.rules, raw)
    message |= mapped
    problem = missing(message, NEEDED) or ("bad_time" if seconds is None else None) or problem
    yield Row(key_of(message["channel"]), encode(message), problem, said.place, seconds)
    if said.edited is not None:
        edit = {"type": "edit", "message_id": said.id, "time": iso(said.edited), "channel": message["channel"]}
        who = said.editor or said.author
        if who is not None:
            edit["author"] = options.name_of(who)
        _place(edit, said, options)
        yield Row(key_of(edit["channel"]), encode(edit), None, said.place, seconds)


def deletion(said: Said, options: ChatOptions) -> Row:
    """Return the row that says that the message `said.id` was deleted at `said.time`."""
    seconds = said.time if isinstance(said.time, float) else None
    message: dict[str, Any] = {"type": "delete", "message_id": said.id, "time": iso(said.time)}
    message["channel"] = options.channel or said.channel
    if said.author is not None:
        message["author"] = options.name_of(said.author)
    _place(message, said, options)
    return Row(key_of(message["channel"]), encode(message), None, said.place, seconds)


def _place(message: dict[str, Any], said: Said, options: ChatOptions) -> None:
    """Put in where the message belongs."""
    server = options.server or said.server
    if server:
        message["server"] = server
    if options.org is not None:
        message["org_id"] = options.org


def iso(time: float | str) -> str:
    """Return a time as messages have it, to the millisecond; text that is none stays as it stands.

    >>> iso(1767603661.0419)
    '2026-01-05T09:01:01.041Z'
    """
    if isinstance(time, str):
        return time
    try:
        return datetime.fromtimestamp(int(time * 1000) / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    except (OverflowError, ValueError, OSError):
        return str(time)


def seconds_of(value: Any) -> float | str:
    """Return an ISO time, or epoch seconds as number or text, as seconds; what is neither as text.

    >>> seconds_of("2026-01-05T10:01:01.5+01:00"), seconds_of("1767603661.000200"), seconds_of(None)
    (1767603661.5, 1767603661.0002, '')
    """
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value)
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(str(value))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return str(value)


def text_of(value: Any) -> str:
    """Return a name or id as text; what is neither is empty."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def table_of(value: Any) -> dict[str, Any]:
    """Return *value* if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}
