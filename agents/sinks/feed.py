"""Feeds PostgreSQL with the chunks of one topic: read, store, then commit the offset together with the letters.

Owns the order of these. Invariant: an offset is committed after the database has committed, and after a chunk that was
given up nothing of its partition is, until the partition is assigned anew and read again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from faust.types import TP

from agents.sinks.errors import LeavingError
from agents.sinks.figures import SinkFigures
from agents.sinks.intakes import Intake, Taken
from agents.sinks.patience import Patience
from agents.sinks.pg_store import PgStore, Written
from agents.sinks.place import Stretch
from streams.chunks import Outcome
from streams.clock import Clock
from streams.dead_letters import DeadLetters
from streams.reading import Rejected
from streams.transactions import Outgoing
from streams.transport import Chunk

UNSTORABLE = "bad_state"
"""Reason of a letter about a message that can be read but not stored."""


class Feed:
    """The handler of one topic."""

    def __init__(
        self, name: str, intake: Intake, store: PgStore, patience: Patience, letters: DeadLetters,
        figures: SinkFigures, clock: Clock, leaving: Callable[[], bool],
    ) -> None:  # fmt: skip
        """Prepare; *name* is the topic's without prefix, *leaving* says that partitions are being given up."""
        self._name, self._intake, self._store, self._patience = name, intake, store, patience
        self._letters, self._figures, self._clock, self._leaving = letters, figures, clock, leaving
        #: By partition, as of its assignment.
        self.epochs: dict[int, int] = {}
        self._given_up: set[TP] = set()

    def assigned(self, epochs: dict[int, int]) -> None:
        """Begin with the partitions in *epochs*; what was given up before is read again."""
        self.epochs = epochs
        self._given_up.clear()

    async def handle(self, chunk: Chunk) -> Outcome | None:
        """Store *chunk* and return what to commit; None when it was given up."""
        tp = chunk.tp
        if tp in self._given_up:
            return None
        epoch = self.epochs[tp.partition]
        taken = self._intake.take(chunk.records, tp.partition, epoch)
        stretch = Stretch(tp.topic, tp.partition, chunk.begin, chunk.next_offset)

        async def write() -> Written:
            began = time.monotonic()
            written = await self._store.write(self._intake.tables, stretch, epoch, taken.changes)
            self._figures.wrote(written.rows, time.monotonic() - began, self._clock.now())
            return written

        try:
            written = await self._patience.until(write, self._leaving)
        except LeavingError:
            self._given_up.add(tp)
            return None
        letters = self._letters_of(chunk, taken, written)

        def tell() -> None:
            for outcome, number in taken.counts.items():
                self._figures.told(self._name, outcome, number)
            self._figures.told(self._name, "dead_lettered", len(letters))

        return Outcome(letters, chunk.next_offset, tell)

    def _letters_of(self, chunk: Chunk, taken: Taken, written: Written) -> list[Outgoing]:
        """Return the letters of what could not be read or stored."""
        errors = [*taken.letters]
        if written.refused:
            by_offset = {record.offset: record for record in chunk.records}
            for offset, said in sorted(written.refused.items()):
                if offset in by_offset:
                    errors.append((by_offset[offset], Rejected(UNSTORABLE, f"can't be stored: {said}")))
        return [self._letters.letter(error, self._name, chunk.tp.partition, record) for record, error in errors]
