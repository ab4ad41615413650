"""Calendar weeks: content whatever the order, and who is touched."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.arrays import decode, encode
from state.history import History
from state.measures import MAX_MEASURES
from tests.state.worlds import DAY, examples

SUMMED = np.array([False, True, False])
ACTIVE = np.array([True, True, False])
EVERYBODY = np.ones(10, bool)
rows_strategy = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(2800, 2804), st.just(1), st.integers(-500, 500)),
    max_size=60,
)


def history_of(rows: list[tuple[int, int, int, int, int]], batches: int = 1) -> History:
    history = History(SUMMED, ACTIVE)
    for start in range(batches):
        table = np.array(rows[start::batches], np.int64).reshape(-1, 5)
        history.add(*(table[:, i] for i in range(5)), table[:, 4] % 169, table[:, 2] * 7 * DAY)
    return history


def content(history: History) -> dict[int, list[list[int]]]:
    return {w: [a.tolist() for a in history.read(w)] for w in history.weeks()}


@examples(80)
@given(rows_strategy, st.integers(1, 5), st.integers(0, 999))
def test_any_order_and_any_batches_give_equal_weeks(rows: list, batches: int, seed: int) -> None:
    mixed = list(rows)
    random.Random(seed).shuffle(mixed)
    assert content(history_of(rows)) == content(history_of(mixed, batches))


@examples(80)
@given(rows_strategy)
def test_a_week_holds_what_a_recount_finds(rows: list) -> None:
    history = history_of(rows)
    for week in {r[2] for r in rows}:
        counts, sums = Counter(), Counter()
        for slot, measure, _, weight, amount in (r for r in rows if r[2] == week):
            counts[slot * MAX_MEASURES + measure] += weight
            if SUMMED[measure]:
                sums[slot * MAX_MEASURES + measure] += amount
        keys, values, sum_keys, sum_values = (a.tolist() for a in history.read(week))
        assert dict(zip(keys, values, strict=True)) == counts
        assert dict(zip(sum_keys, sum_values, strict=True)) == {k: v for k, v in sums.items() if v}


def test_who_is_not_asked_for_stays_touched() -> None:
    history = history_of([(1, 0, 2800, 1, 0), (2, 0, 2800, 1, 0), (3, 0, 2801, 1, 0)])
    among = np.zeros(10, bool)
    among[1] = True
    assert history.dirty_weeks() == [2800, 2801]
    assert history.take_dirty(2800, among).tolist() == [1]
    assert history.take_dirty(2800, among).tolist() == []
    assert history.take_dirty(2800, EVERYBODY).tolist() == [2]
    assert history.dirty_weeks() == [2801]


def test_a_week_that_was_not_touched_has_nobody_to_tell() -> None:
    assert history_of([]).take_dirty(2800, EVERYBODY).tolist() == []


def test_dropped_weeks_are_gone_with_all_that_belongs_to_them() -> None:
    history = history_of([(1, 0, week, 1, 0) for week in range(2800, 2805)])
    for week in (2800, 2803):
        history.keep_scores(week, np.array([1, 2]), np.array([5000, -1]))
    history.drop_before(2802, 2802)
    assert history.weeks() == history.dirty_weeks() == [2802, 2803, 2804]
    assert history.scores_at(2800, np.array([1])).tolist() == [-1]
    assert history.scores_at(2803, np.array([1, 2])).tolist() == [5000, -1]


def test_scores_of_a_week_without_activity_are_dropped_too() -> None:
    history = history_of([(1, 0, 2803, 1, 0)])
    for week in range(2800, 2804):  # the first three weeks passed in silence, but were closed
        history.keep_scores(week, np.array([1]), np.array([5000]))
    history.drop_before(2803, 2803)
    assert [int(history.scores_at(week, np.array([1]))[0]) for week in range(2800, 2804)] == [-1, -1, -1, 5000]


@examples(60)
@given(rows_strategy)
def test_a_restored_history_is_the_same_to_the_byte(rows: list) -> None:
    history = history_of(rows, 2)
    history.keep_scores(2800, np.array([4, 1]), np.array([1, 2]))
    saved = {name: encode(value) for name, value in history.segments().items()}
    fresh = History(SUMMED, ACTIVE)
    fresh.restore({name: decode(raw) for name, raw in saved.items()})
    assert {name: encode(value) for name, value in fresh.segments().items()} == saved
    assert content(fresh) == content(history)
