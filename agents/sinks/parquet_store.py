"""Keeps the directory of Parquet files: who writes which partition, and up to where its files are.

    .locks/0003       held by the process that has the partition: one that was asleep can't write after another
    .positions/0003   which topic, and up to where

Invariant: a position is written after the files that it is about.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from agents.sinks.errors import StoreAwayError, StoreRefusesError
from agents.sinks.parquet_files import Fenced, file_of, meaning_of, rewrite, write_whole
from agents.sinks.place import Mark

Changes = Mapping[str, Mapping[str, Fenced]]
"""Week → subject → fence and row."""
_LOCK_SECONDS = 20.0
_LOOK_SECONDS = 0.1


class _Position(msgspec.Struct):
    """What `.positions` holds of a partition."""

    topic_id: str
    next_offset: int


class ParquetStore:
    """The directory of a sink."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._locks: dict[int, int] = {}

    async def prepare(self) -> None:
        """Make the directory, and see that it can be written to.

        Raises:
            StoreAwayError, StoreRefusesError: If it can't.
        """
        try:
            for name in (".locks", ".positions"):
                (self.directory / name).mkdir(parents=True, exist_ok=True)
            write_whole(self.directory / ".positions" / "try", lambda file: file.write(b"orgpulse"))
            (self.directory / ".positions" / "try").unlink(missing_ok=True)
        except OSError as error:
            raise meaning_of(error, self.directory) from None

    async def hold(self, partitions: Iterable[int]) -> None:
        """Become the only writer of *partitions*, and of no others.

        Raises:
            StoreAwayError: If another process keeps writing one of them.
        """
        wanted = set(partitions)
        self.let_go(set(self._locks) - wanted)
        deadline = time.monotonic() + _LOCK_SECONDS
        for partition in sorted(wanted - set(self._locks)):
            path = self.directory / ".locks" / f"{partition:04d}"
            try:
                handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
            except OSError as error:
                raise meaning_of(error, path) from None
            while not _locked(handle):
                if time.monotonic() > deadline:
                    os.close(handle)
                    raise StoreAwayError("locked", f"another process holds partition {partition} of {self.directory}")
                await asyncio.sleep(_LOOK_SECONDS)
            self._locks[partition] = handle

    def let_go(self, partitions: Iterable[int]) -> None:
        """Let others write *partitions*."""
        for partition in set(partitions) & self._locks.keys():
            os.close(self._locks.pop(partition))

    def mark(self, partition: int, topic_id: str) -> Mark:
        """Return up to where a partition's files are.

        Raises:
            StoreRefusesError: If they come from another topic: its rows may be in other partitions.
        """
        path = self._position(partition)
        try:
            known = msgspec.json.decode(path.read_bytes(), type=_Position)
        except FileNotFoundError:
            return Mark(0, None)
        except msgspec.DecodeError:
            return Mark(0, None)  # everything is read again; what is there already stays as it is
        except OSError as error:
            raise meaning_of(error, path) from None
        if known.topic_id and topic_id and known.topic_id != topic_id:
            raise StoreRefusesError(
                f"the files in {self.directory} come from another topic: `weeks` was made anew",
                "Set another [sink] parquet_directory, or run `orgpulse sink parquet --from-start`, which deletes the "
                "files and writes them anew.",
            )
        return Mark(0, known.next_offset)

    def write(self, partition: int, changes: Changes, topic_id: str, next_offset: int) -> dict[str, int]:
        """Bring *changes* into their files, then note the position; return rows by what became of them. Blocks.

        Raises:
            StoreAwayError, StoreRefusesError: If it can't be done.
        """
        if partition not in self._locks:
            raise StoreAwayError("locked", f"partition {partition} is not this process's")
        outcome: dict[str, int] = {}
        for week, subjects in sorted(changes.items()):
            for name, rows in rewrite(file_of(self.directory, week, partition), subjects).items():
                outcome[name] = outcome.get(name, 0) + rows
        text = msgspec.json.encode(_Position(topic_id, next_offset))
        try:
            write_whole(self._position(partition), lambda file: file.write(text))
        except OSError as error:
            raise meaning_of(error, self._position(partition)) from None
        return outcome

    def forget(self, partitions: int) -> int:
        """Delete all files and positions, while no sink runs; return how many files there were.

        Raises:
            StoreRefusesError: If a sink runs.
        """
        (self.directory / ".locks").mkdir(parents=True, exist_ok=True)
        mine = []
        try:
            for partition in range(partitions):
                path = self.directory / ".locks" / f"{partition:04d}"
                mine.append(os.open(path, os.O_CREAT | os.O_RDWR, 0o644))
                if not _locked(mine[-1]):
                    raise StoreRefusesError(f"a sink writes to {self.directory}", "Stop it first.")
            files = list(self.directory.glob("week=*/part-*.parquet"))
            for folder in self.directory.glob("week=*"):
                shutil.rmtree(folder)
            for position in (self.directory / ".positions").glob("*"):
                position.unlink()
            return len(files)
        except OSError as error:
            raise meaning_of(error, self.directory) from None
        finally:
            for handle in mine:
                os.close(handle)

    def _position(self, partition: int) -> Path:
        return self.directory / ".positions" / f"{partition:04d}"


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
