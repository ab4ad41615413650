"""Owns the reading of our own MessagePack records: of the log, of tables, of what waits.

Invariant: bytes that are no such record give one error, `msgspec.DecodeError`, whatever they are.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

_Record = TypeVar("_Record")


def record_of(decoder: msgspec.msgpack.Decoder[_Record], raw: bytes) -> _Record:
    """Return the record in *raw*.

    Raises:
        msgspec.DecodeError: If *raw* is none.
    """
    try:
        return decoder.decode(raw)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"text that is not UTF-8: {error}") from None
    except RecursionError:
        raise msgspec.DecodeError("nested deeper than can be read") from None
