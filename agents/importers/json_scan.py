"""Owns cutting large JSON documents into their values without reading them whole.

Invariant: memory holds one value of at most `MAX_VALUE_BYTES`, however large the document and whatever its strings
hold. The values are only cut out here; whether they are JSON is the decoder's to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.importers.source import InputError, Source

MAX_VALUE_BYTES = 8 << 20
_PIECE_BYTES = 1 << 18
_SPACE = re.compile(rb"[\s,]*")
_COLON = re.compile(rb"[\s:]*")
_SCALAR = re.compile(rb'[^\s,:\[\]{}"]*')
# Everything up to the next bracket, and strings that are here whole. Possessive: no way back, no blow-up.
_RUN = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class Scanner:
    """Cut the values out of a source; *start* is what was read of it already."""

    def __init__(self, source: Source, start: bytes = b"") -> None:
        self._source, self._buffer, self._at = source, start.removeprefix(b"\xef\xbb\xbf"), 0
        self._kept: int | None = None  # where the value that is wanted begins
        self._gone = 0
        self._start = not start

    def values(self) -> Iterator[bytes | None]:
        """Yield the elements of the document's array, or its values one after the other; `None` for a huge one.

        Raises:
            InputError: If the document's brackets do not match up, with the place.
        """
        if self._peek() == b"[":
            self._at += 1
            yield from self._elements()
            if not self._peek():
                return
        while self._peek():
            yield self._value(keep=True)

    def members(self, arrays: frozenset[str], single: frozenset[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield of the document, which is an object, each element of the named *arrays* and each *single* member.

        The rest is passed over without being kept.

        Raises:
            InputError: If the document is no object, or its brackets do not match up, with the place.
        """
        if self._peek() != b"{":
            raise self._broken("an object is wanted here")
        self._at += 1
        while (head := self._peek()) != b"}":
            if head != b'"':
                raise self._broken("a member's name is wanted here" if head else "the document ends too early")
            name = (self._value(keep=True) or b"").strip(b'"').decode("utf-8", "replace")
            self._skip(_COLON)
            if name in arrays and self._peek() == b"[":
                self._at += 1
                yield from ((name, element) for element in self._elements())
            elif name in single:
                yield name, self._value(keep=True)
            else:
                self._value(keep=False)

    def _elements(self) -> Iterator[bytes | None]:
        while (head := self._peek()) != b"]":
            if not head:
                raise self._broken("the document ends in the middle of an array")
            yield self._value(keep=True)
        self._at += 1

    def _value(self, *, keep: bool) -> bytes | None:
        """Return the value that begins here, `None` if it is not wanted or too large."""
        head = self._peek()
        self._kept = self._at if keep else None
        if head and head in b"{[":
            self._pass_nested()
        elif head == b'"':
            self._at += 1
            self._pass_string()
        elif head and head in b"}]:":
            raise self._broken(f"a value is wanted here, not {head.decode()}")
        else:
            self._skip(_SCALAR)
        start, self._kept = self._kept, None
        if start is None or self._at - start > MAX_VALUE_BYTES:
            return None
        return self._buffer[start : self._at]

    def _pass_nested(self) -> None:
        depth = 0
        while True:
            found = _RUN.match(self._buffer, self._at)
            self._at = self._at if found is None else found.end()
            token = self._buffer[self._at : self._at + 1]
            if not token:
                if not self._fill():
                    raise self._broken("the document ends in the middle of a value")
                continue
            self._at += 1
            if token == b'"':  # its end is not here yet
                self._pass_string()
            elif token in b"{[":
                depth += 1
            else:
                depth -= 1
                if not depth:
                    return

    def _pass_string(self) -> None:
        """Go behind the end of the string whose inside begins here."""
        while True:
            found = _STRING.match(self._buffer, self._at)
            self._at = self._at if found is None else found.end()
            if self._buffer[self._at : self._at + 1] == b'"':
                self._at += 1
                return
            if not self._fill():
                raise self._broken("the document ends in the middle of a string")

    def _peek(self) -> bytes:
        """Return the next byte that is neither space nor comma; none at the end."""
        self._skip(_SPACE)
        return self._buffer[self._at : self._at + 1]

    def _skip(self, what: re.Pattern[bytes]) -> None:
        while True:
            found = what.match(self._buffer, self._at)
            self._at = self._at if found is None else found.end()
            if self._at < len(self._buffer) or not self._fill():
                return

    def _fill(self) -> bool:
        """Read on; what lies before the wanted value is let go, and a wanted value that grew too large with it."""
        if self._kept is not None and self._at - self._kept > MAX_VALUE_BYTES:
            self._kept = None
        start = self._at if self._kept is None else self._kept
        piece = self._source.read(_PIECE_BYTES)
        if self._start:
            piece, self._start = piece.removeprefix(b"\xef\xbb\xbf"), False
        self._buffer = self._buffer[start:] + piece
        self._gone += start
        self._at -= start
        self._kept = None if self._kept is None else 0
        return bool(piece)

    def _broken(self, what: str) -> InputError:
        return InputError(f"{self._source.name}: not JSON at byte {self._gone + self._at:,}: {what}")
