"""Owns reading mail archives (mbox, pipermail, maildir): a chat message per mail, its replies kept, bodies never read.

Invariant: memory holds one mail's headers, however large the archive or a single mail is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.utils import parseaddr, parsedate_to_datetime

from agents.importers.json_rows import encode
from agents.importers.mapping import Rule, apply_rules
from agents.importers.source import Row, Source

FIELDS = ("message_id", "author", "time", "channel", "in_reply_to", "org_id", "server")

MAX_HEADER_BYTES = 262_144
# "From " opens a mail only after an empty line (or at the start) and with a time and a year: bodies quote it badly.
_FROM_LINE = re.compile(rb"^From .*\d{1,2}:\d\d(:\d\d)?\s.*\d{4}\s*$")
_ID = re.compile(r"<([^<>\s]+)>")
_AT = re.compile(r"\s+at\s+")
# The files of a pipermail archive are called by month, week or quarter: the list is what their folder is called.
_MONTHLY = re.compile(r"^(\d{4}-[A-Z][a-z]+|\d{4}q[1-4]|\d{4}-?\d\d(-?\d\d)?|Week-of-Mon-\d{8}|\d{4})$")
_LIST_ID = re.compile(r"<([^<>\s]+)>")
_parser = BytesHeaderParser()


def read_mail(source: Source, *, channel: str | None, org: str | None, rules: Sequence[Rule] = ()) -> Iterator[Row]:
    """Yield one row per mail of an mbox or of a pipermail file.

    The time is the `Date` header with its own offset (`-0000` or no zone: UTC, and said); the parent is the first id in
    `In-Reply-To`; the author is the address of `From` in lower case. A header that is missing or makes no sense stays
    out or is sent as it stands, for the system's dead letters to see.

    Args:
        source: The archive.
        channel: The name of the list; without it the file's name without its ending, of a monthly file the folder's.
        org: The org that the list belongs to; without it the setting `ingest.channels` decides.
        rules: Mapped fields; besides the message's own there are `list_id`, `domain` (of the author) and `folder`.
    """
    channel = channel or list_of(source)
    for header in _headers(source):
        yield mail_row(header, channel, org, rules, source.folder)


def list_of(source: Source) -> str:
    """Return what a file's mailing list is called, by the names of file and folder."""
    name = source.name.rpartition("/")[2].removesuffix(".mbox").removesuffix(".txt")
    return (source.folder if _MONTHLY.match(name) else "") or name or "mail"


def mail_row(header: bytes | None, channel: str, org: str | None, rules: Sequence[Rule], folder: str) -> Row:
    """Return the message of one mail's headers (`None`: they were too large)."""
    if header is None:
        return Row(None, None, "headers_too_large")
    message, problem, more, seconds = _message(header)
    message["channel"] = channel
    if org is not None:
        message["org_id"] = org
    if rules:
        mapped, odd = apply_rules(rules, {"folder": folder, **more, **message})
        message |= mapped
        problem = problem or odd
    return Row(message["channel"].encode("utf-8", "replace"), encode(message), problem, time=seconds)


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


def _message(header: bytes) -> tuple[dict[str, str], str | None, dict[str, str], float | None]:
    """Return the message of one header block, what is odd about it, what else can be mapped, and its time (s)."""
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
    message["time"], oddity, seconds = _time(str(mail.get("Date", "")))
    problem = problem or oddity
    parent = _ID.search(str(mail.get("In-Reply-To", "")))
    if parent:
        message["in_reply_to"] = parent[1]
    more = {"domain": _clean(author.rpartition("@")[2] if "@" in author else "")}
    if list_id := _LIST_ID.search(str(mail.get("List-Id", ""))):
        more["list_id"] = _clean(list_id[1])
    return {name: _clean(value) for name, value in message.items()}, problem, more, seconds


def _address(text: str) -> str:
    """Return the address of a `From` header in lower case; archives that write `name at host` are understood.

    >>> _address("Ann.Lee at example.org (Ann Lee)")
    'ann.lee@example.org'
    """
    address = parseaddr(_AT.sub("@", text, count=1))[1]
    return (address or text.strip()).lower()


def _time(text: str) -> tuple[str, str | None, float | None]:
    """Return a `Date` header as ISO 8601 with its offset, what is odd about it, and the seconds since 1970.

    >>> _time("Fri, 22 May 2015 06:38:22 -0500")
    ('2015-05-22T06:38:22-05:00', None, 1432294702.0)
    >>> _time("Fri, 22 May 2015 06:38:22 -0000")[:2]
    ('2015-05-22T06:38:22+00:00', 'no_zone_read_as_utc')
    """
    try:
        time: datetime = parsedate_to_datetime(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
            return time.isoformat(), "no_zone_read_as_utc", time.timestamp()
        return time.isoformat(), None, time.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return text.strip(), "bad_time", None


def _clean(text: str) -> str:
    """Return *text* without the lone surrogates by which the mail parser marks bytes that are not ASCII."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
