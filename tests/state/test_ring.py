"""The rolling week against a plain recount."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.cells import Cells, sum_by_key
from state.measures import MAX_MEASURES, Measure
from state.ring import RollingWeek
from tests.state.worlds import HOUR, examples, hours_of

MEASURES = (Measure("a"), Measure("b", summed=True), Measure("passive", passive=True, summed=True))
START = 480_000  # an hour in 2024
SLOTS = (0, 1, 7, 300)


def column(values: object) -> np.ndarray:
    return np.array(values, np.int64)


def add(week: RollingWeek, rows: list[tuple[int, int, int, int, int]]) -> None:
    """Add rows of (slot, measure, hour, weight, amount)."""
    table = column(rows).reshape(-1, 5)
    table[:, 2] *= HOUR
    week.add(*(table[:, i] for i in range(5)))


class Recount:
    """Keeps every row and counts anew at each question."""

    def __init__(self) -> None:
        self.hour = 0
        self.rows: list[tuple[int, int, int, int, int]] = []

    def add(self, rows: list[tuple[int, int, int, int, int]]) -> None:
        self.rows += [r for r in rows if self.hour - 168 <= r[2] <= self.hour]

    def held(self) -> list[tuple[int, int, int, int, int]]:
        return [r for r in self.rows if r[2] >= self.hour - 168]

    def counts(self) -> Counter[tuple[int, int]]:
        found: Counter[tuple[int, int]] = Counter()
        for slot, measure, _, weight, _ in self.held():
            found[slot, measure] += weight
        return found

    def sums(self) -> Counter[tuple[int, int]]:
        found: Counter[tuple[int, int]] = Counter()
        for slot, measure, _, _, amount in self.held():
            found[slot, measure] += amount
        return found

    def active(self, slot: int) -> set[int]:
        return {h for s, m, h, _, _ in self.held() if s == slot and not MEASURES[m].passive}


def agree(week: RollingWeek, naive: Recount) -> None:
    """Check everything that can be asked."""
    counts, sums = naive.counts(), naive.sums()
    for slot in SLOTS:
        assert week.counts_of(np.array([slot]))[0].tolist() == [counts[slot, m] for m in range(3)]
        assert [int(week.sum_of(m)[slot]) for m in (1, 2)] == [sums[slot, m] for m in (1, 2)]
    for row, slot in zip(hours_of(week.active_hours(column(SLOTS))), SLOTS, strict=True):
        assert {week.hour - 168 + i for i in np.flatnonzero(row).tolist()} == naive.active(slot)
    assert week.are_active(column(SLOTS)).tolist() == [bool(naive.active(s)) for s in SLOTS]


amounts = st.sampled_from([0, 1, 127, 128, -129, 40_000, -(2**31), 2**40])
row = st.tuples(st.sampled_from(SLOTS), st.integers(0, 2), st.integers(-200, 3), st.just(1), amounts)
step = st.one_of(
    st.tuples(st.just("add"), st.lists(row, max_size=20)),
    st.tuples(st.just("advance"), st.sampled_from([0, 1, 2, 5, 24, 167, 168, 169, 170, 191, 192, 193, 400, 5000])),
    st.tuples(st.just("restore"), st.none()),
)


@examples(150)
@given(st.lists(step, max_size=15))
def test_totals_equal_a_recount_after_any_adds_and_advances(steps: list[tuple[str, object]]) -> None:
    #   hours arrive in any order, some outside the window; the running hour jumps by up to months
    week, naive = RollingWeek(MEASURES), Recount()
    week.grow(max(SLOTS) + 1)
    week.advance(START)
    naive.hour = START
    for kind, value in steps:
        if kind == "add":
            rows = [(s, m, naive.hour + back, w, a if MEASURES[m].summed else 0) for s, m, back, w, a in value]
            add(week, rows)
            naive.add(rows)
        elif kind == "advance":
            naive.hour += value
            before = {s: week.counts_of(np.array([s]))[0].tolist() for s in SLOTS}
            touched = week.advance(naive.hour)
            assert len(set(touched.tolist())) == len(touched)
            changed = {s for s in SLOTS if week.counts_of(np.array([s]))[0].tolist() != before[s]}
            assert changed <= set(touched.tolist())
        else:
            fresh = RollingWeek(MEASURES)
            fresh.restore(week.segments(), max(SLOTS) + 1)
            week = fresh
        agree(week, naive)


def test_a_taken_back_activity_leaves_nothing() -> None:
    week = RollingWeek(MEASURES)
    week.grow(1)
    week.advance(START)
    add(week, [(0, 2, START - 3, 1, 500)])
    add(week, [(0, 2, START - 3, -1, -500)])
    assert week.counts_of(np.array([0]))[0].tolist() == [0, 0, 0]
    assert int(week.sum_of(2)[0]) == 0
    week.advance(START + 400)  # its hour leaves: nothing is subtracted twice
    assert week.counts_of(np.array([0]))[0].tolist() == [0, 0, 0]


def test_the_window_holds_168_whole_hours_and_the_running_one() -> None:
    #  START-168 ▼                             ▼ START (running)
    #            ├───────── 168 hours ─────────┼────
    week = RollingWeek(MEASURES)
    week.grow(1)
    week.advance(START)
    add(week, [(0, 0, START - 169, 1, 0), (0, 0, START - 168, 1, 0), (0, 0, START, 1, 0), (0, 0, START + 1, 1, 0)])
    assert int(week.counts_of(np.array([0]))[0, 0]) == 2
    week.advance(START + 1)
    assert int(week.counts_of(np.array([0]))[0, 0]) == 1


def test_going_back_in_time_changes_nothing() -> None:
    week = RollingWeek(MEASURES)
    week.advance(START)
    assert week.advance(START - 5).tolist() == []
    assert week.hour == START


def test_something_received_does_not_make_a_user_active() -> None:
    week = RollingWeek(MEASURES)
    week.grow(1)
    week.advance(START)
    add(week, [(0, 2, START, 1, 9)])
    assert not week.are_active(column([0]))[0]


def test_a_hundred_thousand_slots_are_counted_like_a_few() -> None:
    rng = np.random.default_rng(20_241_108)
    week = RollingWeek(MEASURES)
    week.grow(100_000)
    week.advance(START)
    slots, measures = rng.integers(0, 100_000, 300_000), rng.integers(0, 3, 300_000)
    hours = START - rng.integers(0, 169, 300_000)
    ones = np.ones(300_000, np.int64)
    for part in range(3):
        here = slice(part * 100_000, (part + 1) * 100_000)
        week.add(slots[here], measures[here], hours[here] * HOUR, ones[here], ones[here])
    expected = np.bincount(slots * 3 + measures, minlength=300_000).reshape(-1, 3)
    assert (week.counts_of(np.arange(100_000)) == expected).all()
    week.advance(START + 84)
    kept = hours >= START + 84 - 168
    expected = np.bincount(slots[kept] * 3 + measures[kept], minlength=300_000).reshape(-1, 3)
    assert (week.counts_of(np.arange(100_000)) == expected).all()


@examples(100)
@given(st.lists(st.lists(st.tuples(st.integers(0, 50), st.integers(-(2**40), 2**40)), max_size=30), max_size=6))
def test_a_bucket_holds_the_sum_of_all_that_was_added(batches: list[list[tuple[int, int]]]) -> None:
    cells, expected = Cells(), Counter[int]()
    for batch in batches:
        cells.add(np.array([k for k, _ in batch], np.uint64), column([v for _, v in batch]))
        for key, value in batch:
            expected[key] += value
    keys, values = cells.read()
    assert dict(zip(keys.tolist(), values.tolist(), strict=True)) == {k: v for k, v in expected.items() if v}
    assert keys.tolist() == sorted(keys.tolist())


def test_a_bucket_merges_its_tail_before_it_outgrows_the_base() -> None:
    cells = Cells()
    keys = np.arange(1000, dtype=np.uint64)
    for _ in range(40):
        cells.add(keys, np.full(1000, 100, np.int64))  # sums outgrow eight bits
    assert len(cells) <= 1000 + 5096
    found, values = cells.read()
    assert found.tolist() == keys.tolist() and set(values.tolist()) == {4000}
    assert cells.size_bytes == 1000 * (4 + 2)


def test_the_highest_slots_and_measures_keep_apart() -> None:
    highest = (2**32 - 1) // MAX_MEASURES
    keys = np.array([highest * MAX_MEASURES + 127, highest * MAX_MEASURES + 126], np.uint64)
    cells = Cells()
    cells.add(keys, column([1, 2]))
    assert cells.read()[0].tolist() == sorted(keys.tolist())


def test_sums_by_key_of_nothing_are_nothing() -> None:
    keys, values = sum_by_key(np.empty(0, np.uint64), np.empty(0, np.int64))
    assert len(keys) == len(values) == 0
