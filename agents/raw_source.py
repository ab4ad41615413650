"""Where a backfill gets raw messages from: the live topics, saved ones, or files that `orgpulse import` reads.

Owns what is read and what is left out. Invariant: within a partition messages come in the order of the log, and nothing
that a week depends on is left out (see `agents.backfill_reach`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

from aiokafka.structs import TopicPartition

from agents.importers.chat import read_chat
from agents.importers.events import read_events
from agents.importers.mail import read_mail
from agents.importers.source import Row, Source, open_source
from agents.importers.syslog import read_syslog
from agents.importers.transactions import read_transactions
from agents.save_topics import DIRECTORY, MEMBERS, MESSAGES, topic_of
from streams.log_state import ends_of, first_from, starts_of, stretches
from streams.raw_files import Manifest, RawFilesError, RawRecord, Segment, read_manifest, read_segment
from streams.settings import Settings

Rows = list[dict[bytes, bytes]]
"""The table of people: key → row, by partition."""

KINDS: dict[str, tuple[str, Callable[[Source, str | None], Iterator[Row]]]] = {
    "events": ("product-events", lambda source, org: read_events(source, (), org=org)),
    "syslog": ("syslog-activities", lambda source, org: read_syslog(source, key=None)),
    "chat": ("chat-messages", lambda source, org: read_chat(source, (), channel=None, org=org)),
    "mail": ("chat-messages", lambda source, org: read_mail(source, channel=None, org=org)),
    "transactions": ("transactions", lambda source, org: read_transactions(source, (), delimiter=",")),
}
"""Folder of files that `orgpulse import` reads → (source, how they are read; a folder in it names the org)."""


class RawSource(Protocol):
    """What a backfill reads."""

    name: str
    gone: dict[str, int]
    """Source → messages at its beginning that are no longer there."""

    async def prepare(self, from_ms: int) -> int:
        """See what there is; messages that came before *from_ms* (0 = none) are left out. Return how many there are."""
        ...

    def directory(self) -> AsyncIterator[RawRecord]:
        """Yield the records of `users`, `orgs` and `identities`."""
        ...

    async def people(self) -> Rows | None:
        """Return the saved table of people, None = the live one is to be asked."""
        ...

    def messages(self) -> AsyncIterator[RawRecord]:
        """Yield what `prepare` counted."""
        ...

    @property
    def raw_bytes(self) -> int:
        """About how much that is."""
        ...


class Topics:
    """The live topics, as far as they had come when `prepare` was called."""

    name = "topics"
    raw_bytes = 0  # asked of the brokers: see `agents.backfill_room`

    def __init__(self, live: Settings) -> None:
        self._live, self._brokers = live, live.kafka
        self.gone: dict[str, int] = {}
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def prepare(self, from_ms: int) -> int:
        """Note where to begin and to end."""
        topics = {topic_of(self._live, source): source for source in MESSAGES}
        firsts, self._ends = await starts_of(self._brokers, topics), await ends_of(self._brokers, topics)
        for tp, first in firsts.items():
            if first:
                self.gone[topics[tp.topic]] = self.gone.get(topics[tp.topic], 0) + first
        later = await first_from(self._brokers, firsts, from_ms) if from_ms else firsts
        self._starts = {tp: max(firsts[tp], later.get(tp, self._ends[tp])) for tp in firsts}
        return sum(max(0, self._ends[tp] - start) for tp, start in self._starts.items())

    async def directory(self) -> AsyncIterator[RawRecord]:
        """Yield what these topics have not compacted away."""
        topics = {topic_of(self._live, source): source for source in DIRECTORY}
        ends = await ends_of(self._brokers, topics)
        async for record in self._read(topics, dict.fromkeys(ends, 0), ends):
            yield record

    async def people(self) -> Rows | None:
        """Leave it to who asks the live table."""
        return None

    async def messages(self) -> AsyncIterator[RawRecord]:
        """Yield them, the partitions side by side."""
        topics = {topic_of(self._live, source): source for source in MESSAGES}
        async for record in self._read(topics, self._starts, self._ends):
            yield record

    async def _read(
        self, topics: dict[str, str], starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]
    ) -> AsyncIterator[RawRecord]:
        async for tp, record in stretches(self._brokers, starts, ends, whole=True):
            source = topics[tp.topic]
            yield RawRecord(source, tp.partition, record.offset, record.timestamp, record.key, record.value)


class SavedTopics:
    """What `orgpulse backfill save` wrote into a folder."""

    def __init__(self, folder: Path, manifest: Manifest, partitions: int) -> None:
        """Take the *manifest* of *folder*, whose topics must have as many *partitions*.

        Raises:
            RawFilesError: If they have not.
        """
        self.name, self._folder, self._manifest = str(folder), folder, manifest
        self._from_ms = 0
        for source, kept in manifest.sources.items():
            if len(kept.partitions) != partitions:
                raise RawFilesError(
                    f"{folder} holds {source} of {len(kept.partitions)} partitions, the settings say {partitions}",
                    f"Set [kafka] partitions = {len(kept.partitions)} (ORGPULSE_KAFKA_PARTITIONS).",
                )
        self.gone = {
            source: gone
            for source in MESSAGES
            if source in manifest.sources
            if (gone := sum(max(0, part.first_offset) for part in manifest.sources[source].partitions))
        }

    async def prepare(self, from_ms: int) -> int:
        """Count by segments: one that ends before *from_ms* is not opened."""
        self._from_ms = from_ms
        return sum(segment.records for source in MESSAGES for _, segment in self._wanted(source))

    @property
    def raw_bytes(self) -> int:
        """As the manifest has it."""
        return sum(segment.raw_bytes for source in MESSAGES for _, segment in self._wanted(source))

    def _wanted(self, source: str) -> list[tuple[int, Segment]]:
        return [(n, found) for n, found in self._manifest.segments(source) if found.newest_ms >= self._from_ms]

    async def directory(self) -> AsyncIterator[RawRecord]:
        """Yield all that was kept of the directory."""
        for source in DIRECTORY:
            for record in self._read(source, 0):
                yield record

    async def people(self) -> Rows | None:
        """Return the last row of each key."""
        kept = self._manifest.sources.get(MEMBERS)
        found: Rows = [{} for _ in kept.partitions] if kept else []
        for record in self._read(MEMBERS, 0):
            assert record.partition is not None and record.key is not None
            if record.value is None:
                found[record.partition].pop(record.key, None)
            else:
                found[record.partition][record.key] = record.value
        return found

    async def messages(self) -> AsyncIterator[RawRecord]:
        """Yield them, one source after the other."""
        for source in MESSAGES:
            for record in self._read(source, self._from_ms):
                yield record

    def _read(self, source: str, from_ms: int) -> Iterator[RawRecord]:
        for partition, segment in self._manifest.segments(source):
            if segment.newest_ms >= from_ms:
                yield from (r for r in read_segment(self._folder, source, partition, segment) if r.stamp_ms >= from_ms)


class ImportFiles:
    """A folder of folders that are called like what `orgpulse import` reads; the directory is the live one."""

    def __init__(self, folder: Path, live: Settings, now_ms: int) -> None:
        """Look into *folder*; messages count as arrived at *now_ms*.

        Raises:
            RawFilesError: If there is nothing that can be read.
        """
        self.name, self._folder, self._live, self._now_ms = str(folder), folder, live, now_ms
        self.gone: dict[str, int] = {}
        self._files = [
            (kind, path)
            for kind in KINDS
            for path in sorted((folder / kind).rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        ]
        if not self._files:
            raise RawFilesError(
                f"{folder} holds neither saved topics nor files to import",
                f"Name a folder of `orgpulse backfill save`, or one with folders called {', '.join(KINDS)}.",
            )

    async def prepare(self, from_ms: int) -> int:
        """Count the rows; what they were sent with is not known, so none is left out."""
        return sum(1 for _ in self._rows())

    @property
    def raw_bytes(self) -> int:
        """The size of the files, tenfold for packed ones."""
        return sum(path.stat().st_size * (10 if path.suffix == ".gz" else 1) for _, path in self._files)

    def directory(self) -> AsyncIterator[RawRecord]:
        """Yield the live one."""
        return Topics(self._live).directory()

    async def people(self) -> Rows | None:
        """Leave it to who asks the live table."""
        return None

    async def messages(self) -> AsyncIterator[RawRecord]:
        """Yield them in the order of the files."""
        for number, (source, row) in enumerate(self._rows()):
            yield RawRecord(source, None, number, self._now_ms, row.key, row.value)

    def _rows(self) -> Iterator[tuple[str, Row]]:
        for kind, path in self._files:
            topic, read = KINDS[kind]
            below = path.relative_to(self._folder / kind).parts
            opened = open_source(str(path))
            try:
                for row in read(opened, below[0] if len(below) > 1 else None):
                    if row.value is not None:
                        yield topic, row
            finally:
                opened.close()


def files_in(folder: Path, live: Settings, now_ms: int) -> RawSource:
    """Return what *folder* is a source of.

    Raises:
        RawFilesError: If it is of nothing.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        return SavedTopics(folder, manifest, live.kafka.partitions)
    return ImportFiles(folder, live, now_ms)
