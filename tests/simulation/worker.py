"""One simulated worker: the real agents, the real tables, and what Faust does between them, step by step.

Owns the order of a worker's steps: taking partitions over, handling chunks, committing, giving partitions up.
Invariant: nothing survives a crash but what is in the broker and in Redis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

from faust.types import TP

from agents.checkpoints import Checkpoints
from agents.count_people import PARTITION, CountPeople
from agents.directory import DirectoryReader, directory_limits_of
from agents.documents import Documents
from agents.fold import FoldAgent
from agents.ingest import Ingest
from agents.ledger import Ledger
from agents.members import Members
from agents.park import Park
from agents.routing import Router
from agents.wiring import map_settings_of, sources
from state.census import Census
from state.identity import Directory
from state.shard import Shard
from streams.chunks import Outcome
from streams.clock import FixedClock
from streams.dead_letters import DeadLetters, FloodGuard
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topic_specs import TopicNames, topic_names
from streams.transactions import Outgoing
from tests.agents.by_hand import all_records
from tests.simulation.broker import Broker, Producer, Record
from tests.simulation.fake_redis import Redis, SimSink
from tests.simulation.ground import (
    CHECKPOINT_ROWS,
    CHECKPOINT_SECONDS,
    LIMITS,
    MIN_POPULATION,
    PARTITIONS,
    SETTINGS,
    SHARD_MODEL,
    LogTable,
    tables_of,
)

CENSUS = -1
"""The unit of assignment that holds `summaries`; the others are partition numbers."""
UNITS = (*range(PARTITIONS), CENSUS)
COMMIT_STEPS = ("begin", "send", "send rest", "offset", "end", "publish")
"""Before each of them a worker may crash or fall asleep."""
MOST_PENDING = 10  # few enough that sinks have to drop writes and tell everything again


class CrashedError(RuntimeError):
    """The process is gone."""


class AsleepError(RuntimeError):
    """The process stands still, its memory and its requests with it."""


class Chunk(NamedTuple):
    """What an agent gets."""

    tp: TP
    records: list[Record]
    first_offset: int
    next_offset: int


class Stop(NamedTuple):
    """Where a commit is interrupted, and how."""

    step: str
    asleep: bool = False


def tps_of(unit: int, names: TopicNames) -> list[TP]:
    """Return the input partitions of a unit of assignment."""
    if unit == CENSUS:
        return [TP(names.summaries, 0)]
    return [TP(topic, unit) for topic in (*names.sources, *names.directory, names.unresolved, names.activities)]


def run_now(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing outside of itself; it may let others have their turn."""
    try:
        while coroutine.send(None) is None:
            pass
    except StopIteration:
        return
    raise AssertionError("nothing in the simulation takes time")


