"""Owns encodings: text that is not UTF-8 becomes it while it is read.

Invariant: the readers see UTF-8 alone; memory holds one piece of the file.
"""

from __future__ import annotations

import codecs
import io
from typing import IO, Any, cast

from agents.importers.source import InputError, Source

_PIECE_BYTES = 65_536
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class _Recoded(io.RawIOBase):
    """Bytes of another encoding as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream, self._rest = stream, b""
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._rest:
            piece = self._stream.read(_PIECE_BYTES)
            self._rest = self._decoder.decode(piece, final=not piece).encode("utf-8", "replace")
            if not piece and not self._rest:
                return 0
        taken = min(len(target), len(self._rest))
        target[:taken], self._rest = self._rest[:taken], self._rest[taken:]
        return taken

    def close(self) -> None:
        self._stream.close()
        super().close()


def recoded(source: Source, encoding: str | None) -> Source:
    """Return *source* so that it reads as UTF-8; without an encoding given, only the mark of UTF-16 is looked for.

    Raises:
        InputError: If there is no such encoding.
    """
    if source.content is not None:
        return source
    if encoding is None:
        encoding = _MARKS.get(source.peek()[:2])
        if encoding is None:
            return source
    try:
        if codecs.lookup(encoding).name == "utf-8":
            return source
        source.stream = cast(IO[bytes], io.BufferedReader(_Recoded(source.stream, encoding), _PIECE_BYTES))
    except (LookupError, ValueError) as error:
        raise InputError(f"--encoding {encoding}: {error}; names are for example latin-1, cp1252, utf-16") from error
    return source
