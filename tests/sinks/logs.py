"""Logs that are stored in PostgreSQL chunk by chunk, without Kafka.

Invariant: what is read of them is what the sink reads of a topic.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from agents.sinks.intakes import Events, Intake, Weeks
from agents.sinks.pg_store import PgStore, Written
from agents.sinks.place import Stretch
from streams.model_file import load_model
from streams.read_directory import DirectoryLimits
from streams.read_product import product_reader
from streams.settings_sink import SinkSettings
from tests.sinks.house import said
from tests.sinks.server import LocalPostgres

LIMITS = DirectoryLimits(max_id=4096, max_aliases=20, max_value_bytes=65536)
MODEL = load_model("")
NOW_MS = 1_795_000_000_000


@dataclass
class Rec:
    """A record of a log."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = NOW_MS


class Log:
    """One partition of a topic that is stored chunk by chunk; `records` is all of it."""

    def __init__(self, url: str, topic: str, intake: Intake) -> None:
        self.settings = SinkSettings(postgres_url=url)
        self.topic, self.intake, self.records = topic, intake, list[Rec]()

    def add(self, *records: tuple[str, bytes, bytes | None]) -> None:
        """Append records, a second apart."""
        for _, key, value in records:
            self.records.append(Rec(len(self.records), key, value, NOW_MS + 1000 * len(self.records)))

    def store(self, begin: int = 0, end: int | None = None, size: int = 1000) -> Written:
        """Store a stretch of the log in chunks of *size*; return what became of the last one."""
        return asyncio.run(self._store(begin, len(self.records) if end is None else end, size))

    async def _store(self, begin: int, end: int, size: int) -> Written:
        store, written = PgStore(self.settings), Written()
        await store.prepare(create=True)
        try:
            marks = await store.marks({(self.topic, 0): "id"})
            await store.begin({(self.topic, 0): 0})
            for first in range(begin, end, size):
                last = min(first + size, end)
                taken = self.intake.take(self.records[first:last], 0, marks[self.topic, 0].epoch)
                stretch = Stretch(self.topic, 0, first, last)
                written = await store.write(self.intake.tables, stretch, marks[self.topic, 0].epoch, taken.changes)
        finally:
            await store.close()
        return written


def events_of(database: str) -> Log:
    """Return an empty log of product events."""
    reader = product_reader(MODEL.catalogue, 4096)
    return Log(database, "product-events", Events(reader, 65536, 3_600_000))


def event(event_id: str, who: Any, **more: Any) -> tuple[str, bytes, bytes | None]:
    """Return a product event."""
    return said("product-events", "k", event_id=event_id, name="Search", distinct_id=who, time=NOW_MS, **more)


def weeks_of(database: str) -> Log:
    """Return an empty log of weeks."""
    return Log(database, "weeks", Weeks(MODEL))


def scores(server: LocalPostgres, url: str) -> list[tuple[Any, ...]]:
    """Return what is stored of users' weeks."""
    return server.ask("SELECT user_id, week, status, score::text, fence FROM usage.user_score ORDER BY 1, 2", url=url)
