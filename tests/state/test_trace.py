"""What became of single events is told from the log as the shard saw it."""

from __future__ import annotations

from state.activity import SEPARATOR, Calibration, Correction, Member, Org, Record, Tick
from state.limits import Limits
from state.trace import Trace
from tests.state.worlds import HOUR, Act, rows_of, shard_of

START = 1_709_510_400_000  # a Monday


def salt_of(org: str) -> int:
    return {"a": 0b1000, "b": 0b10000}.get(org, 0)


def traced(records: list[Record], orgs: set[str], hours: int = 24) -> Trace:
    trace = Trace(orgs, Limits(allowed_lateness_hours=hours), salt_of, START - 1000 * HOUR, START + 1000 * HOUR)
    for number, record in enumerate(records):
        trace.take(record, number)
    return trace


def test_events_are_accepted_doubled_or_late_like_in_their_shard() -> None:
    acts = [
        Act("a", "ann", "search", START, 1),
        Act("a", "ann", "search", START + 100 * HOUR, 2),
        Act("a", "ann", "search", START + 100 * HOUR, 2),
        Act("a", "ann", "search", START + HOUR, 3),
        Act("c", "eve", "search", START + 100 * HOUR, 4),
    ]
    records: list[Record] = [rows_of([act], number) for number, act in enumerate(acts)]
    found = traced(records, {"a"})
    told = {key[0] ^ salt_of("a"): event.outcome for key, event in found.events.items()}
    assert told == {1: "accepted", 2: "accepted", 3: "late"}  # the second one of 2 is known as the first one
    shard = shard_of(allowed_lateness_hours=24)
    for number, record in enumerate(records):
        shard.apply(record, number)
    assert shard.reception.outcomes["product-events", 0] == [3, 1, 1]


def test_an_event_has_the_same_key_in_another_org() -> None:
    here = traced([rows_of([Act("a", "ann", "search", START, 5 ^ salt_of("a"))])], {"a"})
    there = traced([rows_of([Act("b", "ann", "search", START, 5 ^ salt_of("b"))])], {"b"})
    assert here.events.keys() == there.events.keys() == {(5, START)}


def test_time_passes_with_ticks_and_what_the_directory_said_is_kept_with_its_time() -> None:
    members = [Member("a", "ann", True, ""), Member("a", "ann", False, ""), Member("c", "eve", True, "")]
    ticked: list[Record] = [
        *members,
        Org("a", "", "UTC", ""),
        rows_of([Act("a", "ann", "search", START, 1)]),
        Tick(START + 100 * HOUR, 0),
        Calibration(1, 1, {}),
        rows_of([Act("a", "ann", "search", START + HOUR, 2)], 1),
        Correction("a", [f"a{SEPARATOR}ann"], ["search"], []),
    ]
    found = traced(ticked, {"a"})
    assert sorted(event.outcome for event in found.events.values()) == ["accepted", "late"]
    assert found.members == {("a", "ann"): [(0, members[0]), (1, members[1])]}
    assert [stamp for stamp, _ in found.orgs["a"]] == [3] and found.corrected == {"a"}
