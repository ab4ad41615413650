"""A restored shard is told in the background; whatever is told before it loses no change that died with a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from faust.types import TP

from agents.checkpoints import Checkpoints
from agents.documents import Documents
from agents.fold import FoldAgent
from agents.ledger import Ledger
from deploy.local.redis import LocalRedis
from state.activity import Tick, encode_record
from state.shard import Limits, Shard
from streams.clock import FixedClock
from streams.dead_letters import DeadLetters
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.agents.by_hand import Table
from tests.agents.test_fold import Record, SomeChunk
from tests.state.worlds import Act, at, attribute, model_of, rows_of
from tests.streams.sink_bench import Bench, running

NOON = at("2024-03-20T12:00")
NAMES = topic_names(Settings())
MODEL = model_of(attribute("searches", "count", measures=["search"], cuts=[1, 2, 3, 4, 5, 6, 7, 8, 9]))


class LazySink:
    """Keeps what is put, and asks for what came back only when told to."""

    def __init__(self) -> None:
        self.put_so_far: list[Write] = []
        self.back: list[Iterator[Write]] = []

    def put(self, writes: Iterable[Write]) -> None:
        self.put_so_far += writes

    def tell(self, writes: Iterator[Write], about: int) -> None:
        assert about >= 0
        self.back.append(writes)


class Life:
    """One worker's life with partition 0, on a table and a log that outlive it."""

    def __init__(self, table: Any, log: list[bytes]) -> None:
        self.metrics, self.sink, self.log = Metrics(), LazySink(), log
        clock, keeper = FixedClock(NOON / 1000), Checkpoints(table, lambda: 0.0, 1e9, 1 << 60, lambda _: None)
        self.agent = FoldAgent(
            lambda partition: Shard(partition, MODEL, Limits()), keeper, Documents(MODEL, NAMES, 0, 1),
            DeadLetters(NAMES.dead_letters, clock.now, 1000), Ledger(Table(), self.metrics), NAMES.summaries,
            self.metrics, clock,
        )  # fmt: skip
        self.agent.sink = self.sink  # type: ignore[assignment]

        async def replay(partition: int, start: int, end: int) -> AsyncIterator[tuple[int, bytes]]:
            async def stretch() -> AsyncIterator[tuple[int, bytes]]:
                for offset in range(start, end):
                    yield offset, log[offset]

            return stretch()

        asyncio.run(self.agent.restore(0, len(log), replay))

    def play(self, searches: int, first_id: int) -> list[Write]:
        """Apply searches of ann and a tick; return what is put for Redis."""
        acts = [Act("acme", "ann", "search", NOON + first_id + n, first_id + n) for n in range(searches)]
        records = [rows_of(acts, len(self.log)), Tick(NOON + first_id + 60_000, 1)]
        first = len(self.log)
        self.log += [encode_record(record) for record in records]
        chunk: Any = SomeChunk(
            TP("activities", 0), [Record(first + n, raw) for n, raw in enumerate(self.log[first:])], len(self.log)
        )
        outcome = self.agent.handle(chunk)
        assert outcome is not None and outcome.after_commit is not None
        before = len(self.sink.put_so_far)
        outcome.after_commit()
        return self.sink.put_so_far[before:]


def of_ann(writes: Iterable[Write]) -> Write:
    return next(write for write in writes if write.key == "user:{acme}:ann")


def test_a_restore_asks_for_no_document_but_shows_figures() -> None:
    log: list[bytes] = []
    Life(Table("shard"), log).play(3, 1)
    again = Life(Table("shard"), log)
    assert again.sink.put_so_far == [] and len(again.sink.back) == 1
    bands = {sample.labels["band"]: sample.value for family in again.metrics.orgs.families()
             if family.name == "orgpulse_users_by_band" for sample in family.samples}  # fmt: skip
    assert sum(bands.values()) == 1
    assert {write.key for write in again.sink.back[0]} >= {"user:{acme}:ann", "org:{acme}"}


def test_the_next_telling_replaces_a_partition_that_was_dropped_meanwhile() -> None:
    log: list[bytes] = []
    Life(Table("shard"), log).play(3, 1)
    again = Life(Table("shard"), log)
    again.agent.drop(0)
    assert list(again.sink.back[0]) == []


def test_a_change_that_died_with_its_worker_is_in_the_stream_though_a_live_value_is_told_first(
    redis_server: LocalRedis, topic_prefix: str
) -> None:
    log: list[bytes] = []
    first = Life(Table("shard"), log)
    low = of_ann(first.play(1, 1))
    lost = of_ann(first.play(4, 10))  # a change of band that Redis never hears of
    assert lost.change is not None and low.fields["band"] != lost.fields["band"]
    again = Life(Table("shard"), log)
    live = of_ann(again.play(1, 100))  # changes no band, and is told before what came back
    assert live.change is None and live.fields["band"] == lost.fields["band"]

    async def scenario() -> None:
        async with running(Bench(redis_server.url, topic_prefix)) as bench:
            for told in ([low], [live], again.sink.back[0]):
                await bench.write(*told)
            found = [(entry["from"], entry["to"]) for _, entry in bench.redis.xrange(topic_prefix + "changes")]
            ann = (low.fields["band"], lost.fields["band"])
            assert found.count(ann) >= 1
            subjects = [entry["subject"] for _, entry in bench.redis.xrange(topic_prefix + "changes")]
            assert subjects.count("user:acme/ann") == 1

    asyncio.run(scenario())
    assert of_ann(again.play(1, 200)).missed is None  # everything is told by now


def test_while_everything_is_told_again_live_values_carry_what_redis_may_lack() -> None:
    life = Life(Table("shard"), [])
    for _ in life.sink.back[0]:
        pass
    assert of_ann(life.play(2, 1)).missed is None
    telling = life.agent.documents()
    assert of_ann(life.play(1, 100)).missed  # though nothing was asked for yet
    for _ in telling:
        pass
    assert of_ann(life.play(1, 200)).missed is None
