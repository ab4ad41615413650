"""The whole pipeline in one process, without Kafka: every record goes where its topic says, at once.

Invariant: uses the agents as they are; only transport, tables and clock are replaced by plain memory.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import orjson
from faust.types import TP

from agents.count_people import CountPeople
from agents.directory import DirectoryReader, directory_limits_of
from agents.documents import Documents
from agents.ingest import Ingest
from agents.ledger import Ledger
from agents.members import Members
from agents.park import Park
from agents.routing import Router
from agents.wiring import limits_of, map_settings_of, sources
from reports.collect import Rest
from reports.recount import Raw
from state.activity import Calibration, Tick, decode_record
from state.census import Census
from state.effects import Effect, Summary, WeekRow
from state.health import Model
from state.identity import Directory
from state.shard import Shard
from state.telling import encode_summary
from streams.clock import FixedClock
from streams.dead_letters import DeadLetters, FloodGuard
from streams.metrics import Metrics
from streams.model_file import load_model
from streams.settings import Settings
from streams.topic_specs import topic_names
from streams.transactions import Outgoing
from tests.agents.by_hand import all_records
from tests.end_to_end.durable import documents_of


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


class SomeChunk(NamedTuple):
    tp: TP
    records: list[Record]
    first_offset: int
    next_offset: int


class MemoryTable:
    """A table in memory."""

    changelog = "changelog"

    def __init__(self) -> None:
        self._content: dict[int, dict[bytes, bytes]] = {}

    def read(self, partition: int, key: bytes) -> bytes | None:
        return self._content.get(partition, {}).get(key)

    def stage(self, partition: int, key: bytes, value: bytes | None, *, keep: bool = True) -> Outgoing:
        content = self._content.setdefault(partition, {})
        if value is None:
            content.pop(key, None)
        else:
            content[key] = value
        return Outgoing("changelog", partition, key, value)


class House:
    """Agents, shards and census; `handle` takes a stretch of a raw topic, `rest` lets everything settle."""

    def __init__(
        self, now_ms: int, model: Model | None = None, min_population: int = 30, settings: Settings | None = None
    ) -> None:
        self.settings, clock = settings or Settings(), FixedClock(now_ms / 1000)
        names, model = topic_names(self.settings), model or load_model("")
        self.counted: Counter[str] = Counter()
        partitions, ingest = self.settings.kafka.partitions, self.settings.ingest
        self.directory = Directory()
        self._known = DirectoryReader(self.directory, names, directory_limits_of(self.settings))
        router = Router(names, partitions, self.settings.kafka.max_message_bytes)
        dead = DeadLetters(names.dead_letters, clock.now, ingest.max_value_bytes)
        tell: Any = lambda topic, counts: self.counted.update(counts)  # noqa: E731
        table: Any = MemoryTable
        self.ledger = Ledger(table(), Metrics())
        self._agents: dict[str, Any] = {"unresolved": Park(router, table(), dead, self.ledger, tell)}
        for kind in ("users", "orgs"):
            self._agents[kind] = Members(
                kind, router, table(), dead, self.ledger, limits=directory_limits_of(self.settings), counted=tell
            )
        for source in sources(self.settings, model, names, clock):
            self._agents[source.name] = Ingest(
                source, router, self.directory, self.ledger, dead, FloodGuard(source.name, 1.0, 10_000), now=clock.now,
                max_value_bytes=ingest.max_value_bytes, max_ahead_ms=3_600_000,
                lateness_ms=1344 * 3_600_000, max_aliases=20, counted=tell,
            )  # fmt: skip
        self.shards = [Shard(number, model, limits_of(self.settings)) for number in range(partitions)]
        self._documents = spell = Documents(model, names, 0, 1)
        self.people = CountPeople(
            lambda: Census(min_population, model.population.peers), table(), spell, Metrics(), names.activities,
            partitions, map_settings_of(self.settings),
        )  # fmt: skip
        self._offsets: Counter[TP] = Counter()
        self._round = 0
        self.weeks: dict[tuple[str, str], WeekRow] = {}
        self.told_weeks: dict[str, dict[str, Any]] = {}
        """Last rows of closed weeks, by the key that they have in Kafka."""
        self.generations: dict[int, tuple[dict[str, list[int]], dict[str, dict[str, list[int]]]]] = {}

    def handle(self, topic: str, partition: int, raw: list[Raw]) -> None:
        """Let the agent of *topic* handle consecutive records of one partition."""
        records = [Record(offset, key, value, stamp) for _, _, offset, key, value, stamp in raw]
        if topic in ("users", "orgs"):
            for record in records:
                self._known.take(topic, record)
        self._run(self._agents[topic], TP(topic, partition), records)

    def tick(self, time_ms: int = 0, *, new_round: bool = False) -> None:
        """Tick every shard."""
        self._round += new_round
        for shard in self.shards:
            self._hear(shard.apply(Tick(time_ms, self._round), shard.position) or [])

    def rest(self, as_of_ms: int) -> Rest:
        """Let rounds pass until cut points stay, and return the documents."""
        generation = -1
        while generation != self.people.census.calibration.generation:
            generation = self.people.census.calibration.generation
            self.tick(as_of_ms, new_round=True)
        self.tick(as_of_ms)
        documents: dict[str, dict[str, Any]] = {write.key: dict(write.fields) for write in self.people.documents()}
        for shard in self.shards:
            for key, fields in documents_of(shard, self.settings).items():
                documents.setdefault(key, {}).update(fields)
        return Rest(as_of_ms, [], documents)

    def _hear(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, WeekRow):
                if not effect.user:
                    self.weeks[effect.org, effect.week] = effect
                told = self._documents.week(effect, 0)
                if effect.state != "provisional":
                    self.told_weeks[(told.key or b"").decode()] = orjson.loads(told.value or b"")
            elif isinstance(effect, Summary):
                self._run(self.people, TP("summaries", 0), [Record(0, None, encode_summary(effect), 0)])

    def _run(self, agent: Any, tp: TP, records: list[Record]) -> None:
        first = records[0].offset
        outcome = agent.handle(SomeChunk(tp, records, first, records[-1].offset + 1))
        if outcome.after_commit is not None:
            outcome.after_commit()
        for out in all_records(outcome):
            if out.topic == "activities":
                shard, record = self.shards[out.partition], decode_record(out.value)
                shard.apply(record, shard.position)
                if isinstance(record, Calibration):
                    self.generations[record.generation] = record.cuts, record.groups
            elif out.topic == "unresolved":
                place = TP("unresolved", out.partition)
                self._offsets[place] += 1
                self._run(self._agents["unresolved"], place, [Record(self._offsets[place], out.key, out.value, 0)])
