"""Feeds the shards: gather a chunk of `activities`, apply it, hand out the effects.

Owns the shards of the partitions that this worker has now. A shard's durable
form is a checkpoint (segments in the table `shard`) and the log after it; so a
chunk without a tick commits nothing, and a tick commits its effects and the
offset in one transaction. Invariant: what was committed equals what the log up
to the committed offset gives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import structlog
from msgspec import structs

from agents.alert_documents import AlertDocuments
from agents.chat_documents import ChatDocuments
from agents.checkpoints import Checkpoints
from agents.documents import Documents
from agents.ledger import SHARD, Ledger
from agents.manifest import DamagedCheckpointError
from agents.shadow import ShadowTeller
from agents.shard_figures import ShardFigures
from agents.turns import Turns
from state.activity import Forget, decode_record, rows_of
from state.effects import (
    TOO_LATE,
    TOO_MANY,
    Alert,
    ChatCounts,
    Effect,
    Gap,
    Gone,
    Late,
    LatencyMap,
    LatencyMonth,
    OrgScore,
    Summary,
    UserScore,
    WeekRow,
)
from state.ledger import Shares
from state.shard import Shard
from state.steps import Steps, Work
from state.telling import encode_summary
from streams.chunks import Outcome
from streams.clock import Clock
from streams.dead_letters import DeadLetters, Refused
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.reading import Rejected
from streams.redis_sink import RedisSink
from streams.source_bytes import Place
from streams.transactions import Outgoing
from streams.transport import Chunk

_log = structlog.get_logger(__name__)
Replay = Callable[[int, int, int], Awaitable[Any]]
_EFFECTS_A_STEP = 250
T = TypeVar("T")
_REFUSED = {
    TOO_LATE: Rejected(TOO_LATE, "beyond the allowed lateness of its shard"),
    TOO_MANY: Rejected(
        TOO_MANY,
        "the directory does not know who did it, and its org or its shard has as many such users as "
        "`ingest.max_created_per_org` and `ingest.max_created` allow",
    ),
}


class FoldAgent:
    """The handler of `activities`."""

    def __init__(
        self,
        new_shard: Callable[[int], Shard],
        checkpoints: Checkpoints,
        documents: Documents,
        dead_letters: DeadLetters,
        ledger: Ledger,
        summaries_topic: str,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._new_shard, self._checkpoints, self._documents = new_shard, checkpoints, documents
        self._alerts, self.chat = AlertDocuments(documents), ChatDocuments(documents)
        self._dead_letters, self._ledger, self._summaries_topic = dead_letters, ledger, summaries_topic
        self._metrics, self._clock = metrics, clock
        self._figures = ShardFigures(metrics)
        self.shards: dict[int, Shard] = {}
        self.sink: RedisSink | None = None
        self.on_turn: Callable[[], None] = lambda: None
        self.shadow: ShadowTeller | None = None
        self.replayed = 0
        """Records that restores have replayed since the start."""
        self.changed: set[int] = set()
        """Partitions to which something came since this was last emptied."""
        self.last_rows_at: dict[int, float] = {}
        """When each partition last got activities (epoch seconds)."""
        self._arrivals: dict[int, list[float]] = {}
        self._under_way: dict[int, Work[int]] = {}
        """The record that each partition's shard takes in."""
        self._counted: dict[int, dict[tuple[str, int], list[int]]] = {}  # outcomes that the metrics know of
        self._untold: set[int] = set()
        """Partitions of which Redis was not told everything yet, since their recovery or since it lost something."""

    async def restore(self, partition: int, committed: int, replay: Replay) -> None:
        """Bring a partition's shard to where its log was committed: checkpoint, then replay without effects.

        A damaged checkpoint is worth nothing, but the log is all there is to know: the shard is then folded anew
        from the log's beginning.

        Raises:
            OperatorError: If the log no longer reaches back that far.
        """
        shard = self._new_shard(partition)
        try:
            self._checkpoints.load(shard)
        except DamagedCheckpointError as error:
            self._metrics.state_damaged.add(1)
            _log.error("checkpoint damaged; folding the whole log anew", partition=partition, damage=str(error))
            shard = self._new_shard(partition)
        start = shard.position
        turns = Turns()
        async for offset, value in await replay(partition, start, committed):
            await turns.through(Work(shard.steps(decode_record(value), offset)))
            self.replayed += 1
        shard.position = max(shard.position, committed)
        self.shards[partition] = shard
        self._counted[partition] = {source: list(counts) for source, counts in shard.reception.outcomes.items()}
        self.last_rows_at[partition] = self._clock.now()  # nothing is known to wait yet; look for a while
        self._tell_all(shard)
        _log.info("shard restored", partition=partition, checkpoint=start, committed=committed)

    def drop(self, partition: int) -> None:
        """Forget a partition that another worker owns now."""
        self.shards.pop(partition, None)
        self._arrivals.pop(partition, None)
        self._under_way.pop(partition, None)
        self.changed.discard(partition)
        self._counted.pop(partition, None)
        self._untold.discard(partition)
        self._figures.drop(partition)

    def handle(self, chunk: Chunk) -> Outcome | None:
        """Apply *chunk*; with a tick in it, return its effects."""
        said: list[list[Effect]] = []
        rows = sum([Work(self._steps(chunk.tp.partition, record, said)).finish() for record in chunk.records])
        return Work(self._end(chunk, rows, said)).finish()

    async def handle_in_turns(self, chunk: Chunk) -> Outcome | None:
        """Do as `handle`, in turns with others: a backlog's chunk may take many seconds, and so may one record."""
        turns, rows, said = Turns(self.on_turn), 0, list[list[Effect]]()
        for record in chunk.records:
            self._under_way[chunk.tp.partition] = work = Work(self._steps(chunk.tp.partition, record, said))
            rows += await turns.through(work)
        return await turns.through(Work(self._end(chunk, rows, said)))

    def _steps(self, partition: int, record: Any, said: list[list[Effect]]) -> Steps[int]:
        """Apply one record of the log, add what its tick says to *said*, and return how many activities it held."""
        shard, rows = self.shards[partition], 0
        if record.offset < shard.position:
            return 0
        assert record.value is not None, "only orgpulse writes to activities"
        found = decode_record(record.value)
        for part in rows_of(found):
            rows += len(part.measure)
            self._arrivals.setdefault(partition, []).append(part.arrived)
        if isinstance(found, Forget):
            self._checkpoints.hasten(partition)  # the former one holds what is to be gone
        effects = yield from shard.steps(found, record.offset)
        if effects is not None:
            said.append(effects)
        else:
            self.changed.add(partition)
        return rows

    def _end(self, chunk: Chunk, rows: int, said: list[list[Effect]]) -> Steps[Outcome | None]:
        partition = chunk.tp.partition
        shard = self.shards[partition]
        if rows:
            self.last_rows_at[partition] = self._clock.now()
            self._checkpoints.count(partition, rows)
        shard.position = max(shard.position, chunk.next_offset)
        return (yield from self._outcome(shard, [effect for effects in said for effect in effects])) if said else None

    def final(self, partition: int) -> list[Outgoing]:
        """Return the records of a last checkpoint before the partition is given up."""
        shard = self.shards[partition]
        return [*self._ledger.keep_shares(partition, SHARD, shares_of(shard)), *self._checkpoints.make(shard)]

    def documents(self) -> Iterator[Write]:
        """Return every current value of the owned partitions, for an empty or changed Redis.

        Chunks may be applied between two of them: a piece is spelled at once, so that values and fence belong together.
        """
        shards = list(self.shards.values())
        self._untold.update(shard.partition for shard in shards)  # at once, not when the first is asked for
        return chain.from_iterable(map(self._documents_of, shards))

    def _documents_of(self, shard: Shard) -> Iterator[Write]:
        """Yield every current value of a shard, which counts as untold until then."""
        for effects in self._between_records(shard, shard.pieces()):
            for effect in effects:
                if isinstance(effect, LatencyMap):
                    self._figures.show_map(shard, effect)
            yield from [self._again(effect, shard) for effect in effects]
        if self.shadow is not None:
            for writes in self._between_records(shard, iter(self.shadow.everything(shard))):
                yield from writes
        if self.shards.get(shard.partition) is shard:
            self._untold.discard(shard.partition)

    def _between_records(self, shard: Shard, pieces: Iterator[T]) -> Iterator[T]:
        """Yield *pieces* of a shard that this worker has, each as of the end of a record, while it has it."""
        while self.shards.get(shard.partition) is shard:
            if (work := self._under_way.get(shard.partition)) is not None:
                work.finish()
            try:
                yield next(pieces)
            except StopIteration:
                return

    def fence_of_unknown(self, partition: int, known: Callable[[Shard], bool]) -> str:
        """Return the fence of a deletion when an owned partition has no such document; empty when it has, or isn't."""
        shard = self.shards.get(partition)
        return "" if shard is None or known(shard) else self._documents.fence(shard.position)

    def _outcome(self, shard: Shard, effects: list[Effect]) -> Steps[Outcome]:
        out: list[Outgoing] = []
        writes: list[Write] = []
        for number, effect in enumerate(effects, 1):
            if number % _EFFECTS_A_STEP == 0:
                yield
            records, values = self._spell(effect, shard)
            out += records
            writes += values
        if self.shadow is not None:
            writes += self.shadow.changed(shard)
        out += self._ledger.keep_shares(shard.partition, SHARD, shares_of(shard))
        if self._checkpoints.is_due(shard.partition):
            out += self._checkpoints.make(shard)
        arrivals = self._arrivals.pop(shard.partition, [])
        outcomes = {source: list(counts) for source, counts in shard.reception.outcomes.items()}

        def publish() -> None:
            if self.sink is not None:
                self.sink.put(writes)
            now = self._clock.now()
            for at in arrivals:
                self._metrics.event_to_score.observe(max(0.0, now - at))
            for effect in effects:
                if isinstance(effect, Late):
                    self._metrics.dead_letters.add(len(effect.offsets), effect.topic, effect.reason)
            self._count(shard.partition, outcomes)
            self._ledger.show(shard.partition, SHARD)
            self._figures.show(shard, effects)

        refused = [refusal for effect in effects if isinstance(effect, Late) for refusal in _refusals(effect, shard)]
        further = partial(self._dead_letters.of_refused, refused) if refused else None
        return Outcome(out, shard.position, publish, further)

    def _count(self, partition: int, outcomes: dict[tuple[str, int], list[int]]) -> None:
        """Add what became of activities since the last commit to the metrics."""
        before = self._counted.get(partition, {})
        for source, counts in outcomes.items():
            former = before.get(source, [0, 0, 0])
            for name, now, then in zip(("accepted", "duplicate", "late"), counts, former, strict=True):
                if now != then:
                    self._metrics.events.add(now - then, source[0], name)
        self._counted[partition] = outcomes

    def _spell(self, effect: Effect, shard: Shard) -> tuple[list[Outgoing], list[Write]]:
        """Return what an effect is for Kafka and for Redis."""
        partition, position = shard.partition, shard.position
        match effect:
            case UserScore():
                record, write = self._documents.user(effect, position, partition)
                return [record], [self._heard(effect, write)]
            case OrgScore():
                record, write = self._documents.org(effect, position, partition)
                return [record], [self._heard(effect, write)]
            case Alert():
                alert = self._alerts.record(effect, position, partition)
                return [alert], [self._alerts.write(effect, position, partition)]
            case LatencyMap():
                return [], [self._documents.latency(effect, position, partition)]
            case ChatCounts():
                return [], [self.chat.write(effect, position, partition)]
            case LatencyMonth():
                return [], [self._documents.latency_month(effect, position, partition)]
            case Gone():
                record, write = self._documents.gone(effect, position, partition)
                return [record], [write] if self.shadow is None else [write, self.shadow.gone(write)]
            case WeekRow():
                return [self._documents.week(effect, partition)], []
            case Late():
                return [], []  # their letters have to be made from their bytes first
            case Gap():
                _log.error(
                    "activities were lost on their way to the shard" if effect.missing > 0
                    else "activities reached the shard twice",
                    activities=abs(effect.missing), topic=effect.topic, source_partition=effect.partition,
                    partition=partition, source_offset=effect.first_offset, remedy="run `orgpulse ledger`",
                )  # fmt: skip
                return [], []
            case Summary():
                key = str(partition).encode() if not effect.model else f"shadow/{partition}".encode()
                return [Outgoing(self._summaries_topic, 0, key, encode_summary(effect))], []

    def _heard(self, effect: UserScore | OrgScore, write: Write) -> Write:
        """Add to the write of a partition that Redis was not told of yet the changes that it may lack.

        Redis sees this one first; what is told again after it comes too late to say what it found there.
        """
        return (
            structs.replace(write, missed=self._documents.missed(effect)) if write.partition in self._untold else write
        )

    def _tell_all(self, shard: Shard) -> None:
        """Show what a restored shard knows, and have Redis told of it, in the background: there may be a million users.

        Episodes of alerts are told before any of them can change.
        """
        self._figures.show_all(shard)
        if self.shadow is not None:
            self.shadow.show(shard)
        if self.sink is not None:
            self.sink.put(self._again(episode, shard) for episode in shard.alerts.documents())
            self._untold.add(shard.partition)
            self.sink.tell(self._documents_of(shard), len(shard.subjects))

    def _again(self, effect: Effect, shard: Shard) -> Write:
        """Spell what was said before, perhaps by another worker."""
        match effect:
            case UserScore() | OrgScore():
                return self._documents.again(effect, shard.position, shard.partition)
            case Alert():
                return self._alerts.write(effect, shard.position, shard.partition, again=True)
            case LatencyMap():
                return self._documents.latency(effect, shard.position, shard.partition)
            case ChatCounts():
                return self.chat.write(effect, shard.position, shard.partition)
            case LatencyMonth():
                return self._documents.latency_month(effect, shard.position, shard.partition)
        raise TypeError(f"{type(effect).__name__} is no document")


def _refusals(late: Late, shard: Shard) -> Iterator[Refused]:
    """Yield what the letters of refused activities are made of; those of people too many may come in floods."""
    for offset in late.offsets:
        place = Place(late.topic, late.partition, offset)
        yield Refused(_REFUSED[late.reason], place, shard.partition, late.reason == TOO_LATE)


def shares_of(shard: Shard) -> Shares:
    """Return what became of each source's activities in *shard*, in the order of SHARD_OUTCOMES."""
    gaps = shard.reception.receipts.gaps
    return {source: [*counts, *gaps.get(source, (0, 0))] for source, counts in shard.reception.outcomes.items()}
