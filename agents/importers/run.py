"""Owns one import: rows of several inputs to one topic, counted, resumable.

Invariant: for every input, rows read = rows sent + rows held back, and the remembered position never runs ahead of
what Kafka has acknowledged.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agents.importers.expand import Entry, Reader, open_entry
from agents.importers.progress_file import ProgressFile, digest_of
from agents.importers.source import Row, Source
from streams.sender import RecordTooLargeError

__all__ = ["Destination", "Entry", "ImportRun", "Problem", "Reader", "Tally"]

REMEMBER_SECONDS = 0.5
_LOOK_EVERY_ROWS = 500

Marks = deque[tuple[int, int, Row | None]]
"""Waiting for Kafka: records sent by then, rows by then, the last of them."""


class Destination(Protocol):
    """What an import needs of a sender."""

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None: ...
    def poll(self) -> int: ...
    def flush(self) -> None: ...
    @property
    def sent(self) -> int: ...


@dataclass
class Problem:
    """One kind of oddity: how often, where first, and whether those rows were sent."""

    count: int
    first: str
    sent: bool


@dataclass
class Tally:
    """What an import has done so far."""

    read: int = 0
    sent: int = 0
    resumed: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)
    sample: list[bytes] = field(default_factory=list)
    anew: list[str] = field(default_factory=list)
    """Inputs that are no longer what an earlier run had read, and were begun anew."""

    def note(self, row: Row, place: str) -> None:
        """Count one row and what is odd about it."""
        self.read += 1
        self.sent += row.value is not None
        if row.value is not None and len(self.sample) < 5:
            self.sample.append(row.value)
        if row.problem is not None:
            problem = self.problems.setdefault(row.problem, Problem(0, place, row.value is not None))
            problem.count += 1


class _OtherInputError(Exception):
    """The row at the remembered position is not the one that was sent."""


@dataclass
class ImportRun:
    """Import inputs one after the other.

    Args:
        reader: Makes rows of a source.
        topic: The full topic name.
        destination: Where rows go; `None` for a dry run.
        memory: Makes the memory of a path or key; `None` for none (dry run, limit 0).
        limit: Most rows to read in this run over all inputs; 0 for all.
        on_progress: Called now and then with the source and the tally.
        encoding: Of files whose text is not UTF-8.
        on_row: Sees every row with its place, for the report on quality.
    """

    reader: Reader
    topic: str
    destination: Destination | None
    memory: Callable[[str], ProgressFile] | None
    limit: int = 0
    on_progress: Callable[[Source, Tally], None] = lambda source, tally: None
    tally: Tally = field(default_factory=Tally)
    encoding: str | None = None
    on_row: Callable[[Row, str], None] | None = None

    def run(self, entries: Sequence[str | Entry]) -> Tally:
        """Import every path and other input; returns the tally.

        Raises:
            InputError: If one can't be read (what came before it is sent and remembered).
            SendError: If Kafka does not take a record.
        """
        for entry in entries:
            if self.limit and self.tally.read >= self.limit:
                break
            key = entry if isinstance(entry, str) else entry.key
            remembers = self.memory and self.destination and key not in ("-", "")
            memory = self.memory(key) if remembers and self.memory else None
            if memory and (done := memory.finished()) is not None:
                self.tally.resumed += done
                continue
            try:
                self._import(entry, memory, memory.recall() if memory else 0)
            except _OtherInputError:
                self.tally.anew.append(key)
                self._import(entry, memory, 0)
            whole = not self.limit or self.tally.read < self.limit
            if memory and whole and getattr(entry, "final", False):
                memory.finish()
        return self.tally

    def _import(self, entry: str | Entry, memory: ProgressFile | None, done: int) -> None:
        """Send the rows behind the first *done*.

        Raises:
            _OtherInputError: Before anything is sent, if those are not the rows they were.
        """
        source = open_entry(entry, self.encoding)
        try:
            self._send_rows(source, memory, done)
        finally:
            source.close()

    def _send_rows(self, source: Source, memory: ProgressFile | None, done: int) -> None:
        last_done = memory.last_row() if memory and done else ""
        taken, last_taken = done, None  # what is surely handed over; an interrupt may fall before a row is sent
        marks: Marks = deque()
        looked = time.monotonic()
        rows = 0
        try:
            for rows, row in enumerate(self.reader(source), start=1):
                if rows <= done:
                    if rows == done and last_done and digest_of(row) != last_done:
                        raise _OtherInputError
                    last_taken = row
                    continue
                last_taken = self._take(row, row.place or f"{source.name}, row {rows}")
                taken = rows
                if rows % _LOOK_EVERY_ROWS == 0:
                    self.on_progress(source, self.tally)
                    if time.monotonic() - looked >= REMEMBER_SECONDS:
                        looked = time.monotonic()
                        self._mark(memory, marks, taken, last_taken)
                if self.limit and self.tally.read >= self.limit:
                    break
            if rows < done:
                raise _OtherInputError
            self.tally.resumed += done
        finally:
            if rows > done or (not rows and not done):  # also an input without rows is remembered
                self._settle(memory, marks, taken, last_taken)
        self.on_progress(source, self.tally)

    def _take(self, row: Row, place: str) -> Row:
        """Send one row, or hold it back, and count it; returns it as it was read."""
        told = row
        if self.destination is not None and row.value is not None:
            try:
                self.destination.send(self.topic, row.key, row.value)
            except RecordTooLargeError:
                told = Row(None, None, "too_large")
        self.tally.note(told, place)
        if self.on_row is not None:
            self.on_row(told, place)
        return row

    def _mark(self, memory: ProgressFile | None, marks: Marks, rows: int, last: Row | None) -> None:
        """Note the position of what has been sent, and remember the latest one that Kafka has acknowledged."""
        if memory is None or self.destination is None:
            return
        marks.append((self.destination.sent, rows, last))
        acknowledged = self.destination.poll()
        safe = None
        while marks and marks[0][0] <= acknowledged:
            safe = marks.popleft()
        if safe is not None:
            memory.remember(safe[1], safe[2])

    def _settle(self, memory: ProgressFile | None, marks: Marks, rows: int, last: Row | None) -> None:
        """At an input's end, or when it can't be read further: wait for Kafka, then remember."""
        if self.destination is None:
            return
        self.destination.flush()
        self._mark(memory, marks, rows, last)
