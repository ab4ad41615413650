"""Owns remembering how far an import got, one small file per input, topic and set of options.

Invariant: a remembered position is acknowledged by Kafka; a crash between sending and remembering sends rows again
(with the same ids), never too few.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agents.importers.source import HEAD_BYTES, head_digest


class Position(msgspec.Struct, frozen=True):
    """How far one input has been imported."""

    path: str
    head_bytes: int
    head_sha256: str
    rows: int
    """Rows from the start of the file that are in Kafka (or were held back, and said)."""


@dataclass(frozen=True)
class ProgressFile:
    """The memory of one import of one file.

    *purpose* names everything that makes it this import and no other (topic with its id, options): a topic that was
    made anew, or another mapping, starts from the beginning.
    """

    path: str
    location: Path

    @classmethod
    def of(cls, folder: Path, path: str, purpose: str) -> ProgressFile:
        """Return the memory for importing *path* for *purpose*, kept in *folder*."""
        digest = hashlib.sha256(f"{Path(path).resolve()}\n{purpose}".encode()).hexdigest()[:16]
        return cls(path, folder / f"{Path(path).name}.{digest}.json")

    def recall(self) -> int:
        """Return the rows that are done; 0 where nothing is remembered or the file is another one now."""
        try:
            position = msgspec.json.decode(self.location.read_bytes(), type=Position)
        except (FileNotFoundError, msgspec.DecodeError):
            return 0
        size = Path(self.path).stat().st_size
        same = size >= position.head_bytes and head_digest(self.path, position.head_bytes) == position.head_sha256
        return position.rows if same else 0

    def remember(self, rows: int) -> None:
        """Write down that *rows* are done; readers see the old or the new position, never half of one."""
        head_bytes = min(HEAD_BYTES, Path(self.path).stat().st_size)
        position = Position(str(Path(self.path).resolve()), head_bytes, head_digest(self.path, head_bytes), rows)
        self.location.parent.mkdir(parents=True, exist_ok=True)
        draft = self.location.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(position))
        draft.replace(self.location)

    def forget(self) -> None:
        """Start from the beginning next time."""
        self.location.unlink(missing_ok=True)
