"""The fold agent's effects on the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from faust.types import TP

from agents.checkpoints import Checkpoints
from agents.documents import Documents
from agents.fold import FoldAgent
from agents.ledger import Ledger
from state.activity import Tick, decode_record, encode_record
from state.shard import Limits, Shard
from streams.clock import FixedClock
from streams.dead_letters import DeadLetters
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.agents.by_hand import Table, all_records
from tests.state.worlds import DAY, HOUR, Act, at, model_of, rows_of

NOON = at("2024-03-20T12:00")


class Record(NamedTuple):
    offset: int
    value: bytes


class SomeChunk(NamedTuple):
    """What the handler looks at of a chunk."""

    tp: TP
    records: list[Record]
    next_offset: int


class NeverDue:
    """Checkpoints that are never due."""

    def count(self, partition: int, rows: int) -> None:
        """Nothing to count for."""

    def is_due(self, partition: int) -> bool:
        return False


def new_agent(*, metrics: Metrics | None = None, keeper: Any = None, limits: Limits | None = None) -> FoldAgent:
    """Return an agent with one empty shard; its checkpoints are never due if *keeper* is none."""
    model, clock, names = model_of(), FixedClock(NOON / 1000), topic_names(Settings())
    metrics = metrics or Metrics()
    agent = FoldAgent(
        lambda partition: Shard(partition, model, Limits()), keeper or NeverDue(), Documents(model, names, 0, 1),
        DeadLetters(names.dead_letters, clock.now, 1000), Ledger(Table(), metrics), names.summaries, metrics, clock,
    )  # fmt: skip
    agent.shards[0] = Shard(0, model, limits or Limits())
    return agent


def test_an_event_that_is_late_for_its_shard_is_counted_among_the_dead_letters() -> None:
    metrics, names = Metrics(), topic_names(Settings())
    agent = new_agent(metrics=metrics, limits=Limits(allowed_lateness_hours=24))
    on_time, late = Act("acme", "ann", "search", NOON, 1), Act("acme", "ann", "search", NOON - DAY - HOUR, 2)
    log = [rows_of([on_time]), rows_of([late], first_offset=5), Tick(NOON, 0)]
    records = [Record(number, encode_record(record)) for number, record in enumerate(log)]
    outcome = agent.handle(SomeChunk(TP("activities", 0), records, 3))  # type: ignore[arg-type]
    assert outcome is not None and outcome.after_commit is not None
    assert [out.topic for out in all_records(outcome)].count(names.dead_letters) == 1
    outcome.after_commit()
    assert metrics.dead_letters.value("product-events", "too_late") == 1


def test_a_long_chunk_lets_others_have_their_turn_and_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.turns.TURN_SECONDS", 0.0)
    log = [rows_of([Act("acme", "ann", "search", NOON + n, n)], first_offset=n) for n in range(50)]
    records = [Record(at_, encode_record(record)) for at_, record in enumerate([*log, Tick(NOON + 50, 0)])]
    chunk: Any = SomeChunk(TP("activities", 0), records, 51)
    outcomes, turns = [], 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def in_turns(agent: FoldAgent) -> Any:
        task = asyncio.create_task(others())
        found = await agent.handle_in_turns(chunk)
        task.cancel()
        return found

    for _ in range(2):
        agent = new_agent()
        outcomes.append(asyncio.run(in_turns(agent)) if outcomes else agent.handle(chunk))
        if len(outcomes) == 1:
            assert turns == 0
    assert turns >= 50
    assert outcomes[0].records == outcomes[1].records and len(outcomes[0].records) > 2


def test_one_record_that_brings_years_lets_others_have_their_turn_and_comes_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Years of a mail archive in one record kept the loop for a minute, on a slow machine, and commits timed out."""
    monkeypatch.setattr("agents.turns.TURN_SECONDS", 0.0)
    weeks = 60
    acts = [Act("acme", f"u{n % 7}", "search", NOON + 7 * n * DAY, n) for n in range(weeks)]
    log = [rows_of(acts), Tick(NOON + 7 * weeks * DAY, 0)]
    records = [Record(at_, encode_record(record)) for at_, record in enumerate(log)]
    chunk: Any = SomeChunk(TP("activities", 0), records, len(log))
    agents = [new_agent() for _ in range(3)]
    found: list[Any] = [agents[0].handle(chunk)]
    told: list[int] = []

    async def asks(agent: FoldAgent) -> None:
        while True:
            await asyncio.sleep(0)
            told.append(len(list(agent.documents())))

    async def in_turns(agent: FoldAgent, *, asked: bool) -> None:
        turns = [0]

        async def others() -> None:
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(others()), *([asyncio.create_task(asks(agent))] if asked else [])]
        found.append(await agent.handle_in_turns(chunk))
        for task in tasks:
            task.cancel()
        assert turns[0] >= (2 if asked else weeks)

    asyncio.run(in_turns(agents[1], asked=False))
    asyncio.run(in_turns(agents[2], asked=True))
    assert told[0] == 8, "what is told in the middle of a record is as of its end"
    assert found[0].records == found[1].records == found[2].records and len(found[0].records) > weeks
    assert agents[0].shards[0].checkpoint() == agents[1].shards[0].checkpoint() == agents[2].shards[0].checkpoint()


