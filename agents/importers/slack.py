"""Owns reading Slack exports: a zip file or folder of `users.json`, `channels.json` and a file per channel and day.

Invariant: days come in order, all channels of a day together, so that nothing is weeks late; no day is held whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from agents.importers.chat_message import (
    ChatOptions,
    Person,
    Said,
    deletion,
    rows_of,
    seconds_of,
    table_of,
    text_of,
)
from agents.importers.files import Files, FilesProgress, read_whole, root_of
from agents.importers.json_rows import decode_object
from agents.importers.json_scan import Scanner
from agents.importers.source import InputError, Row, Source
from streams.reading import plain_text

_DAY = re.compile(r"^([^/]+)/(\d{4}-\d\d-\d\d)\.json$")
_STAMP = re.compile(r"^\d{1,12}(\.\d{1,9})?$")
_LISTS = {"channels.json": False, "groups.json": False, "mpims.json": True, "dms.json": True}
_MAX_LIST_BYTES = 256 << 20
# What people write; every other subtype is Slack's own note (joined, left, renamed, pinned).
_WRITTEN = frozenset(
    {"", "me_message", "thread_broadcast", "file_share", "file_comment", "file_mention", "bot_message"}
)
_BOT = "USLACKBOT"


def is_slack(source: Source) -> bool:
    """Return whether the input is a Slack export: a folder or archive with the list of users."""
    files = source.content
    return hasattr(files, "sizes") and root_of(files, "users.json") is not None and _has_days(files)


def _has_days(files: Files) -> bool:
    root = root_of(files, "users.json") or ""
    return root_of(files, "channels.json") is not None or any(
        _DAY.match(name.removeprefix(root)) for name in files.sizes
    )


def read_slack(source: Source, options: ChatOptions) -> Iterator[Row]:
    """Yield a row per message, one more per edit, and one per deletion that the export records.

    A message's id is channel and `ts`; what stands in a thread answers the thread's first message. Author is the
    e-mail address in `users.json`, where there is none the user's id (see `ChatOptions.author`).

    Args:
        source: The export.
        options: Names, and which messages are wanted.

    Raises:
        InputError: If the export has no days, or a file of it is cut off.
    """
    files, progress = cast(Files, source.content), cast(FilesProgress, source.raw)
    root = root_of(files, "users.json") or ""
    people = _people(files, root)
    channels = _channels(files, root)
    days = []
    for name in files.sizes:
        if match := _DAY.match(name.removeprefix(root)):
            days.append((match[2], match[1], name))
    if not days:
        raise InputError(f"{source.name}: a Slack export has folders with a file a day (general/2026-01-05.json)")
    for _, folder, name in sorted(days):
        channel, direct = channels.get(folder, (plain_text(folder), True))
        day = progress.opened(files.open(name))
        try:
            for number, value in enumerate(Scanner(day).values(), start=1):
                message = None if value is None else decode_object(value)
                place = f"{day.name}, message {number}"
                if message is None:
                    raw = None if value is None else value[:1000]
                    yield Row(None, raw, "too_large" if value is None else "not_a_json_object", place)
                else:
                    yield from _rows(message, plain_text(folder), channel, direct, people, options, place)
        finally:
            progress.finished(day, files.sizes[name])


def _rows(
    message: dict[str, Any],
    folder: str,
    channel_id: str,
    direct: bool,
    people: dict[str, Person],
    options: ChatOptions,
    place: str,
) -> Iterator[Row]:
    subtype = text_of(message.get("subtype"))

    def said(inner: dict[str, Any], stamp: Any, **more: Any) -> Said:
        team = text_of(inner.get("team")) or text_of(message.get("team"))
        return Said(id=f"{channel_id}/{text_of(stamp)}", author=_author(inner, people), time=_seconds(stamp),
                    direct=direct, place=place, channel=folder, server=team, **more)  # fmt: skip

    if subtype == "message_deleted":
        if direct and not options.direct:
            yield Row(None, None, "direct_message", place)
            return
        gone = said(message, message.get("deleted_ts"))
        when = _seconds(message.get("ts"))
        server = gone.server or options.server or options.org or "slack"
        yield deletion(Said(gone.id, None, when, folder, server, place=place), options)
        return
    if subtype == "message_changed":
        yield from _change(message, said, options)
        return
    if subtype not in _WRITTEN:
        yield Row(None, None, "deleted_message" if subtype == "tombstone" else "system_message", place)
        return
    stamp, thread, edited = message.get("ts"), message.get("thread_ts"), table_of(message.get("edited"))
    answers = thread not in (None, "", stamp)
    found = said(
        message, stamp,
        parent=f"{channel_id}/{text_of(thread)}" if answers else "",
        edited=_seconds(edited["ts"]) if edited.get("ts") else None,
        editor=people.get(text_of(edited.get("user"))),
    )  # fmt: skip
    yield from rows_of(found, options, message)


def _change(message: dict[str, Any], said: Any, options: ChatOptions) -> Iterator[Row]:
    """Yield the edit that a compliance export records as a message of its own."""
    inner = table_of(message.get("message"))
    edited = table_of(inner.get("edited"))
    found = said(inner, inner.get("ts"), edited=_seconds(edited.get("ts") or message.get("ts")))
    rows = list(rows_of(found, options, message))
    yield rows[-1] if len(rows) == 2 else rows[0]


def _author(message: dict[str, Any], people: dict[str, Person]) -> Person | None:
    """Return who wrote a message; a bot is one by its record, its id or the subtype."""
    user, bot = text_of(message.get("user")), text_of(message.get("bot_id"))
    if not user and isinstance(message.get("comment"), dict):  # the older form of a comment on a file
        user = text_of(message["comment"].get("user"))
    is_bot = bool(bot) or message.get("subtype") == "bot_message" or user == _BOT
    if user in people:
        known = people[user]
        return Person(known.id, known.name, known.email, known.bot or is_bot)
    name = user or bot or text_of(message.get("username"))
    return Person(name, bot=is_bot) if name else None


def _seconds(stamp: Any) -> float | str:
    """Return a `ts` as seconds; text that is none stays text."""
    text = text_of(stamp)
    return seconds_of(text) if _STAMP.match(text) else text


def _people(files: Files, root: str) -> dict[str, Person]:
    """Return who there is by id."""
    found = {}
    for user in _list(files, root, "users.json"):
        profile = table_of(user.get("profile"))
        email = text_of(profile.get("email")) or text_of(user.get("email"))
        name = text_of(user.get("id"))
        bot = user.get("is_bot") is True or name == _BOT
        found[name] = Person(name, text_of(user.get("name")), email.lower(), bot)
    return found


def _channels(files: Files, root: str) -> dict[str, tuple[str, bool]]:
    """Return folder → (the channel's id, whether it is a talk among few); direct talks have the id as their folder."""
    found: dict[str, tuple[str, bool]] = {}
    for name, direct in _LISTS.items():
        for channel in _list(files, root, name):
            id_ = text_of(channel.get("id"))
            found[text_of(channel.get("name")) or id_] = (id_, direct)
    return found


def _list(files: Files, root: str, name: str) -> list[dict[str, Any]]:
    if root + name not in files.sizes:
        return []
    content = read_whole(files, root + name, _MAX_LIST_BYTES)
    found = decode_object(b'{"list":' + content.removeprefix(b"\xef\xbb\xbf") + b"}")
    if found is None or not isinstance(found["list"], list):
        raise InputError(f"{files.name}: {name} is no list of JSON objects: export it again")
    return [entry for entry in found["list"] if isinstance(entry, dict)]
