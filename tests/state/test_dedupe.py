"""Seen ids against a plain set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.dedupe import Dedupe, IdTable
from state.week import HOUR_MS
from tests.state.worlds import examples

T0 = 480_000 * HOUR_MS
# Few distinct ids, and ids that want the same place of any table (equal low bits).
ids = st.one_of(st.integers(0, 30), st.integers(0, 20).map(lambda n: n << 40), st.integers(0, 2**64 - 1))


def learn(dedupe: Dedupe, events: list[tuple[int, int]]) -> list[bool]:
    """Learn (id, hour after T0) pairs."""
    found = dedupe.learn(
        np.array([i for i, _ in events], np.uint64), np.array([T0 + h * HOUR_MS for _, h in events], np.int64)
    )
    return [bool(x) for x in found]


@examples(150)
@given(st.lists(st.lists(st.tuples(ids, st.integers(0, 40)), max_size=40), max_size=8))
def test_within_the_horizon_it_knows_what_a_set_knows(batches: list[list[tuple[int, int]]]) -> None:
    dedupe, known = Dedupe(48, 10**6), set()
    for batch in batches:
        expected = []
        for id_, _ in batch:
            expected.append(id_ not in known)
            known.add(id_)
        assert learn(dedupe, batch) == expected
    assert len(dedupe) == len(known)


@examples(60)
@given(
    st.lists(st.lists(st.tuples(ids, st.integers(0, 40)), max_size=20), max_size=6),
    st.lists(st.tuples(ids, st.integers(0, 40)), max_size=30),
)
def test_restored_it_knows_the_same(batches: list[list[tuple[int, int]]], then: list[tuple[int, int]]) -> None:
    dedupe = Dedupe(48, 10**6)
    for batch in batches:
        learn(dedupe, batch)
    fresh = Dedupe(48, 10**6)
    fresh.restore(dedupe.segments())
    assert learn(fresh, then) == learn(dedupe, then)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 600)), max_size=60), st.integers(8, 900))
def test_restored_with_another_horizon_it_forgets_nothing_early(events: list[tuple[int, int]], horizon: int) -> None:
    seen = {id_: T0 + minute * 37 * 60_000 for id_, minute in events}
    ids, times = np.array(list(seen), np.uint64), np.array(list(seen.values()), np.int64)
    former = Dedupe(100, 10**6)
    former.learn(ids, times)
    other = Dedupe(horizon, 10**6)
    other.restore(former.segments())
    assert len(other) == len(seen)
    other.advance(max(seen.values(), default=0))
    within = times >= other.floor_ms
    assert not other.learn(ids[within], times[within]).any()


def test_the_first_of_equals_is_the_new_one() -> None:
    assert learn(Dedupe(48, 100), [(5, 0), (5, 0), (6, 0), (5, 1)]) == [True, False, True, False]


def test_an_id_is_known_whatever_time_its_repetition_claims() -> None:
    dedupe = Dedupe(800, 100)  # periods of 100 hours
    assert learn(dedupe, [(5, 0)]) == [True]
    assert learn(dedupe, [(5, 350)]) == [False]


def test_ids_are_forgotten_only_beyond_the_horizon() -> None:
    #     floor = now − 48 h
    # ──────┼───────────────────┼ now
    #   forgotten          remembered
    dedupe = Dedupe(48, 100)
    learn(dedupe, [(h, h) for h in range(60)])
    dedupe.advance(T0 + 59 * HOUR_MS)
    assert dedupe.floor_ms == T0 + 11 * HOUR_MS
    on_time = [(h, h) for h in range(11, 60)]
    assert not any(learn(dedupe, on_time))
    dedupe.advance(T0 + 10_000 * HOUR_MS)
    assert len(dedupe) == 0


def test_the_floor_never_goes_back() -> None:
    dedupe = Dedupe(48, 100)
    dedupe.advance(T0)
    dedupe.advance(T0 - HOUR_MS)
    assert dedupe.floor_ms == T0 - 48 * HOUR_MS


def test_at_the_limit_the_oldest_period_goes_and_the_floor_moves_up() -> None:
    dedupe = Dedupe(80, 25)  # periods of 10 hours
    learn(dedupe, [(h, h) for h in range(40)])
    assert len(dedupe) <= 25
    kept = [h for h in range(40) if T0 + h * HOUR_MS >= dedupe.floor_ms]
    assert kept and not any(learn(dedupe, [(h, h) for h in kept]))
    assert len(kept) == len(dedupe)


def test_the_newest_tick_is_never_given_up() -> None:
    dedupe = Dedupe(80, 5)
    learn(dedupe, [(i, 0) for i in range(50)])
    assert not any(learn(dedupe, [(i, 0) for i in range(50)]))


def test_ids_that_want_one_place_all_find_one() -> None:
    same = np.arange(1, 3001, dtype=np.uint64) << np.uint64(32)
    table = IdTable()
    table.add(same[:1500])
    table.add(same[1500:])
    assert table.contains(same).all()
    assert not table.contains(same + np.uint64(1)).any()
    assert table.ids.tolist() == same.tolist() and len(table) == 3000


def test_an_id_costs_at_most_36_bytes() -> None:
    dedupe = Dedupe(48, 10**6)
    numbers = np.random.default_rng(7).integers(0, 2**63, 100_000).astype(np.uint64)
    dedupe.learn(numbers, np.full(100_000, T0))
    assert dedupe.size_bytes <= 36 * 100_000


def test_within_one_period_the_limit_binds_too_and_what_it_forgets_is_late() -> None:
    dedupe = Dedupe(1344, 1_000)  # periods of a week
    for minute in range(60):
        first = 1_000 * minute + 1
        ids_now = np.arange(first, first + 100, dtype=np.uint64)
        dedupe.learn(ids_now, np.full(100, T0 + minute * 60_000, np.int64))
        assert len(dedupe) <= 1_000
    assert T0 < dedupe.floor_ms <= T0 + 59 * 60_000
    # Whatever is not late is still known.
    minute = (dedupe.floor_ms - T0) // 60_000
    for later in range(minute, 60):
        again = np.arange(1_000 * later + 1, 1_000 * later + 101, dtype=np.uint64)
        assert not dedupe.learn(again, np.full(100, T0 + later * 60_000, np.int64)).any()
