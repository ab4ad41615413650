"""Owns what the readers of JSON lines share: splitting, strict decoding, re-encoding.

Invariant: a line that is not a JSON object goes on as it stands, so that the system's dead letters keep the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from agents.importers.source import Row, Source

# Decimal keeps every digit of a number that is only passed on.
_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")

Convert = Callable[[dict[str, Any], bytes], Row]


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as one line of JSON without its end."""
    return _encoder.encode(message)


def key_of(value: object) -> bytes | None:
    """Return a record key for a field's value: same text, same partition; `None` for what is no id."""
    return str(value).encode() if isinstance(value, str | int) and value != "" else None


def convert_rows(source: Source, convert: Convert, lines: Iterator[bytes | None] | None = None) -> Iterator[Row]:
    """Yield `convert(object, line)` for each line of JSON; blank lines are no rows.

    Args:
        source: Where the lines come from.
        convert: Makes a row of one object.
        lines: The source's lines where some of them have been looked at already.
    """
    for line in source.lines() if lines is None else lines:
        if line is None:
            yield Row(None, None, "too_large")
            continue
        line = line.strip()
        if not line:
            continue
        try:
            row = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield Row(None, line, "not_a_json_object")
            continue
        yield convert(row, line)


def missing(message: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """Return `no_<field>` for the first of *names* that a message lacks, `None` where all are there."""
    for name in names:
        if message.get(name) in (None, ""):
            return f"no_{name}"
    return None
