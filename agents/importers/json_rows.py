"""Owns what the readers of JSON share: splitting, strict decoding, re-encoding.

Invariant: a line that is not a JSON object goes on as it stands, so that the system's dead letters keep the evidence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from agents.importers.json_scan import Scanner
from agents.importers.source import Row, Source
from streams.reading import Rejected, time_ms_of

# Decimal keeps every digit of a number that is only passed on.
_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")
# ArithmeticError: a number with an exponent that no Decimal has.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)

Convert = Callable[[dict[str, Any], bytes], Row]


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as one line of JSON without its end.

    Half characters and integers beyond 64 bits, which strict JSON has no room for, are written so that the workers
    refuse them: they are evidence.
    """
    try:
        return _encoder.encode(message)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(message, default=str).encode()


def key_of(value: object) -> bytes | None:
    """Return a record key for a field's value: same text, same partition; `None` for what is no id."""
    return str(value).encode("utf-8", "replace") if isinstance(value, str | int) and value != "" else None


def decode_object(value: bytes) -> dict[str, Any] | None:
    """Return a JSON object, `None` for anything else."""
    try:
        return _decoder.decode(value)
    except _UNREADABLE:
        return None


def json_values(source: Source) -> Iterator[bytes | None]:
    """Yield each JSON value of a source: the lines, or the elements of an array; `None` for one that is too long.

    What begins as an object is taken for lines, one broken line for one broken value.
    """
    if source.peek().lstrip()[:1] == b"[":
        yield from Scanner(source).values()
        return
    for line in source.lines():
        if line is None:
            yield None
        elif line := line.strip():
            yield line


def convert_rows(source: Source, convert: Convert, lines: Iterator[bytes | None] | None = None) -> Iterator[Row]:
    """Yield `convert(object, line)` for each line of JSON; blank lines are no rows.

    Args:
        source: Where the lines come from; a document that is one array is read by its elements.
        convert: Makes a row of one object.
        lines: The source's lines where some of them have been looked at already.
    """
    for line in json_values(source) if lines is None else lines:
        if line is None:
            yield Row(None, None, "too_large")
            continue
        line = line.strip()
        if not line:
            continue
        row = decode_object(line)
        yield Row(None, line, "not_a_json_object") if row is None else convert(row, line)


def instant(time: Any) -> float | None:
    """Return a message's time as seconds since 1970, as the workers read it; `None` where they refuse it."""
    try:
        return time_ms_of(time) / 1000
    except (Rejected, TypeError, ArithmeticError, ValueError):
        return None


def missing(message: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """Return `no_<field>` for the first of *names* that a message lacks, `None` where all are there."""
    for name in names:
        if message.get(name) in (None, ""):
            return f"no_{name}"
    return None
