"""Owns the input files of an import: opening them, recognising gzip, splitting lines, knowing a file again.

Invariant: no line longer than `MAX_LINE_BYTES` is ever held in memory, whatever the file contains.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, cast

from streams.sender import MAX_RECORD_BYTES

MAX_LINE_BYTES = MAX_RECORD_BYTES
HEAD_BYTES = 65_536  # how much of a file's beginning tells it from others
_GZIP_MAGIC = b"\x1f\x8b"


class Row(NamedTuple):
    """One row of a file: the message it became, or why it became none.

    `value` is `None` where the row is held back; `problem` is `None` where nothing is wrong.
    """

    key: bytes | None
    value: bytes | None
    problem: str | None = None


class InputError(ValueError):
    """A file can't be read any further, or an option does not fit it; the text is for the user."""


@dataclass
class Source:
    """One opened input; `name` is the file's name without folder and `.gz`, or `stdin`."""

    name: str
    stream: IO[bytes]
    raw: IO[bytes]
    size_bytes: int | None
    overlong_lines: int = field(default=0)

    def lines(self) -> Iterator[bytes | None]:
        """Yield each line with its end; `None` stands for one longer than `MAX_LINE_BYTES`, which is dropped.

        Raises:
            InputError: If a compressed file is damaged or cut off.
        """
        try:
            while line := self.stream.readline(MAX_LINE_BYTES + 1):
                if len(line) <= MAX_LINE_BYTES:
                    yield line
                    continue
                while line and not line.endswith(b"\n"):
                    line = self.stream.readline(MAX_LINE_BYTES)
                self.overlong_lines += 1
                yield None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{self.name}: the gzip file is damaged or cut off ({error})") from error

    def read_bytes(self) -> int:
        """Return how far the file (not what it unpacks to) has been read, in bytes; 0 for standard input."""
        return self.raw.tell() if self.size_bytes is not None else 0

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self.size_bytes is not None:
            self.stream.close()
            self.raw.close()


def open_source(path: str) -> Source:
    """Open *path* (`-` is standard input); gzip is told by its first two bytes, never by the name.

    Raises:
        InputError: If the file can't be opened.
    """
    try:
        raw: IO[bytes] = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - Source closes it
        head = raw.peek(2)[:2] if hasattr(raw, "peek") else b""
        size = None if path == "-" else os.fstat(raw.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    stream = raw
    if head == _GZIP_MAGIC:
        stream = cast(IO[bytes], io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 16))
    name = "stdin" if path == "-" else Path(path).name.removesuffix(".gz")
    return Source(name, stream, raw, size)


def head_digest(path: str, head_bytes: int) -> str:
    """Return the SHA-256 of the first *head_bytes* bytes of a file: its identity while it only grows at the end."""
    with Path(path).open("rb") as file:
        return hashlib.sha256(file.read(head_bytes)).hexdigest()
