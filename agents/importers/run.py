"""Owns one import: rows of several files to one topic, counted, resumable.

Invariant: for every file, rows read = rows sent + rows held back, and the remembered position never runs ahead of what
Kafka has acknowledged.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agents.importers.progress_file import ProgressFile
from agents.importers.source import Row, Source, open_source
from streams.sender import RecordTooLargeError

REMEMBER_SECONDS = 0.5
_LOOK_EVERY_ROWS = 500

Reader = Callable[[Source], Iterator[Row]]


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

    def note(self, row: Row, place: str) -> None:
        """Count one row and what is odd about it."""
        self.read += 1
        self.sent += row.value is not None
        if row.value is not None and len(self.sample) < 5:
            self.sample.append(row.value)
        if row.problem is not None:
            problem = self.problems.setdefault(row.problem, Problem(0, place, row.value is not None))
            problem.count += 1


@dataclass
class ImportRun:
    """Import files one after the other.

    Args:
        reader: Makes rows of a source.
        topic: The full topic name.
        destination: Where rows go; `None` for a dry run.
        memory: Makes the memory of a path; `None` for none (dry run, limit 0).
        limit: Most rows to read in this run over all files; 0 for all.
        on_progress: Called now and then with the source and the tally.
    """

    reader: Reader
    topic: str
    destination: Destination | None
    memory: Callable[[str], ProgressFile] | None
    limit: int = 0
    on_progress: Callable[[Source, Tally], None] = lambda source, tally: None
    tally: Tally = field(default_factory=Tally)

    def run(self, paths: Sequence[str]) -> Tally:
        """Import every file; returns the tally.

        Raises:
            InputError: If a file can't be read (what came before it is sent and remembered).
            SendError: If Kafka does not take a record.
        """
        for path in paths:
            if self.limit and self.tally.read >= self.limit:
                break
            source = open_source(path)
            try:
                self._import(path, source)
            finally:
                source.close()
        return self.tally

    def _import(self, path: str, source: Source) -> None:
        memory = self.memory(path) if self.memory and self.destination and path != "-" else None
        done = memory.recall() if memory else 0
        taken = done  # rows that are surely handed over; an interrupt may fall between reading and sending one
        marks: deque[tuple[int, int]] = deque()  # (records sent by then, rows by then), waiting for Kafka
        last = time.monotonic()
        try:
            for rows, row in enumerate(self.reader(source), start=1):
                if rows <= done:
                    self.tally.resumed += 1
                    continue
                self._take(row, f"{source.name}, row {rows}")
                taken = rows
                if rows % _LOOK_EVERY_ROWS == 0:
                    self.on_progress(source, self.tally)
                    if time.monotonic() - last >= REMEMBER_SECONDS:
                        last = time.monotonic()
                        self._mark(memory, marks, taken)
                if self.limit and self.tally.read >= self.limit:
                    break
        finally:
            self._settle(memory, marks, taken)
        self.on_progress(source, self.tally)

    def _take(self, row: Row, place: str) -> None:
        """Send one row, or hold it back, and count it."""
        if self.destination is not None and row.value is not None:
            try:
                self.destination.send(self.topic, row.key, row.value)
            except RecordTooLargeError:
                row = Row(None, None, "too_large")
        self.tally.note(row, place)

    def _mark(self, memory: ProgressFile | None, marks: deque[tuple[int, int]], rows: int) -> None:
        """Note the position of what has been sent, and remember the latest one that Kafka has acknowledged."""
        if memory is None or self.destination is None:
            return
        marks.append((self.destination.sent, rows))
        acknowledged = self.destination.poll()
        safe = None
        while marks and marks[0][0] <= acknowledged:
            safe = marks.popleft()[1]
        if safe is not None:
            memory.remember(safe)

    def _settle(self, memory: ProgressFile | None, marks: deque[tuple[int, int]], rows: int) -> None:
        """At a file's end, or when it can't be read further: wait for Kafka, then remember."""
        if self.destination is None:
            return
        self.destination.flush()
        self._mark(memory, marks, rows)
