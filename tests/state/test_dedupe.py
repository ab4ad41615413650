"""Seen ids against a plain set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.dedupe import BLOCK, Dedupe
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


def test_of_many_ids_each_is_known_and_no_other() -> None:
    rng = np.random.default_rng(3)
    many = np.unique(rng.integers(1, 2**63, 3 * BLOCK).astype(np.uint64))
    rng.shuffle(many)
    dedupe, times = Dedupe(48, 10**6), T0 + np.arange(len(many), dtype=np.int64)
    for at in range(0, len(many), 5_000):
        part = slice(at, at + 5_000)
        assert dedupe.learn(many[part], times[part]).all()
    assert not dedupe.learn(many, times).any()
    assert len(dedupe) == len(many)
    assert dedupe.learn(many + np.uint64(1 << 63), times).all()


def test_what_a_checkpoint_holds_of_full_blocks_stays_as_it_is() -> None:
    rng = np.random.default_rng(4)
    dedupe = Dedupe(48, 10**7)

    def more(number: int) -> bytes:
        ids = rng.integers(1, 2**63, number).astype(np.uint64)
        dedupe.learn(ids, T0 + rng.integers(0, 5 * HOUR_MS, number))
        (name,) = (name for name in dedupe.segments() if name.startswith("ids/"))
        raw: bytes = dedupe.segments()[name][2]
        return raw

    before = more(BLOCK + 100)
    after = more(BLOCK)
    assert len(after) == 8 * (2 * BLOCK + 100)
    assert after[: 8 * BLOCK] == before[: 8 * BLOCK]  # the first block is full
    again = Dedupe(48, 10**7)
    again.restore(dedupe.segments())
    assert again.segments() == dedupe.segments()


def test_at_a_high_rate_nearly_the_limit_is_always_kept() -> None:
    # 100 ids a minute, all of one period of 6 hours at first; only 2,000 may be kept.
    dedupe, least = Dedupe(48, 2_000), 2_000
    for minute in range(300):
        ids = np.arange(100, dtype=np.uint64) + np.uint64(minute * 100 + 1)
        times = T0 + minute * 60_000 + np.arange(100, dtype=np.int64) * 600
        assert dedupe.learn(ids, times).all()
        dedupe.advance(int(times[-1]))
        assert len(dedupe) <= 2_000
        if minute > 20:
            least = min(least, len(dedupe))
            first = -(-(dedupe.floor_ms - T0) // 60_000)
            known = np.arange(first * 100 + 1, minute * 100 + 101).astype(np.uint64)
            assert len(known) == len(dedupe)
            assert not dedupe.learn(known, np.full(len(known), times[-1])).any()
    assert least >= 1_500
    again = Dedupe(48, 2_000)
    again.restore(dedupe.segments())
    assert again.segments() == dedupe.segments()


def test_when_fewer_come_periods_become_wide_again() -> None:
    dedupe = Dedupe(48, 1_000)
    for minute in range(60):
        dedupe.learn(np.arange(100, dtype=np.uint64) + np.uint64(minute * 100), np.full(100, T0 + minute * 60_000))
    for hour in range(1, 400):
        dedupe.learn(np.array([1 << 40 | hour], np.uint64), np.array([T0 + hour * HOUR_MS]))
        dedupe.advance(T0 + hour * HOUR_MS)
    periods = [name for name in dedupe.segments() if name.startswith("ids/")]
    assert len(periods) <= 33
    assert 49 <= len(dedupe) < 49 + 6  # whole periods of six hours
