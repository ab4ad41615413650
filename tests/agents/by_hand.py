"""What handlers need around them, made by hand: a table, records, chunks and a router.

Invariant: nothing here talks to a server; everything a handler does is in what it returns.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from faust.types import TP

from agents.routing import Router
from state.activity import Record, Rows, decode_record, origin_of
from state.packing import unpack
from streams.chunks import Outcome
from streams.dead_letters import DeadLetters
from streams.parked import Alias, Parked, decode_parked
from streams.topic_specs import TopicNames
from streams.transactions import Outgoing
from streams.transport import Chunk

TOPICS = TopicNames(**{name: name.replace("_", "-") for name in TopicNames.__struct_fields__})
PARTITIONS = 4
NOW = 1_709_550_000.0  # 2024-03-04T11:00:00Z
DEAD = DeadLetters(TOPICS.dead_letters, lambda: NOW, 500)


class Table:
    """A table of bytes in a dict, with the face of `ChunkTable`."""

    changelog = "changelog"
    partitions = 4

    def __init__(self, name: str = "table") -> None:
        self.name = name
        self.contents: dict[int, dict[bytes, bytes]] = {}

    def stage(self, partition: int, key: bytes, value: bytes | None, *, keep: bool = True) -> Outgoing:
        content = self.contents.setdefault(partition, {})
        if keep and value is None:
            content.pop(key, None)
        elif keep and value is not None:
            content[key] = value
        return Outgoing(self.changelog, partition, key, value)

    def read(self, partition: int, key: bytes) -> bytes | None:
        return self.contents.get(partition, {}).get(key)

    def items(self, partition: int) -> list[tuple[bytes, bytes]]:
        return list(self.contents.get(partition, {}).items())

    def clear(self, partition: int) -> None:
        self.contents.pop(partition, None)

    def recover(self, records: list[Outgoing]) -> None:
        """Apply what was written to the changelog, as a recovery does."""
        for record in records:
            assert record.key is not None
            self.stage(record.partition, record.key, record.value)


@dataclass(frozen=True)
class FakeRecord:
    """A record of Kafka."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = int(NOW * 1000)
    timestamp_type: int = 0


def chunk_of(
    topic: str, values: list[bytes | None], first: int = 0, partition: int = 0, keys: list | None = None
) -> Chunk:
    """Return *values* as consecutive records."""
    records = [FakeRecord(first + n, value, keys[n] if keys else None) for n, value in enumerate(values)]
    return Chunk(TP(topic, partition), records, first + len(values), 0)


def router(max_message_bytes: int = 1_000_000) -> Router:
    return Router(TOPICS, PARTITIONS, max_message_bytes)


@dataclass
class Sent:
    """What an outcome sends, by kind."""

    records: list[Outgoing]
    activities: list[tuple[int, Record]] = field(default_factory=list)
    waiting: list[tuple[int, Parked | Alias]] = field(default_factory=list)
    dead: list[dict] = field(default_factory=list)
    kept: list[Outgoing] = field(default_factory=list)
    links: list[Outgoing] = field(default_factory=list)
    ended: list[bytes | None] = field(default_factory=list)
    """Keys of entries of the directory whose end is written."""

    def __post_init__(self) -> None:
        for record in self.records:
            if record.topic == TOPICS.users and record.value is None:
                self.ended.append(record.key)
                continue
            assert record.value is not None or record.topic == "changelog"
            if record.topic == TOPICS.activities:
                self.activities.append((record.partition, decode_record(record.value)))
            elif record.topic == TOPICS.unresolved:
                self.waiting.append((record.partition, decode_parked(record.value)))
            elif record.topic == TOPICS.dead_letters:
                self.dead.append(msgspec.json.decode(record.value))
            elif record.topic == TOPICS.identities:
                self.links.append(record)
            else:
                assert record.topic == "changelog"
                self.kept.append(record)

    @property
    def acts(self) -> list[tuple[str, str, str, int]]:
        """(org, user, measure, source offset) of each packed activity."""
        found = []
        for partition, rows in self.activities:
            if isinstance(rows, Rows):
                columns = unpack(rows)
                for s, m, at in zip(columns.subject, columns.measure, columns.at.tolist(), strict=True):
                    org, user, _, _ = origin_of(rows.subjects[s])
                    assert partition == router().partition(org)
                    found.append((org, user, rows.measures[m], rows.first_offset + at))
        return sorted(found, key=lambda act: act[3])

    @property
    def parked(self) -> list[Parked]:
        return [p for _, p in self.waiting if isinstance(p, Parked)]

    @property
    def aliases(self) -> list[Alias]:
        return [a for _, a in self.waiting if isinstance(a, Alias)]


class Counted:
    """Remembers what a handler reported after its commit."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, topic: str, counts: Counter[str]) -> None:
        self.counts += counts


def all_records(outcome: Outcome) -> list[Outgoing]:
    """Return an outcome's records with those that are made at its commit."""
    return [*outcome.records, *(asyncio.run(_made(outcome)) if outcome.further is not None else [])]


async def _made(outcome: Outcome) -> Sequence[Outgoing]:
    assert outcome.further is not None
    return await outcome.further()
