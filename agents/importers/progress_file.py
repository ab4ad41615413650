"""Owns remembering how far an import got, one small file per input, topic and set of options.

Invariant: a remembered position is acknowledged by Kafka; a crash between sending and remembering sends rows again
(with the same ids), never too few. A position only holds while the row it stands at is still the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agents.importers.source import HEAD_BYTES, Row, head_digest


class Position(msgspec.Struct, frozen=True):
    """How far one input has been imported."""

    path: str
    head_bytes: int
    head_sha256: str
    rows: int
    """Rows from the start of the input that are in Kafka (or were held back, and said)."""
    row_sha256: str = ""
    """Digest of the last of them; empty = not known."""
    complete: bool = False
    """Whether that is all there is, and all there will be."""


@dataclass(frozen=True)
class ProgressFile:
    """The memory of one import of one input.

    *purpose* names everything that makes it this import and no other (topic with its id, options): a topic that was
    made anew, or another mapping, starts from the beginning. *path* may also name what is no file (a folder, a query):
    then only the last row tells whether it is still the same.
    """

    path: str
    location: Path

    @classmethod
    def of(cls, folder: Path, path: str, purpose: str) -> ProgressFile:
        """Return the memory for importing *path* for *purpose*, kept in *folder*."""
        where = Path(path).resolve() if Path(path).exists() else path
        digest = hashlib.sha256(f"{where}\n{purpose}".encode()).hexdigest()[:16]
        return cls(path, folder / f"{Path(path).name[:80]}.{digest}.json")

    def recall(self) -> int:
        """Return the rows that are done; 0 where nothing is remembered or the file is another one now."""
        position = self._position()
        if position is None:
            return 0
        size = self._size()
        same = size >= position.head_bytes and self._head(position.head_bytes) == position.head_sha256
        return position.rows if same else 0

    def last_row(self) -> str:
        """Return the digest of the last row that is done; empty where it is not known."""
        position = self._position()
        return "" if position is None else position.row_sha256

    def remember(self, rows: int, last: Row | None = None) -> None:
        """Write down that *rows* are done; readers see the old or the new position, never half of one."""
        head_bytes = min(HEAD_BYTES, self._size())
        resolved = str(Path(self.path).resolve())
        told = "" if last is None else digest_of(last)
        self._write(Position(resolved, head_bytes, self._head(head_bytes), rows, told))

    def _write(self, position: Position) -> None:
        self.location.parent.mkdir(parents=True, exist_ok=True)
        draft = self.location.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(position))
        draft.replace(self.location)

    def finish(self) -> None:
        """Write down that what was remembered last is all there is, and all there will be."""
        position = self._position()
        if position is not None:
            self._write(msgspec.structs.replace(position, complete=True))

    def finished(self) -> int | None:
        """Return the rows of an input of which all is done; None of any other."""
        position = self._position()
        return position.rows if position is not None and position.complete else None

    def forget(self) -> None:
        """Start from the beginning next time."""
        self.location.unlink(missing_ok=True)

    def _position(self) -> Position | None:
        try:
            return msgspec.json.decode(self.location.read_bytes(), type=Position)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _size(self) -> int:
        file = Path(self.path)
        return file.stat().st_size if file.is_file() else 0

    def _head(self, head_bytes: int) -> str:
        return head_digest(self.path, head_bytes) if head_bytes else ""


def digest_of(row: Row) -> str:
    """Return what tells one row from another."""
    return hashlib.sha256((row.key or b"") + b"\n" + (row.value or b"")).hexdigest()
