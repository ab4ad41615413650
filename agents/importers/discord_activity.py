"""Owns reading what a counting bot stored in MongoDB: who was online and how much each wrote, window by window.

One document is `{time, online-members, messages-sent, quantities: {member id: messages}}`, from `mongoexport` (extended
JSON in its canonical, relaxed or first form; lines, an array, or pretty-printed), or a `.bson` file of `mongodump`.

A document becomes one presence sample and, for each member, as many messages as they wrote, all at the document's time
and with ids made of server, time, member and number: the state counts exactly what the bot counted, and sending the
same document again counts nothing twice. No message answers another, so latency is not touched. Invariant: the sum over
members is checked against `messages-sent`, and said where they differ; the members' own numbers are what is sent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bson import BSON, json_util
from bson.codec_options import CodecOptions
from bson.errors import BSONError

from agents.importers.chat_message import ChatOptions, iso, seconds_of, text_of
from agents.importers.json_rows import decode_object, encode, key_of
from agents.importers.json_scan import Scanner
from agents.importers.mapping import apply_rules
from agents.importers.source import InputError, Row, Source

MAX_MESSAGES = 100_000
"""Most messages of one document: ten minutes of a very large server; more is a fault of the bot."""
_MAX_DOCUMENT_BYTES = (16 << 20) + 16_384
_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
_JSON = json_util.JSONOptions(tz_aware=True, tzinfo=UTC)
_UNREADABLE = (
    BSONError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
    ArithmeticError,
)


def read_activity(source: Source, options: ChatOptions) -> Iterator[Row]:
    """Yield per document a presence sample, then the messages of each member in the order of their ids.

    Args:
        source: The dump.
        options: `server` names the server, and `channel` the channel of the messages (else it is the server's name);
            without either they are called as the file.

    Raises:
        InputError: If the dump is cut off in the middle.
    """
    name = source.name.rpartition("/")[2].removesuffix(".json").removesuffix(".jsonl").removesuffix(".bson")
    server = options.server or name
    for number, (document, raw) in enumerate(_documents(source), start=1):
        if document is None:
            yield Row(None, raw, "not_a_json_object" if raw is not None else "too_large")
        else:
            yield from _rows(document, options, server, f"{source.name}, document {number}")


def _rows(document: Mapping[str, Any], options: ChatOptions, server: str, place: str) -> Iterator[Row]:
    time = _seconds(document.get("time"))
    seconds = time if isinstance(time, float) else None
    shared: dict[str, Any] = {"time": iso(time), "server": server}
    if options.org is not None:
        shared["org_id"] = options.org
    mapped, odd = apply_rules(options.rules, document)
    shared |= mapped
    quantities = document.get("quantities")
    counts = {text_of(who): _count(n) for who, n in quantities.items()} if isinstance(quantities, Mapping) else {}
    stated = _count(document.get("messages-sent")) if "messages-sent" in document else None
    problem = _problem(counts, stated) or ("bad_time" if seconds is None else None) or odd
    online = _count(document.get("online-members"))
    if document.get("online-members") is not None:
        sample = {"type": "presence", **shared, "online": document["online-members"] if online is None else online}
        yield Row(key_of(shared["server"]), encode(_plain(sample)), problem, place, seconds)
    elif problem or not counts:
        yield Row(None, None, problem or "no_online_members", place, seconds)
    if problem in ("bad_quantity", "too_many_messages", "bad_time"):
        return
    channel = options.channel or shared["server"]
    for who in sorted(counts):
        message = {"author": who, "channel": channel, **shared}
        for number in range(1, (counts[who] or 0) + 1):
            message["message_id"] = f"{shared['server']}/{shared['time']}/{who}/{number}"
            yield Row(key_of(channel), encode(message), None, place, seconds)


def _problem(counts: Mapping[str, int | None], stated: int | None) -> str | None:
    """Return what is wrong with a document's numbers."""
    if any(n is None for n in counts.values()) or "" in counts:
        return "bad_quantity"
    total = sum(n or 0 for n in counts.values())
    if total > MAX_MESSAGES:
        return "too_many_messages"
    return "quantities_differ_from_messages_sent" if stated is not None and total != stated else None


def _count(value: Any) -> int | None:
    """Return a count, `None` for what is none: MongoDB's shell stores whole numbers as doubles."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if math.isfinite(value) and value == int(value) and value >= 0 else None


def _seconds(value: Any) -> float | str:
    """Return a document's time; the driver gives dates that Python has no room for as milliseconds."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return seconds_of(value) if isinstance(value, str | int | float) else str(value)


def _plain(sample: dict[str, Any]) -> dict[str, Any]:
    """Return the sample so that it can be written, whatever the document had for a number."""
    return {name: value if isinstance(value, str | int) else str(value)[:100] for name, value in sample.items()}


def _documents(source: Source) -> Iterator[tuple[dict[str, Any] | None, bytes | None]]:
    """Yield each document, or `None` and the bytes that are none."""
    head = source.peek()
    if source.name.endswith(".bson") or (head and head.lstrip()[:1] not in (b"{", b"[")):
        yield from ((_decoded(raw), raw) for raw in _bson(source))
        return
    for value in _values(source, head):
        document = None
        if value is not None:
            try:
                found = json_util.loads(value.decode(), json_options=_JSON)
                document = found if isinstance(found, dict) else None
            except _UNREADABLE:
                document = None
        yield document, value


def _values(source: Source, head: bytes) -> Iterator[bytes | None]:
    """Yield lines where each is a document of its own, so that a broken one ends with its line; else cut values."""
    if head.lstrip()[:1] == b"[":
        yield from Scanner(source).values()
        return
    lines = source.lines()
    first = next((line for line in lines if line is None or line.strip()), None)
    if first is not None and decode_object(first) is None and first.strip() in (b"{", b'{"'):
        yield from Scanner(source, first).values()
        return
    for line in itertools.chain((first,), lines):
        if line is None or line.strip():
            yield None if line is None else line.strip()


def _bson(source: Source) -> Iterator[bytes]:
    """Yield the documents of a `mongodump` file; each begins with its size."""
    while head := source.read(4):
        size = int.from_bytes(head, "little", signed=True)
        body = source.read(size - 4) if 5 <= size <= _MAX_DOCUMENT_BYTES else b""
        if len(head) + len(body) != size:
            raise InputError(f"{source.name}: no BSON, or cut off: a document says that it has {size:,} bytes")
        yield head + body


def _decoded(raw: bytes) -> dict[str, Any] | None:
    try:
        return BSON(raw).decode(_CODEC)
    except _UNREADABLE:
        return None
