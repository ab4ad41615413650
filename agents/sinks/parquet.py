"""The Parquet sink: rows of `weeks` wait in memory, then their files are rewritten and the offset is committed.

Owns what waits, by partition. Invariant: an offset is committed after everything before it is in files; what was not
written when a partition goes is read again by whoever gets it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faust.types import TP

from agents.sinks.errors import LeavingError, StoreAwayError
from agents.sinks.offsets import follow_store
from agents.sinks.parquet_files import Fenced
from agents.sinks.parquet_store import ParquetStore
from agents.sinks.place import fence_of
from agents.sinks.process import Process
from agents.sinks.read_week import Judge, read_week, week_key
from streams.chunks import add_chunk_agent
from streams.clock import Clock
from streams.dead_letters import DeadLetters
from streams.model_file import load_model
from streams.reading import Rejected
from streams.settings import Settings
from streams.side_thread import run_aside
from streams.task_service import TaskService
from streams.transactions import Outgoing
from streams.transport import Chunk

KIND = "parquet"
_LOOK_SECONDS = 0.25


@dataclass
class Waiting:
    """What waits to be written of a partition, in the order of its log."""

    next_offset: int
    rows: dict[str, dict[str, Fenced]] = field(default_factory=dict)
    """Week → subject → fence and row."""
    letters: list[Outgoing] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    size: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, week: str, subject: str, found: Fenced) -> None:
        """Let a row wait in the place of an older one."""
        subjects = self.rows.setdefault(week, {})
        self.size += subject not in subjects
        subjects[subject] = found

    def before(self, later: Waiting) -> Waiting:
        """Return this, and *later* after it."""
        for week, subjects in later.rows.items():
            for subject, found in subjects.items():
                self.add(week, subject, found)
        self.letters += later.letters
        self.counts += later.counts
        self.next_offset = later.next_offset
        return self


class ParquetSink:
    """One process of the sink, assembled."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.process = Process(settings, KIND, clock)
        mine, topics = self.process, self.process.topics
        self.store = ParquetStore(Path(settings.sink.parquet_directory))
        self._settings, self._topic = settings.sink, topics.weeks
        self._judge = Judge(load_model(settings.model.file))
        self._letters = DeadLetters(topics.dead_letters, mine.clock.now, settings.ingest.max_value_bytes)
        self._waiting: dict[TP, Waiting] = {}
        self._locks: dict[TP, asyncio.Lock] = {}
        add_chunk_agent(mine.app, self._topic, self.handle, name="sink-weeks")
        mine.app.on_owned, mine.app.on_revoke = self._on_owned, self._on_revoke

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        return self.process.run(self.store.prepare, [Flusher(self)])

    async def handle(self, chunk: Chunk) -> None:
        """Let the rows of *chunk* wait; once there are many, write them."""
        tp = chunk.tp
        waiting = self._waiting.setdefault(tp, Waiting(chunk.begin))
        for record in chunk.records:
            try:
                key = week_key(record.key)
                row = None if record.value is None else read_week(key, record.value, self._judge)
            except Rejected as error:
                waiting.letters.append(self._letters.letter(error, "weeks", tp.partition, record))
                waiting.counts["dead_lettered"] += 1
                continue
            waiting.add(key.week, key.subject, (fence_of(0, record.offset), row))
            waiting.counts["taken"] += 1
        waiting.next_offset = chunk.next_offset
        if waiting.size >= self._settings.flush_rows:
            try:
                await self.flush(tp)
            except LeavingError:
                return  # it is kept until the partition goes

    def due(self) -> list[TP]:
        """Return the partitions of which something has waited for long enough."""
        now = time.monotonic()
        return [tp for tp, each in self._waiting.items() if now - each.since >= self._settings.flush_seconds]

    async def flush(self, tp: TP, *, patient: bool = True) -> None:
        """Write what waits of *tp* and commit its offset.

        Raises:
            LeavingError: If the disk takes no writes and the partition goes.
            StoreAwayError: If it takes none, and this is not to be *patient*.
        """
        async with self._locks.setdefault(tp, asyncio.Lock()):
            waiting = self._waiting.pop(tp, None)
            if waiting is None:
                return
            topic_id = self.process.app.layouts[tp.topic].id

            async def write() -> dict[str, int]:
                began = time.monotonic()
                rows = await run_aside(
                    lambda: self.store.write(tp.partition, waiting.rows, topic_id, waiting.next_offset)
                )
                told = {("weeks", outcome): number for outcome, number in rows.items() if number}
                self.process.figures.wrote(told, time.monotonic() - began, self.process.clock.now())
                return rows

            try:
                await (self.process.patience.until(write, self.process.leaving) if patient else write())
            except BaseException:
                later = self._waiting.get(tp)
                self._waiting[tp] = waiting.before(later) if later else waiting
                raise
            await self.process.app.transactions.commit(tp, waiting.next_offset, waiting.letters)
            self.process.stored[tp.topic, tp.partition] = waiting.next_offset
            for outcome, number in waiting.counts.items():
                self.process.figures.told("weeks", outcome, number)

    async def _on_owned(self, tps: frozenset[TP]) -> None:
        self._waiting.clear()
        self._locks.clear()
        await self.store.hold(tp.partition for tp in tps)
        ids = self.process.ids(tps)
        marks = {(tp.topic, tp.partition): self.store.mark(tp.partition, ids[tp.topic, tp.partition]) for tp in tps}
        self.process.stored = await follow_store(self.process.app, tps, marks)

    async def _on_revoke(self, tps: frozenset[TP]) -> None:
        await self._flush_once(sorted(tps))
        self.store.let_go(tp.partition for tp in tps)
        for tp in tps:
            self._waiting.pop(tp, None)
            self.process.stored.pop((tp.topic, tp.partition), None)

    async def _flush_once(self, tps: Sequence[TP]) -> None:
        for tp in tps:
            try:
                await self.flush(tp, patient=False)
            except StoreAwayError:
                continue  # whoever gets the partition reads it again


class Flusher(TaskService):
    """A service that writes what has waited for long enough."""

    def __init__(self, sink: ParquetSink) -> None:
        self._sink = sink

    async def _run(self) -> None:
        process = self._sink.process
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not process.app.flowing:
                continue
            try:
                for tp in self._sink.due():
                    await self._sink.flush(tp)
            except LeavingError:
                continue
            except Exception as error:  # noqa: BLE001  # any error ends the process
                process.fail(error)
                return
