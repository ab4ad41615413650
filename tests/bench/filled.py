"""What the benches of size share: weeks of activities as `ingest` would pack them, and systems that hold them.

Owns the filling of shards in process, by real records through the real state machine, and their way into a real Kafka:
records into `activities`, checkpoints by the real `Checkpoints` in real transactions with the offsets that they belong
to. Invariant: a worker that starts on it can't tell it from what another worker left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiokafka.structs import TopicPartition
from faust.types import TP
from numpy.typing import NDArray

from agents.checkpoints import Checkpoints
from agents.routing import router_of
from agents.wiring import limits_of
from state.activity import SEPARATOR, Rows, Tick, encode_record
from state.effects import Effect
from state.health import Model
from state.shard import Shard
from state.week import HOUR_MS, WEEK_HOURS
from streams.faust_app import make_app
from streams.log_reader import plain_consumer
from streams.settings import Settings
from streams.tables import ChunkTable
from streams.topic_specs import group_of, topic_names
from streams.transactions import Outgoing, Transactions, TransactionSettings
from tests.bench.ground import load

CHUNK = 10_000
USERS_PER_ORG = 20
LEFT_OUT = ("other", "message", "reply_given", "reply_received", "transaction", "transaction_other", "presence",
            "message_deleted", "syslog")  # fmt: skip
"""Measures that need more than a row: they are of orgs, of conversations, or taken back."""


def measures_of(model: Model) -> list[str]:
    """Return the measures that users have activities in here: all but a few."""
    return [measure.name for measure in model.catalogue.measures if measure.name not in LEFT_OUT]


def rows_of_week(
    rng: np.random.Generator, model: Model, partition: int, subjects: list[str], events: int, end_ms: int
) -> Iterator[Rows]:
    """Yield *events* activities of each of *subjects* within the week before *end_ms*, in order of time.

    Which measures they are of is heavy-tailed, as in life; a subject's activities lie anywhere in the week.
    """
    who = rng.permutation(np.repeat(np.arange(len(subjects)), events))
    measures = measures_of(model)
    summed = np.array([model.catalogue.measures[model.catalogue.index(name)].summed for name in measures])
    start_ms, span_ms = end_ms - WEEK_HOURS * HOUR_MS, WEEK_HOURS * HOUR_MS - HOUR_MS
    for at in range(0, len(who), CHUNK):
        some = who[at : at + CHUNK]
        n = len(some)
        present, subject = np.unique(some, return_inverse=True)
        first, last = start_ms + at * span_ms // len(who), start_ms + (at + n) * span_ms // len(who)
        measure = np.minimum(rng.pareto(0.9, n).astype(np.int64), len(measures) - 1)
        amounts = np.where(summed[measure], rng.lognormal(9, 2, n), 0).astype("<i8")
        yield Rows(
            "product-events", partition, at, [subjects[i] for i in present.tolist()], measures,
            subject.astype("<u2").tobytes(), measure.astype("u1").tobytes(),
            np.sort(rng.integers(first, last + 1, n)).astype("<i8").tobytes(), amounts.tobytes(),
            rng.integers(1, 1 << 63, n).astype("<u8").tobytes(), b"", np.arange(n).astype("<u4").tobytes(),
            before=at,
        )  # fmt: skip


def subjects_of(settings: Settings, users: int) -> list[list[str]]:
    """Return the names of *users* users of orgs of twenty by partition, each org where the router puts it."""
    router = router_of(settings)
    found: list[list[str]] = [[] for _ in range(settings.kafka.partitions)]
    for user in range(users):
        org = f"o{user // USERS_PER_ORG}"
        found[router.partition(org)].append(f"{org}{SEPARATOR}u{user}")
    return found


@dataclass
class Filled:
    """A shard with a week behind it, and its log."""

    shard: Shard
    log: list[bytes] = field(default_factory=list)
    steps: list[list[Outgoing]] = field(default_factory=list)
    """Checkpoint records of each checkpoint, oldest first."""
    positions: list[int] = field(default_factory=list)


def fill_shard(
    shard: Shard, subjects: list[str], events: int, end_ms: int, *,
    checkpoints: Checkpoints | None = None, times: int = 1, keep_log: bool = False,
    told: Callable[[list[Effect]], None] = lambda _: None, seed: int = 5,
) -> Filled:  # fmt: skip
    """Fold a week of *subjects* into *shard* and evaluate it; write a checkpoint *times* times on the way, evenly."""
    found = Filled(shard)
    rng = np.random.default_rng([seed, shard.partition])
    chunks = max(1, -(-len(subjects) * events // CHUNK))

    def take(record: Rows | Tick) -> None:
        raw = encode_record(record) if keep_log else b""
        effects = shard.apply(record, shard.position)
        if keep_log:
            found.log.append(raw)
        if effects:
            told(effects)

    for number, rows in enumerate(rows_of_week(rng, shard.model, shard.partition, subjects, events, end_ms), 1):
        take(rows)
        if number == chunks:
            take(Tick(end_ms, 1))
        if checkpoints is not None and (number == chunks or number * times // chunks > (number - 1) * times // chunks):
            found.steps.append(checkpoints.make(shard))
            found.positions.append(shard.position)
    return found


async def fill_system(
    settings: Settings, model: Model, users: int, events: int, times: int, said: Callable[[str], None]
) -> list[Shard]:
    """Put *users* users with a week of activities into the Kafka of *settings*; return the shards to be restored.

    No worker may run. Their documents are told to nobody.
    """
    topic = topic_names(settings).activities
    app = make_app(group_of(settings), settings.kafka.brokers, partitions=settings.kafka.partitions)
    table = ChunkTable(app, name="shard", partitions=settings.kafka.partitions)
    written = [0]
    checkpoints = Checkpoints(table, time.monotonic, 1e9, 1 << 62, lambda size: written.append(size))
    limits, end_ms = limits_of(settings), int(time.time() * 1000) // HOUR_MS * HOUR_MS
    transactions = Transactions(
        settings.kafka.brokers, group_of(settings),
        TransactionSettings(transaction_timeout_seconds=300.0, request_timeout_seconds=60.0, give_up_seconds=300.0),
    )  # fmt: skip
    shards = []
    for partition, subjects in enumerate(subjects_of(settings, users)):
        tp = TP(topic, partition)
        found = fill_shard(
            Shard(partition, model, limits), subjects, events, end_ms,
            checkpoints=checkpoints, times=times, keep_log=True,
        )  # fmt: skip
        log = ((topic, partition, None, raw) for raw in found.log)
        await load(settings.kafka.brokers, settings.kafka.partitions, log)
        await _check_end(settings.kafka.brokers, tp, found.shard.position)
        await transactions.own([tp])
        for records, position in zip(found.steps, found.positions, strict=True):
            await transactions.commit(tp, position, records)
        await transactions.disown([tp])
        shards.append(found.shard)
        said(f"partition {partition}: {len(subjects):,} users, {sum(written) / 1e6:,.0f} MB of checkpoints so far")
    return shards


async def _check_end(brokers: str, tp: TP, position: int) -> None:
    """Check that the log ends where the shard stands."""
    consumer: Any = plain_consumer(brokers)
    await consumer.start()
    try:
        place = TopicPartition(*tp)
        end = (await consumer.end_offsets([place]))[place]
    finally:
        await consumer.stop()
    assert end == position, f"the log of {tp} ends at {end}, its shard stands at {position}"


def active_bands(shards: list[Shard]) -> dict[str, int]:
    """Return how many users are in each band, over all *shards*."""
    counted = [shard.board.bands() for shard in shards]
    return {name: sum(bands[name] for bands in counted) for name in counted[0]}


def scores_of(shard: Shard, slots: NDArray[np.int64]) -> dict[str, int]:
    """Return the scores (basis points) of *slots* by subject."""
    return {shard.subjects.names[slot]: int(shard.board.score[slot]) for slot in slots.tolist()}