class Worker:
    """One process; a crashed one is thrown away and another is made."""

    offset_in_transaction = True  # the mutations switch these off
    recovers_committed = True

    def __init__(self, broker: Broker, redis: Redis, clock: FixedClock, settings: Settings = SETTINGS) -> None:
        self._broker, self._clock, self._settings = broker, clock, settings
        self._names = topic_names(settings)
        self.tables = {name: LogTable(changelog) for name, changelog in tables_of(self._names).items()}
        self.directory = Directory()
        ingest = self._settings.ingest
        self._known = DirectoryReader(self.directory, self._names, directory_limits_of(self._settings))
        self._followed = {TP(topic, p): 0 for topic in (self._names.orgs, self._names.users) for p in range(PARTITIONS)}
        metrics = Metrics()
        self.ledger = Ledger(self.tables["ledger"], metrics)
        router = Router(self._names, PARTITIONS, self._settings.kafka.max_message_bytes)
        dead = DeadLetters(self._names.dead_letters, clock.now, ingest.max_value_bytes)
        documents = Documents(SHARD_MODEL, self._names, 0, self._settings.latency.min_count)
        self._handlers: dict[str, Any] = self._readers(router, dead)
        checkpoints = Checkpoints(
            self.tables["shard"], clock.now, CHECKPOINT_SECONDS, CHECKPOINT_ROWS,
            metrics.checkpoint_bytes.add,
        )  # fmt: skip
        self.fold = FoldAgent(
            lambda p: Shard(p, SHARD_MODEL, LIMITS),
            checkpoints,
            documents,
            dead,
            self.ledger,
            self._names.summaries,
            metrics,
            clock,
        )
        self.people = CountPeople(
            lambda: Census(MIN_POPULATION), self.tables["census"], documents, metrics,
            self._names.activities, PARTITIONS, map_settings_of(self._settings),
        )  # fmt: skip
        self._handlers |= {self._names.activities: self.fold.handle, self._names.summaries: self.people.handle}
        self.sink = SimSink(redis, MOST_PENDING, self._everything)
        self.fold.sink = self.people.sink = self.sink
        self._producers: dict[TP, Producer] = {}
        self.units: list[int] = []
        self.positions: dict[TP, int] = {}
        self._waiting: dict[TP, list[Outcome]] = {}
        self._rest: list[Callable[[], None]] = []  # what it was about to do when it fell asleep
        self.asleep = False
        self.follow()

    def _readers(self, router: Router, dead: DeadLetters) -> dict[str, Any]:
        ingest, time = self._settings.ingest, self._settings.time
        found: dict[str, Any] = {}

        def counted(topic: str, counts: Counter[str]) -> None:
            """Nothing looks at metrics here."""

        for source in sources(self._settings, SHARD_MODEL, self._names, self._clock):
            found[source.topic] = Ingest(
                source, router, self.directory, self.ledger, dead,
                FloodGuard(source.name, ingest.flood_ratio, ingest.flood_window_events), now=self._clock.now,
                max_value_bytes=ingest.max_value_bytes, max_ahead_ms=time.max_ahead_seconds * 1000,
                lateness_ms=time.allowed_lateness_hours * 3_600_000, max_aliases=20, counted=counted,
            ).handle  # fmt: skip
        for kind, topic in (("users", self._names.users), ("orgs", self._names.orgs)):
            found[topic] = Members(
                kind, router, self.tables["members"], dead, self.ledger,
                limits=directory_limits_of(self._settings), counted=counted,
            ).handle  # fmt: skip
        found[self._names.unresolved] = Park(router, self.tables["park"], dead, self.ledger, counted).handle
        return found

    def _everything(self) -> Iterator[Write]:
        yield from self.people.documents()
        yield from self.fold.documents()

    def follow(self) -> None:
        """Read on in the directory, as far as it is there."""
        for tp, at in self._followed.items():
            records, self._followed[tp] = self._broker.read(tp, at)
            for record in records:
                self._known.take(tp.topic, record)

    def take_over(self, units: list[int], crash_after: int | None = None) -> None:
        """Become the owner of *units*: rights first, then tables, then shards; *crash_after* that many steps."""
        tps = [tp for unit in units for tp in tps_of(unit, self._names)]
        steps: list[Callable[[], None]] = [lambda: self._own(tps)]
        steps += [lambda unit=unit: self._fill_tables(unit) for unit in units]
        steps += [lambda unit=unit: self._recover(unit) for unit in units]
        for number, step in enumerate(steps):
            if number == crash_after:
                raise CrashedError
            step()
        self.units = list(units)

    def _own(self, tps: list[TP]) -> None:
        for tp in tps:
            self._producers[tp] = self._broker.init(f"{tp.topic}-{tp.partition}")

    def _fill_tables(self, unit: int) -> None:
        partition = PARTITION if unit == CENSUS else unit
        for name, table in self.tables.items():
            if (name == "census") == (unit == CENSUS):
                table.clear(partition)
                table.restore(partition, self._recovered(TP(table.changelog, partition), 0))

    def _recovered(self, tp: TP, start: int) -> list[Record]:
        read = self._broker.read if self.recovers_committed else self._broker.read_dirty
        return read(tp, start)[0]

    def _recover(self, unit: int) -> None:
        for tp in tps_of(unit, self._names):
            self.positions[tp] = committed = self._broker.committed(tp)
            if tp.topic == self._names.activities:
                run_now(self.fold.restore(tp.partition, committed, self._replay))
            elif tp.topic == self._names.summaries:
                self.people.restore(committed)

    async def _replay(self, partition: int, start: int, end: int) -> AsyncIterator[tuple[int, bytes]]:
        async def stretch() -> AsyncIterator[tuple[int, bytes]]:
            for record in self._recovered(TP(self._names.activities, partition), start):
                if record.offset < end and record.value is not None:
                    yield record.offset, record.value

        return stretch()

    def readable(self) -> list[TP]:
        """Return the owned partitions that have something to handle or to commit."""
        return [tp for tp, at in self.positions.items() if self._broker.end(tp) > at or self._waiting.get(tp)]

    def handle(self, tp: TP, most: int) -> bool:
        """Handle the next chunk of *tp*; its outcome waits for `commit`. Return whether there was one."""
        records, after = self._broker.read(tp, self.positions[tp], most)
        self.positions[tp] = after
        if not records:
            return False
        outcome = self._handlers[tp.topic](Chunk(tp, records, records[0].offset, after))
        if outcome is not None:
            self._waiting.setdefault(tp, []).append(outcome)
        return True

    def commit(self, tp: TP, stop: Stop | None = None) -> None:
        """Commit all that waits for *tp* in one transaction, then publish it."""
        together = self._waiting.pop(tp, [])
        if together:
            records = [record for outcome in together for record in all_records(outcome)]
            then = [outcome.after_commit for outcome in together if outcome.after_commit is not None]
            self._transact(tp, records, together[-1].next_offset, then, stop)

    def _transact(
        self, tp: TP, records: list[Outgoing], next_offset: int, then: list[Callable[[], None]], stop: Stop | None
    ) -> None:
        broker, producer, half = self._broker, self._producers[tp], len(records) // 2
        steps: dict[str, Callable[[], None]] = {
            "begin": lambda: broker.begin(producer),
            "send": lambda: broker.send(producer, records[:half]),
            "send rest": lambda: broker.send(producer, records[half:]),
            "offset": lambda: broker.send_offset(producer, tp, next_offset),
            "end": lambda: broker.commit(producer),
            "publish": lambda: [publish() for publish in then] and None,
        }
        if not self.offset_in_transaction:
            steps["offset"], steps["end"] = steps["end"], steps["publish"]
            steps["publish"] = lambda: broker.put_offset(tp, next_offset)
        self._rest = list(steps.values())
        for name, step in steps.items():
            if stop is not None and stop.step == name:
                if not stop.asleep:
                    raise CrashedError
                self.asleep = True
                raise AsleepError
            self._rest.pop(0)
            step()

    def wake(self) -> None:
        """Go on where it fell asleep.

        Raises:
            FencedError: If its partitions have another owner by now.
        """
        self.asleep = False
        while self._rest:
            self._rest.pop(0)()

    def release(self, stop: Stop | None = None) -> None:
        """Finish what is under way, write last checkpoints, give everything up."""
        for tp in list(self._waiting):
            self.commit(tp)
        for unit in self.units:
            if unit in self.fold.shards:
                tp, shard = TP(self._names.activities, unit), self.fold.shards[unit]
                self._transact(tp, self.fold.final(unit), shard.position, [], stop)
                self.fold.drop(unit)
            elif unit == CENSUS:
                self.people.drop()
        for table in self.tables.values():
            table.drop(range(PARTITIONS))
        self._producers.clear()
        self.positions.clear()
        self.units = []
