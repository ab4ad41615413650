"""Raw messages wait for the quota, in order, none lost, and never more than it lets through."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.held_back import HeldBack
from streams.quota import Bucket
from streams.settings_quota import QuotaSettings

RAW, LOG = "events", "activities"


@dataclass
class Record:
    """What the quota looks at."""

    value: bytes | None = b"0123456789"
    key: bytes | None = None


@dataclass
class Chunk:
    """What is kept."""

    tp: TP
    number: int
    records: list[Record] = field(default_factory=lambda: [Record()] * 10)


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def held_back(clock: Clock, partitions: int = 4, **quota: float) -> HeldBack:
    """Return one that owns every partition of the raw topic."""
    found = HeldBack(QuotaSettings(**quota), [RAW], partitions, clock)  # type: ignore[arg-type]
    found.use(1, lambda: [TP(RAW, number) for number in range(partitions)])
    return found


def keep(held: HeldBack, *chunks: Chunk) -> None:
    """Let chunks wait."""
    for chunk in chunks:
        held.keep(chunk)  # type: ignore[arg-type]


def test_only_raw_topics_wait() -> None:
    held = held_back(Clock(), events_per_second=10)
    assert held.holds(TP(RAW, 0)) and not held.holds(TP(LOG, 0))


def test_a_burst_passes_and_the_rest_waits_for_its_turn() -> None:
    clock = Clock()
    held = held_back(clock, events_per_second=10, burst_seconds=2)
    keep(held, *(Chunk(TP(RAW, 0), number) for number in range(5)))
    active = {TP(RAW, 0)}
    assert [chunk.number for chunk in held.due(active)] == [0, 1, 2]  # 20, and the last one in advance
    assert held.holding and held.waiting() == active and held.wait_seconds() == 1.0
    assert not list(held.due(active))
    clock.now += 0.99
    assert not list(held.due(active)) and 0 < held.wait_seconds() < 0.02
    clock.now += 0.01
    assert [chunk.number for chunk in held.due(active)] == [3]
    clock.now += 100.0  # a long pause gives no more than a burst
    assert [chunk.number for chunk in held.due(active)] == [4] and not held.holding
    assert abs(held.held_seconds - 101.0) < 1e-6


def test_partitions_take_turns_and_one_that_is_not_read_now_waits_without_hindering_others() -> None:
    held = held_back(Clock(), events_per_second=100)
    keep(held, *(Chunk(TP(RAW, partition), number) for partition in (0, 1, 2) for number in (0, 1)))
    got = [(chunk.tp.partition, chunk.number) for chunk in held.due({TP(RAW, 0), TP(RAW, 2)})]
    assert got == [(0, 0), (2, 0), (0, 1), (2, 1)]
    assert held.waiting() == {TP(RAW, 1)} and not held.holding


def test_a_worker_has_the_share_of_its_partitions() -> None:
    held = held_back(Clock(), events_per_second=100, bytes_per_second=1000)
    assert (held.events_per_second, held.chunk_records(10_000)) == (100, 25)
    held.use(2, lambda: [TP(RAW, 0), TP(LOG, 0), TP(LOG, 1)])
    assert (held.events_per_second, held.bytes_per_second, held.chunk_records(10_000)) == (25, 250, 6)
    held.use(3, list)
    assert held.events_per_second == 0 and "nothing is read here" in held.told()


def test_what_is_kept_of_a_former_assignment_is_let_go_for_it_is_read_again() -> None:
    held = held_back(Clock(), events_per_second=10)
    keep(held, Chunk(TP(RAW, 0), 0))
    held.use(2, lambda: [TP(RAW, 0)])
    assert not held.waiting() and not list(held.due({TP(RAW, 0)})) and not held.holding


def test_everything_may_be_let_go_while_a_chunk_is_handed_on() -> None:
    held = held_back(Clock(), events_per_second=1000)
    keep(held, *(Chunk(TP(RAW, partition), 0) for partition in (0, 1)))
    due = held.due({TP(RAW, 0), TP(RAW, 1)})
    assert next(due).tp.partition == 0
    held.forget()
    assert not list(due)


def test_bytes_count_where_they_are_limited() -> None:
    clock = Clock()
    held = held_back(clock, bytes_per_second=100, burst_seconds=1)
    keep(held, *(Chunk(TP(RAW, 0), number) for number in range(3)))
    assert len(list(held.due({TP(RAW, 0)}))) == 2 and held.holding  # of 10 records of 10 bytes each
    assert held.chunk_records(7) == 7, "chunks are cut by messages alone"


def test_other_assignments_give_no_new_burst() -> None:
    clock, generations = Clock(), count(2)
    held = held_back(clock, events_per_second=10, burst_seconds=10)
    got = 0
    for _ in range(20):
        held.use(next(generations), lambda: [TP(RAW, 0)])
        keep(held, *(Chunk(TP(RAW, 0), number) for number in range(10)))
        got += len(list(held.due({TP(RAW, 0)})))
    assert got * 10 <= 10 * 10 / 4 + 10


@settings(max_examples=100, deadline=None)
@given(
    rate=st.integers(1, 5000), burst=st.floats(0.1, 20), size=st.integers(1, 400),
    pauses=st.lists(st.floats(-1, 5), min_size=1, max_size=40),
)  # fmt: skip
def test_over_no_stretch_more_is_taken_than_the_quota_and_nothing_is_lost(
    rate: int, burst: float, size: int, pauses: list[float]
) -> None:
    clock = Clock()
    held = held_back(clock, 2, events_per_second=rate, burst_seconds=burst)
    tps, sent, got, taken = [TP(RAW, 0), TP(RAW, 1)], count(), list[int](), 0
    passed = 0.0
    for pause in pauses:
        clock.now += pause
        passed += max(0.0, pause)
        for tp in tps:
            if tp not in held.waiting():
                keep(held, *(Chunk(tp, next(sent), [Record()] * size) for _ in range(3)))
        for chunk in held.due(tps):
            got.append(chunk.number)
            taken += size
        assert taken <= rate * (passed + burst) + size + 1e-6
    clock.now += 10.0**7
    while some := [chunk.number for chunk in held.due(tps)]:
        got += some
        clock.now += 10.0**5
    assert sorted(got) == list(range(next(sent)))
    for tp_numbers in ([n for n in got if n // 3 % 2 == side] for side in (0, 1)):
        assert tp_numbers, "both were served"


@settings(max_examples=100, deadline=None)
@given(rate=st.floats(0.1, 1e6), burst=st.floats(0.1, 1e6), amount=st.floats(0, 1e6))
def test_whoever_waits_as_long_as_told_need_not_wait_any_more(rate: float, burst: float, amount: float) -> None:
    bucket = Bucket(rate, burst, 0.0)
    bucket.take(amount, 0.0)
    wait = bucket.wait_seconds(0.0)
    assert (wait > 0) == (amount > burst) and bucket.wait_seconds(wait + 1e-6) <= 1e-3