def test_values_told_again_are_never_older_than_their_fence_says() -> None:
    agent = new_agent()
    users = [f"u{number:03}" for number in range(400)]

    def play(first_offset: int, turn: int) -> None:
        acts = [Act("acme", name, "search", NOON + turn, turn * 1000 + i) for i, name in enumerate(users)]
        log = [rows_of(acts * 1), Tick(NOON + turn, turn)]
        records = [Record(first_offset + number, encode_record(record)) for number, record in enumerate(log)]
        agent.handle(SomeChunk(TP("activities", 0), records, first_offset + 2))  # type: ignore[arg-type]

    play(0, 1)
    telling = agent.documents()
    told = [next(telling)]
    as_of_first = {write.key: write for write in agent.documents()}
    play(2, 2)  # meanwhile
    told += telling
    as_of_second = {write.key: write for write in agent.documents()}
    assert as_of_first["user:{acme}:u399"].fields != as_of_second["user:{acme}:u399"].fields
    assert {write.fence for write in told} == {"0000.000000000000002", "0000.000000000000004"}
    for write in told:
        same = as_of_first if write.fence == "0000.000000000000002" else as_of_second
        assert write == same[write.key]


def test_a_restored_shard_shows_the_replies_of_the_week_and_a_dropped_one_none() -> None:
    model, metrics, clock, names = model_of(), Metrics(), FixedClock(NOON / 1000), topic_names(Settings())
    acts = [Act("acme", "ann", "message", NOON, 1, place="#help")]
    acts += [Act("acme", "bob", "message", NOON + n * HOUR, 1 + n, ref=1, place="#help") for n in (1, 2)]
    log = [encode_record(rows_of(acts, topic="chat-messages"))]
    table: Any = Table("shard")
    keeper = Checkpoints(table, lambda: 0.0, 10.0, 1000, lambda _: None)
    agent = FoldAgent(
        lambda partition: Shard(partition, model, Limits()), keeper, Documents(model, names, 0, 1),
        DeadLetters(names.dead_letters, clock.now, 1000), Ledger(Table(), metrics), names.summaries, metrics, clock,
    )  # fmt: skip

    async def replay(partition: int, start: int, end: int) -> AsyncIterator[tuple[int, bytes]]:
        async def stretch() -> AsyncIterator[tuple[int, bytes]]:
            for offset in range(start, end):
                yield offset, log[offset]

        return stretch()

    def shown() -> dict[tuple[str, str], float]:
        (family,) = [each for each in metrics.orgs.families() if each.name == "orgpulse_org_week_replies"]
        return {(sample.labels["org"], sample.labels["le"]): sample.value for sample in family.samples}

    asyncio.run(agent.restore(0, len(log), replay))
    assert [shown()["all", le] for le in ("2400", "3600", "7200", "+Inf")] == [0, 1, 2, 2]
    agent.drop(0)
    assert shown() == {}


def test_a_shard_whose_checkpoint_is_damaged_is_folded_anew_from_its_log() -> None:
    model, metrics, clock, names = model_of(), Metrics(), FixedClock(NOON / 1000), topic_names(Settings())
    log = [encode_record(rows_of([Act("acme", "ann", "search", NOON + n, n)], n)) for n in range(8)]
    straight = Shard(0, model, Limits())
    for offset, raw in enumerate(log):
        straight.apply(decode_record(raw), offset)
    table: Any = Table("shard")
    keeper = Checkpoints(table, lambda: 0.0, 10.0, 1000, lambda _: None)
    table.recover(keeper.make(straight))
    del table.contents[0][b"meta#000000"]
    agent = FoldAgent(
        lambda partition: Shard(partition, model, Limits()), keeper, Documents(model, names, 0, 1),
        DeadLetters(names.dead_letters, clock.now, 1000), Ledger(Table(), metrics), names.summaries, metrics, clock,
    )  # fmt: skip
    asked: list[tuple[int, int, int]] = []

    async def replay(partition: int, start: int, end: int) -> AsyncIterator[tuple[int, bytes]]:
        asked.append((partition, start, end))

        async def stretch() -> AsyncIterator[tuple[int, bytes]]:
            for offset in range(start, end):
                yield offset, log[offset]

        return stretch()

    asyncio.run(agent.restore(0, len(log), replay))
    assert asked == [(0, 0, len(log))]
    assert agent.shards[0].checkpoint() == straight.checkpoint()
    assert metrics.state_damaged.value() == 1
    assert keeper.is_due(0)
