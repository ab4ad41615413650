"""Hours as bits against the same questions asked of a list of hours."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.active_hours import active_days, hours_since, mean_gap, reverse, rotated, sessions
from tests.state.worlds import examples

HOURS = 169
Row = list[bool]

# Sparse weeks, dense ones, and those whose hours lie at the edges of words and days.
edges = st.sampled_from([0, 1, 23, 24, 25, 26, 48, 49, 62, 63, 64, 65, 72, 73, 126, 127, 128, 129, 144, 145, 167, 168])
week = st.one_of(
    st.sets(edges | st.integers(0, HOURS - 1), max_size=12),
    st.sets(st.integers(0, HOURS - 1), max_size=12).map(lambda gone: set(range(HOURS)) - gone),
).map(lambda active: [hour in active for hour in range(HOURS)])


def ring_of(weeks: list[Row], first: int) -> np.ndarray:
    """Return hours as they lie in a ring of 192 bits from bit *first* on, shape (3, n)."""
    bits = np.zeros((len(weeks), 192), np.uint8)
    bits[:, (first + np.arange(HOURS)) % 192] = weeks
    return np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little").view(np.uint64).T)


def runs(flags: Row) -> list[tuple[bool, int]]:
    """Return the runs of equal flags and their lengths.

    >>> runs([True, True, False])
    [(True, 2), (False, 1)]
    """
    found: list[tuple[bool, int]] = []
    for flag in flags:
        found = [*found[:-1], (flag, found[-1][1] + 1)] if found and found[-1][0] == flag else [*found, (flag, 1)]
    return found


def naive(hours: Row) -> tuple[list[bool], int, int | None, int | None]:
    """Return days, visits, hours since the last active one, mean gap between visits."""
    days = [any(hours[:25]), *(any(hours[at : at + 24]) for at in range(25, HOURS, 24))]
    pieces = runs(hours)
    gaps = [length for flag, length in pieces[1:-1] if not flag]
    since = hours[::-1].index(True) if any(hours) else None
    return days, sum(flag for flag, _ in pieces), since, sum(gaps) // len(gaps) if gaps else None


def masked(found: tuple[np.ndarray, np.ndarray]) -> list[int | None]:
    return [value if known else None for value, known in zip(*(column.tolist() for column in found), strict=True)]


@examples(300)
@given(st.lists(week, min_size=1, max_size=5), st.integers(0, 191))
def test_bits_tell_what_a_list_of_hours_tells(weeks: list[Row], first: int) -> None:
    hours = rotated(ring_of(weeks, first), first)
    days = np.array(active_days(hours)).T.tolist()
    columns = [days, sessions(hours).tolist(), masked(hours_since(hours)), masked(mean_gap(hours))]
    assert list(zip(*columns, strict=True)) == [naive(each) for each in weeks]


@examples(100)
@given(st.lists(week, min_size=1, max_size=5))
def test_hours_counted_back_from_the_end_are_the_same_ones(weeks: list[Row]) -> None:
    backwards = ring_of([each[::-1] for each in weeks], 0)
    assert (rotated(reverse(backwards), 192 - HOURS) == rotated(ring_of(weeks, 0), 0)).all()


def test_hours_outside_of_the_week_are_left_out() -> None:
    everything = np.full((3, 1), np.uint64(2**64 - 1))
    assert all(int(np.bitwise_count(rotated(everything, first)).sum()) == HOURS for first in (0, 1, 64, 100, 191))
