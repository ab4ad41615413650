"""Owns the input files of an import: opening them, recognising gzip, splitting lines, knowing a file again.

Invariant: no line longer than `MAX_LINE_BYTES` is ever held in memory, whatever the file contains.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from streams.reading import plain_text
from streams.sender import MAX_RECORD_BYTES

MAX_LINE_BYTES = MAX_RECORD_BYTES
HEAD_BYTES = 65_536  # how much of a file's beginning tells it from others
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One row of a file: the message it became, or why it became none.

    `value` is `None` where the row is held back; `problem` is `None` where nothing is wrong. `place` says where it
    stood, if that is not just its number; `time` (seconds since 1970) orders the rows of several files.
    """

    key: bytes | None
    value: bytes | None
    problem: str | None = None
    place: str = ""
    time: float | None = None


class InputError(ValueError):
    """A file can't be read any further, or an option does not fit it; the text is for the user."""


@dataclass
class Source:
    """One opened input; `name` is the file's name without folder and `.gz`, or `stdin`.

    `folder` is the name of the folder it lies in, where that is known. `content` is what is read instead of bytes:
    the files of a folder or archive, the rows of a query.
    """

    name: str
    stream: IO[bytes]
    raw: IO[bytes]
    size_bytes: int | None
    overlong_lines: int = field(default=0)
    folder: str = ""
    content: Any = None

    def __post_init__(self) -> None:
        # Names of files may hold what is no text; they become ids and channels.
        self.name, self.folder = plain_text(self.name), plain_text(self.folder)

    def lines(self) -> Iterator[bytes | None]:
        """Yield each line with its end; `None` stands for one longer than `MAX_LINE_BYTES`, which is dropped.

        A byte order mark at the start is no part of the first line.

        Raises:
            InputError: If a compressed file is damaged or cut off.
        """
        mark = _BYTE_ORDER_MARK
        try:
            while line := self.stream.readline(MAX_LINE_BYTES + 1):
                if mark:
                    line, mark = line.removeprefix(mark), b""
                if len(line) <= MAX_LINE_BYTES:
                    yield line
                    continue
                while line and not line.endswith(b"\n"):
                    line = self.stream.readline(MAX_LINE_BYTES)
                self.overlong_lines += 1
                yield None
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile, UnicodeError) as error:
            raise self.unreadable(error) from error

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most *size*; none at the end.

        Raises:
            InputError: If a compressed file is damaged or cut off.
        """
        try:
            return self.stream.read(size)
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile, UnicodeError) as error:
            raise self.unreadable(error) from error

    def peek(self) -> bytes:
        """Return some of the next bytes (8 KiB, less near the end) without taking them."""
        if not hasattr(self.stream, "peek"):
            self.stream = io.BufferedReader(cast(Any, self.stream), 1 << 16)
        try:
            return cast(Any, self.stream).peek(8192)[:8192].removeprefix(_BYTE_ORDER_MARK)  # type: ignore[no-any-return]
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile, UnicodeError) as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: Exception) -> InputError:
        """Return what to say of a file that can't be read any further."""
        if isinstance(error, EOFError | gzip.BadGzipFile | zlib.error):
            return InputError(f"{self.name}: the gzip file is damaged or cut off ({error})")
        if isinstance(error, zipfile.BadZipFile):
            return InputError(f"{self.name}: damaged in its zip file ({error})")
        if isinstance(error, UnicodeError):
            return InputError(f"{self.name}: the text is not in the encoding given ({error}); name it with --encoding")
        return InputError(f"{self.name}: can't be read: {error}")

    def read_bytes(self) -> int:
        """Return how far the file (not what it unpacks to) has been read, in bytes; 0 for standard input."""
        return self.raw.tell() if self.size_bytes is not None else 0

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self.size_bytes is not None:
            self.stream.close()
            self.raw.close()
        if hasattr(self.content, "close"):
            self.content.close()


def open_source(path: str) -> Source:
    """Open *path* (`-` is standard input); gzip is told by its first two bytes, never by the name.

    Raises:
        InputError: If the file can't be opened.
    """
    try:
        raw: IO[bytes] = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - Source closes it
        size = None if path == "-" else os.fstat(raw.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    name, folder = ("stdin", "") if path == "-" else (Path(path).name, Path(path).absolute().parent.name)
    return unpacked(Source(name, raw, raw, size, folder=folder))


def unpacked(source: Source) -> Source:
    """Return *source* with its stream unpacked, if it is gzip."""
    source.name = source.name.removesuffix(".gz")
    head = cast(Any, source.raw).peek(2)[:2] if hasattr(source.raw, "peek") else b""
    if head == _GZIP_MAGIC:
        source.stream = cast(IO[bytes], io.BufferedReader(gzip.GzipFile(fileobj=source.raw), 1 << 16))
    return source


def head_digest(path: str, head_bytes: int) -> str:
    """Return the SHA-256 of the first *head_bytes* bytes of a file: its identity while it only grows at the end."""
    with Path(path).open("rb") as file:
        return hashlib.sha256(file.read(head_bytes)).hexdigest()
