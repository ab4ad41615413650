"""The census agent after a restart or with an empty Redis: what it knew is shown again."""

from __future__ import annotations

from typing import Any, NamedTuple

from agents.count_people import CountPeople, MapSettings
from agents.documents import Documents
from state.census import Census
from state.effects import Summary
from state.telling import encode_summary
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topic_specs import topic_names
from streams.transactions import Outgoing
from tests.state.worlds import model_of


class Record(NamedTuple):
    value: bytes


class SomeChunk(NamedTuple):
    """What the handler looks at of a chunk."""

    records: list[Record]
    next_offset: int


class MemoryTable:
    """A table of one partition, without Kafka."""

    def __init__(self) -> None:
        self.content: dict[bytes, bytes] = {}

    def stage(self, partition: int, key: bytes, value: bytes) -> Outgoing:
        self.content[key] = value
        return Outgoing("census-changelog", partition, key, value)

    def items(self, partition: int) -> list[tuple[bytes, bytes]]:
        return list(self.content.items())


class Sink:
    """Keeps what was put."""

    def __init__(self) -> None:
        self.writes: list[Write] = []

    def put(self, writes: Any) -> None:
        self.writes += writes

    def tell(self, writes: Any, about: int) -> None:
        self.writes += writes


def census_agent(table: MemoryTable) -> CountPeople:
    spell = Documents(model_of(), topic_names(Settings()), 0, 1)
    agent = CountPeople(lambda: Census(1), table, spell, Metrics(), "activities", 4, MapSettings(3, 0.8, 1000))  # type: ignore[arg-type]
    agent.sink = Sink()  # type: ignore[assignment]
    return agent


def counted(table: MemoryTable) -> CountPeople:
    """Return an agent that has counted seven users."""
    agent = census_agent(table)
    raw = encode_summary(Summary(2, 1, 7, {"healthy": 7}, 3, {"searches": ([1], [7])}, {}))
    outcome = agent.handle(SomeChunk([Record(raw)], 12))  # type: ignore[arg-type]
    assert outcome.after_commit is not None
    outcome.after_commit()
    return agent


def test_after_a_restart_the_population_is_shown_before_anything_new_comes() -> None:
    table = MemoryTable()
    former = counted(table)
    restarted = census_agent(table)
    restarted.restore(12)
    assert restarted._metrics.population_users.value() == 7
    assert restarted.sink.writes == former.sink.writes  # type: ignore[union-attr]  # fences too


def test_an_empty_redis_gets_the_totals_and_the_overall_latency_again() -> None:
    assert [write.key for write in counted(MemoryTable()).documents()] == ["totals", "latency:{all}"]
    assert census_agent(MemoryTable()).documents() == []


def test_who_counts_no_more_shows_no_population() -> None:
    agent = counted(MemoryTable())
    agent.drop()
    assert agent._metrics.population_users.value() is None
