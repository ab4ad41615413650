"""Single amounts of a rolling week: any order, hours that leave, what is taken back, checkpoints, the bound."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.amounts import Bag, HourlyAmounts, medians
from state.arrays import decode, encode
from state.measures import Measure
from state.ring import RollingWeek
from tests.state.worlds import HOUR, examples

MEASURES = (Measure("clicks"), Measure("wait"), Measure("stored", gauge=True))
WAIT, STORED = 1, 2
START = 480_000  # an hour in 2024
SLOTS = np.array([0, 1, 7, 300])
Row = tuple[int, int, int, int]  # slot, measure, ms, amount


def week_at(hour: int) -> RollingWeek:
    week = RollingWeek(MEASURES, {WAIT, STORED})
    week.grow(int(SLOTS.max()) + 1)
    week.advance(hour)
    return week


def add(week: RollingWeek, rows: list[Row], weight: int = 1) -> None:
    table = np.array(rows, np.int64).reshape(-1, 4)
    week.add(table[:, 0], table[:, 1], table[:, 2], np.full(len(table), weight), table[:, 3] * weight)


def medians_of(rows: list[Row], measures: tuple[int, ...]) -> list[int | None]:
    """Return the lower median by slot, None where there is nothing."""
    found = [sorted(a for s, m, _, a in rows if s == slot and m in measures) for slot in SLOTS.tolist()]
    return [amounts[(len(amounts) - 1) // 2] if amounts else None for amounts in found]


def newest_of(rows: list[Row]) -> list[int | None]:
    """Return the newest amount by slot, the largest of one moment's; None where there is nothing."""
    found = [[(time, a) for s, m, time, a in rows if s == slot and m == STORED] for slot in SLOTS.tolist()]
    return [max(pairs)[1] if pairs else None for pairs in found]


def spelled(answer: tuple[np.ndarray, np.ndarray]) -> list[int | None]:
    return [value if known else None for value, known in zip(*(column.tolist() for column in answer), strict=True)]


