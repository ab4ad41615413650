"""Owns reading mail archives (mbox): one chat message per mail, its latency links kept, its body never read.

Invariant: memory holds one mail's headers, however large the archive or a single mail is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.utils import parseaddr, parsedate_to_datetime

import orjson

from agents.importers.source import Row, Source

MAX_HEADER_BYTES = 262_144
# "From " opens a mail only after an empty line (or at the start) and with a time and a year: bodies quote it badly.
_FROM_LINE = re.compile(rb"^From .*\d{1,2}:\d\d(:\d\d)?\s.*\d{4}\s*$")
_ID = re.compile(r"<([^<>\s]+)>")
_AT = re.compile(r"\s+at\s+")
_parser = BytesHeaderParser()


def read_mail(source: Source, *, channel: str | None, org: str | None) -> Iterator[Row]:
    """Yield one row per mail of an mbox.

    The time is the `Date` header with its own offset (`-0000` or no zone: UTC, and said); the parent is the first id in
    `In-Reply-To`; the author is the address of `From` in lower case. A header that is missing or makes no sense stays
    out or is sent as it stands, for the system's dead letters to see.

    Args:
        source: The archive.
        channel: The name of the list; the file's name without its ending where none is given.
        org: The org that the list belongs to; without it the setting `ingest.channels` decides.
    """
    channel = channel or source.name.removesuffix(".mbox").removesuffix(".txt") or "mail"
    key = channel.encode()
    for header in _headers(source):
        if header is None:
            yield Row(None, None, "headers_too_large")
            continue
        message, problem = _message(header)
        message["channel"] = channel
        if org is not None:
            message["org_id"] = org
        yield Row(key, orjson.dumps(message), problem)


def _headers(source: Source) -> Iterator[bytes | None]:
    """Yield each mail's header block without its `From ` line; `None` for one over `MAX_HEADER_BYTES`."""
    header: list[bytes] | None = None  # None: before the first mail
    size, in_header, after_empty = 0, False, True
    for line in source.lines():
        text = b"" if line is None else line
        if after_empty and text.startswith(b"From ") and _FROM_LINE.match(text):
            if header is not None:
                yield b"".join(header) if size <= MAX_HEADER_BYTES else None
            header, size, in_header, after_empty = [], 0, True, False
            continue
        after_empty = line is not None and not text.strip()
        if in_header and header is not None:
            in_header = not after_empty
            size += len(text) if line is not None else MAX_HEADER_BYTES + 1
            if size <= MAX_HEADER_BYTES:
                header.append(text)
    if header is not None:
        yield b"".join(header) if size <= MAX_HEADER_BYTES else None


def _message(header: bytes) -> tuple[dict[str, str], str | None]:
    """Return the message of one header block, and what is odd about it."""
    mail = _parser.parsebytes(header)
    message: dict[str, str] = {}
    problem = None
    identity = _ID.search(str(mail.get("Message-ID", "")))
    if identity:
        message["message_id"] = identity[1]
    else:
        problem = "no_message_id"
    author = _address(str(mail.get("From", "")))
    if author:
        message["author"] = author
    else:
        problem = "no_author"
    message["time"], oddity = _time(str(mail.get("Date", "")))
    problem = problem or oddity
    parent = _ID.search(str(mail.get("In-Reply-To", "")))
    if parent:
        message["in_reply_to"] = parent[1]
    return {name: _clean(value) for name, value in message.items()}, problem


def _address(text: str) -> str:
    """Return the address of a `From` header in lower case; archives that write `name at host` are understood.

    >>> _address("Ann.Lee at example.org (Ann Lee)")
    'ann.lee@example.org'
    """
    address = parseaddr(_AT.sub("@", text, count=1))[1]
    return (address or text.strip()).lower()


def _time(text: str) -> tuple[str, str | None]:
    """Return a `Date` header as ISO 8601 with its offset, and what is odd about it.

    >>> _time("Fri, 22 May 2015 06:38:22 -0500")
    ('2015-05-22T06:38:22-05:00', None)
    >>> _time("Fri, 22 May 2015 06:38:22 -0000")
    ('2015-05-22T06:38:22+00:00', 'no_zone_read_as_utc')
    """
    try:
        time: datetime = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return text.strip(), "bad_time"
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC).isoformat(), "no_zone_read_as_utc"
    return time.isoformat(), None


def _clean(text: str) -> str:
    """Return *text* without the lone surrogates by which the mail parser marks bytes that are not ASCII."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
