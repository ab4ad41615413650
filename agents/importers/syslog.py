"""Owns reading syslog files: each line goes on as it is, without its line end.

Invariant: what the system parses is what the machine wrote; the rules for years and zones live in its settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.importers.json_rows import instant
from agents.importers.source import Row, Source

# Only counted here: what a line says is decided by the system, by the same rules as for live lines.
_SYSLOG_HEAD = re.compile(rb"^(<\d{1,3}>)?(1 |[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\{)|^<\d{1,3}>\d{4}-")

# Only lines of RFC 5424 say when they were written so that files can be put in order by it.
_DATED = re.compile(rb"^<\d{1,3}>1 ([\x21-\x7e]{10,40}) ")


def read_syslog(source: Source, *, key: str | None) -> Iterator[Row]:
    """Yield one row per line (RFC 5424, RFC 3164 or JSON; CRLF is tolerated; blank lines are no rows).

    Args:
        source: The log.
        key: The record key; the file's name where none is given. One key keeps a file's lines in order.
    """
    record_key = (key or source.name).encode()
    for line in source.lines():
        if line is None:
            yield Row(None, None, "too_large")
            continue
        line = line.rstrip(b"\r\n")
        if line.strip():
            dated = _DATED.match(line)
            time = instant(dated[1].decode()) if dated else None
            yield Row(record_key, line, None if _SYSLOG_HEAD.match(line) else "no_syslog_head", time=time)
