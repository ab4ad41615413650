"""Hours of a calendar week: which were active, in zones of every kind, also after something is taken back."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.arrays import decode, encode
from state.week_hours import WeekHours, places_in_week
from tests.state.worlds import HOUR, at, examples
from tests.state.worlds import hours_of as as_bools

ACTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 168)), max_size=40)


def hours_of(batches: list[list[tuple[int, int, int]]]) -> WeekHours:
    found = WeekHours()
    for batch in batches:
        table = np.array(batch, np.int64).reshape(-1, 3)
        found.add(table[:, 0], table[:, 1], table[:, 2])
    return found


def content(found: WeekHours) -> set[tuple[int, int]]:
    slots, columns = np.nonzero(as_bools(found.of(np.arange(8))))
    return {(slot, 168 - column) for slot, column in zip(slots.tolist(), columns.tolist(), strict=True)}


@examples(150)
@given(ACTS, st.data(), st.integers(1, 5))
def test_an_hour_is_active_while_an_activity_is_left_in_it(
    acts: list[tuple[int, int]], data: st.DataObject, size: int
) -> None:
    # Few hours, so that many activities share one.
    acts = [(slot, hour % 4 * 56) for slot, hour in acts]
    back = data.draw(st.lists(st.sampled_from(range(len(acts))), unique=True) if acts else st.just([]))
    came = [(*act, 1) for act in acts]
    gone = [(*acts[n], -1) for n in back]
    batches = [came[n : n + size] for n in range(0, len(came), size)]
    batches += [gone[n : n + size] for n in range(0, len(gone), size)]
    left = Counter(acts) - Counter(acts[n] for n in back)
    assert content(hours_of(batches)) == set(left)
    assert content(hours_of([came + gone])) == set(left)
    again = hours_of([*batches, [(*act, 1) for act, number in left.items() for _ in range(number)]])
    again.add(*np.array([(*act, -number) for act, number in left.items()] or [(0, 0, 0)], np.int64).T)
    assert content(again) == set(left)


@examples(50)
@given(ACTS)
def test_hours_that_are_restored_are_the_same_to_the_byte(acts: list[tuple[int, int]]) -> None:
    found = hours_of([[(*act, 1)] for act in acts])
    saved = encode(found.segment())
    again = WeekHours.restored(decode(saved))
    assert encode(again.segment()) == saved and content(again) == content(found)
    more = np.array([(3, 7, 1), (7, 8, 1)], np.int64).T
    again.add(*more)
    found.add(*more)
    assert encode(again.segment()) == encode(found.segment())


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        ("UTC", "2024-03-04T00:00", 168),
        ("Asia/Kolkata", "2024-03-03T18:30", 168),
        ("Europe/Berlin", "2024-03-24T23:00", 167),
        ("Europe/Berlin", "2024-10-20T22:00", 169),
        ("Australia/Lord_Howe", "2024-03-31T13:00", 169),  # half an hour more: the first hour is half a one
        ("Antarctica/Troll", "2024-10-20T22:00", 169),  # two hours more: the first hour holds two
    ],
)
def test_hours_are_counted_back_from_the_end_of_the_week_in_its_zone(zone: str, start: str, hours: int) -> None:
    begin = at(start)
    weeks, places = places_in_week(begin + np.arange(0, 171 * HOUR, HOUR // 4), zone)
    own = places[weeks == weeks[0]]
    assert places_in_week(np.array([begin - 1]), zone)[0][0] == weeks[0] - 1
    assert own[0] == hours - 1 and own[-1] == 0
    assert sorted(set(own.tolist())) == list(range(hours)) and (np.diff(own) <= 0).all()