def agree(week: RollingWeek, rows: list[Row]) -> None:
    held = [row for row in rows if week.hour - 168 <= row[2] // HOUR]
    assert spelled(week.medians((WAIT,), SLOTS)) == medians_of(held, (WAIT,))
    assert spelled(week.medians((WAIT, STORED), SLOTS[::-1])) == medians_of(held, (WAIT, STORED))[::-1]
    assert spelled(week.newest(STORED, SLOTS)) == newest_of(held)


row = st.tuples(
    st.sampled_from(SLOTS.tolist()),
    st.integers(0, 2),
    st.one_of(st.integers(-170, 0), st.integers(-2, 0)),  # hours back
    st.integers(0, 3).map(lambda quarter: quarter * HOUR // 4),  # equal moments are wanted
    st.one_of(st.integers(-3, 3), st.sampled_from([127, 128, -129, 2**33, -(2**40)])),
)
step = st.one_of(
    st.tuples(st.just("add"), st.lists(row, max_size=12)),
    st.tuples(st.just("take back"), st.integers(0, 10**6)),
    st.tuples(st.just("advance"), st.sampled_from([1, 2, 24, 100, 167, 168, 169, 400])),
    st.tuples(st.just("restore"), st.none()),
)


@examples(200)
@given(st.lists(step, max_size=12))
def test_medians_and_newest_amounts_equal_a_recount_after_any_steps(steps: list) -> None:
    week, rows = week_at(START), list[Row]()
    for kind, value in steps:
        if kind == "add":
            new = [(s, m, (week.hour + back) * HOUR + offset, a) for s, m, back, offset, a in value]
            add(week, new)
            rows += [r for r in new if week.hour - 168 <= r[2] // HOUR]
        elif kind == "take back" and rows:
            add(week, [rows.pop(value % len(rows))], -1)
        elif kind == "advance":
            week.advance(week.hour + value)
        elif kind == "restore":
            before = {name: encode(segment) for name, segment in week.segments().items()}
            week = week_at(0)
            week.restore({name: decode(raw) for name, raw in before.items()}, int(SLOTS.max()) + 1)
            assert {name: encode(segment) for name, segment in week.segments().items()} == before
        agree(week, rows)


@examples(60)
@given(st.lists(row, min_size=1, max_size=30), st.integers(0, 2**32), st.integers(1, 7))
def test_order_and_chunks_of_arrival_play_no_part(drawn: list, seed: int, chunks: int) -> None:
    rows = [(s, m, (START + back) * HOUR + offset, a) for s, m, back, offset, a in drawn]
    whole, split = week_at(START), week_at(START)
    add(whole, rows)
    shuffled = random.Random(seed).sample(rows, len(rows))
    for n in range(chunks):
        add(split, shuffled[n::chunks])
        agree(split, [r for i in range(n + 1) for r in shuffled[i::chunks]])
    assert encode(whole.segments()) == encode(split.segments())


def test_when_the_hour_of_the_newest_amount_leaves_nothing_is_known() -> None:
    week = week_at(START)
    add(week, [(0, STORED, (START - 5) * HOUR, 70), (0, STORED, (START - 9) * HOUR, 90)])
    for hour, expected in ((START + 163, 70), (START + 164, None)):
        week.advance(hour)
        assert spelled(week.newest(STORED, np.array([0]))) == [expected]


def test_the_newest_amount_taken_back_leaves_the_one_before_it() -> None:
    week = week_at(START)
    add(week, [(0, STORED, START * HOUR + 5, 70), (0, STORED, START * HOUR + 9, 90)])
    add(week, [(0, STORED, START * HOUR + 9, 90)], -1)
    assert spelled(week.newest(STORED, np.array([0]))) == [70]


def test_amounts_of_other_measures_are_not_kept() -> None:
    week, plain = week_at(START), RollingWeek(MEASURES)
    plain.grow(1)
    plain.advance(START)
    for each in (week, plain):
        add(each, [(0, 0, START * HOUR, 5)])
    assert week.segments().keys() - plain.segments().keys() == {"amounts-first"}
    assert spelled(week.medians((0,), np.array([0]))) == [None]


def test_a_checkpoint_of_other_single_measures_is_read_for_what_both_keep() -> None:
    week = week_at(START)
    add(week, [(0, STORED, START * HOUR, 5), (0, WAIT, START * HOUR, 6)])
    other = RollingWeek(MEASURES, {WAIT, 0})
    other.restore(decode(encode(week.segments())), 1)
    assert spelled(other.medians((WAIT,), np.array([0]))) == [6]
    assert spelled(other.newest(STORED, np.array([0]))) == [None]


def test_beyond_the_bound_the_oldest_hours_go_and_do_not_come_back() -> None:
    kept = HourlyAmounts({WAIT}, limit=4)

    def put(hour: int, amount: int) -> None:
        one = np.ones(1, np.int64)
        kept.add(0 * one, WAIT * one, hour * HOUR * one, amount * one, one)

    for n, hour in enumerate((3, 1, 2, 1, 3)):
        put(hour, 10 + n)
    assert spelled(kept.medians((WAIT,), np.array([0]))) == [12]  # of 10, 12, 14: hour 1 is gone
    put(1, 99)
    assert spelled(kept.medians((WAIT,), np.array([0]))) == [12]


def test_a_few_among_many_are_found_as_all_of_them_are() -> None:
    rng = np.random.default_rng(20_261_125)
    bag, n = Bag(), 50_000
    slots, amounts, ones = rng.integers(0, 9_000, n), rng.integers(-500, 500, n), np.ones(n, np.int64)
    for part in range(5):
        here = slice(part, n, 5)
        bag.add(slots[here], ones[here], 0 * ones[here], amounts[here], ones[here])
    everybody = np.arange(9_100)
    whole = spelled(medians({0: bag}, (WAIT,), everybody))
    few = rng.permutation(9_100)[:40]
    assert spelled(medians({0: bag}, (WAIT,), few)) == [whole[slot] for slot in few.tolist()]
    counts = Counter(slots.tolist())
    for slot in few.tolist():
        mine = np.sort(amounts[slots == slot])
        assert whole[slot] == (mine[(counts[slot] - 1) // 2] if len(mine) else None)


@pytest.mark.parametrize("slots", [[], [5]])
def test_about_nobody_there_is_nothing_to_say(slots: list[int]) -> None:
    week = week_at(START)
    assert spelled(week.medians((WAIT,), np.array(slots, np.int64))) == [None] * len(slots)
    assert spelled(week.newest(STORED, np.array(slots, np.int64))) == [None] * len(slots)
