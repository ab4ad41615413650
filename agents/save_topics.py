"""Writes raw topics to files, so that they outlive Kafka's retention (see `streams.raw_files`).

Owns which topics are kept, and how far. Invariant: each run goes on where the last one ended; what is kept of a
partition is one stretch of its log, without a hole that is not said.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.structs import TopicPartition
from kafka.errors import KafkaError

from streams.log_state import ends_of, starts_of, stretches
from streams.raw_files import (
    SEGMENT_BYTES,
    SEGMENT_RECORDS,
    Kept,
    Manifest,
    Partition,
    RawFilesError,
    RawRecord,
    read_manifest,
    write_manifest,
    write_segment,
)
from streams.settings import Settings
from streams.topic_specs import topic_names
from streams.topics import BrokerError, connected_admin

MESSAGES = ("product-events", "syslog-activities", "chat-messages", "transactions")
"""Sources of messages."""
DIRECTORY = ("users", "orgs", "identities")
MEMBERS = "members-changelog"
"""The table of people, which knows what `users` has forgotten."""
EVERYTHING = (*MESSAGES, *DIRECTORY, MEMBERS)

Tell = Callable[[int, int], None]
"""Gets (done, to do in all)."""


def topic_of(settings: Settings, source: str) -> str:
    """Return the topic of a *source* with its prefix."""
    return str(getattr(topic_names(settings), source.replace("-", "_")))


class Save:
    """One run that brings *folder* up to date with the topics of *settings*."""

    def __init__(self, settings: Settings, folder: Path, tell: Tell) -> None:
        self._settings, self._folder, self._tell = settings, folder, tell
        self._done = self._total = 0
        self.holes: list[str] = []
        """What the logs no longer had, by line."""
        self.records: dict[str, int] = dict.fromkeys(EVERYTHING, 0)
        """What was written, by source."""

    async def run(self) -> Manifest:
        """Write what came since the last run; return what there is now.

        Raises:
            RawFilesError: If the folder is of other topics, in use by another run, or full.
            OperatorError: If a topic is missing or could not be read to its end.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with _alone(self._folder):
            manifest = read_manifest(self._folder) or Manifest()
            topics = {source: topic_of(self._settings, source) for source in EVERYTHING}
            ends = await ends_of(self._settings.kafka, topics.values())
            starts = await starts_of(self._settings.kafka, topics.values())
            self._check(manifest, topics, ends)
            places = {
                tp: self._begin(manifest.sources[source].partitions[tp.partition], starts[tp], source, tp)
                for source, topic in topics.items()
                for tp in ends
                if tp.topic == topic
            }
            self._total = sum(max(0, ends[tp] - place) for tp, place in places.items())
            for source, topic in topics.items():
                for tp in sorted(tp for tp in ends if tp.topic == topic):
                    await self._save(manifest, source, tp, places[tp], ends[tp])
            write_manifest(self._folder, manifest)
            return manifest

    def _check(self, manifest: Manifest, topics: dict[str, str], ends: dict[TopicPartition, int]) -> None:
        """See that the folder is of these topics, and make room for new ones."""
        ids = _ids_of(self._settings, list(topics.values()))
        for source, topic in topics.items():
            width = sum(tp.topic == topic for tp in ends)
            kept = manifest.sources.setdefault(source, Kept(topic, ids[topic], [Partition() for _ in range(width)]))
            if source == MEMBERS and (kept.topic, kept.topic_id) != (topic, ids[topic]):
                manifest.sources[source] = Kept(topic, ids[topic], [Partition() for _ in range(width)])
            elif (kept.topic, kept.topic_id, len(kept.partitions)) != (topic, ids[topic], width):
                raise RawFilesError(
                    f"{self._folder} holds {kept.topic} with the id {kept.topic_id}, and now there is {topic} with "
                    f"{ids[topic]}: it was made anew, or the settings are of another system",
                    "Save into another folder.",
                )

    def _begin(self, kept: Partition, start: int, source: str, tp: TopicPartition) -> int:
        """Return from which offset to go on; what is gone in between is noted."""
        if kept.first_offset < 0:
            kept.first_offset = start
        place = max(kept.next_offset, kept.first_offset)
        if start > place and source in MESSAGES:
            self.holes.append(
                f"{tp.topic}-{tp.partition}: offsets {place} to {start - 1} were gone before they were saved"
            )
        return max(place, start)

    async def _save(self, manifest: Manifest, source: str, tp: TopicPartition, place: int, end: int) -> None:
        """Write one partition from *place* up to *end*."""
        buffer: list[RawRecord] = []
        size = 0

        def put(next_offset: int) -> None:
            nonlocal size
            if not buffer:
                return
            try:
                segment = write_segment(self._folder, source, tp.partition, buffer, next_offset)
            except OSError as error:
                raise RawFilesError(
                    f"{self._folder}: {error.strerror or error}; what is complete is kept",
                    "Make room and run the same command again: it goes on from there.",
                ) from error
            manifest.sources[source].partitions[tp.partition].segments.append(segment)
            write_manifest(self._folder, manifest)
            self.records[source] += len(buffer)
            buffer.clear()
            size = 0

        async for _, record in stretches(self._settings.kafka, {tp: place}, {tp: end}, whole=True):
            found = RawRecord(source, tp.partition, record.offset, record.timestamp, record.key, record.value)
            buffer.append(found)
            size += len(record.key or b"") + len(record.value or b"")
            if len(buffer) >= SEGMENT_RECORDS or size >= SEGMENT_BYTES:
                put(record.offset + 1)
            if record.offset % 1000 == 0:
                self._tell(self._done + record.offset - place, self._total)
        put(end)
        self._done += max(0, end - place)
        self._tell(self._done, self._total)


def _ids_of(settings: Settings, topics: list[str]) -> dict[str, str]:
    """Return topic → id, which a topic that is made anew has another of.

    Raises:
        BrokerError: If the broker does not say.
    """
    with connected_admin(settings, wait_seconds=10.0) as admin:
        try:
            return {found["name"]: str(found["topic_id"]) for found in admin.describe_topics(topics)}
        except KafkaError as error:
            raise BrokerError(f"the topics can't be described: {error}", "Run `orgpulse topics check`.") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of *folder*.

    Raises:
        RawFilesError: If there is one.
    """
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RawFilesError(f"another run saves into {folder}", "Wait for its end.") from error
        yield
