"""Quantiles against numpy."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.durations import EXACT_LIMIT, RELATIVE_ERROR, Durations, bucket_of, middle_of
from tests.state.worlds import examples

values = st.one_of(st.integers(0, 400), st.integers(0, 10**10))
QUANTILES = (0.0, 0.1, 0.5, 0.8, 0.95, 1.0)


def durations_of(found: list[int]) -> Durations:
    durations = Durations()
    for value in found:
        durations.add(value)
    return durations


@examples(100)
@given(st.lists(values, min_size=1, max_size=EXACT_LIMIT))
def test_few_durations_give_the_exact_linear_quantile(found: list[int]) -> None:
    durations = durations_of(found)
    assert durations.is_exact
    for quantile in QUANTILES:
        assert durations.quantile_ms(quantile) == pytest.approx(np.quantile(found, quantile), rel=1e-12)


@examples(30)
@given(st.integers(0, 10_000), st.integers(EXACT_LIMIT + 1, 3000), st.sampled_from([300, 10**5, 10**9]))
def test_many_durations_stay_within_the_stated_error(seed: int, number: int, largest: int) -> None:
    found = random.Random(seed).choices(range(largest), k=number)
    durations = durations_of(found)
    assert not durations.is_exact
    for quantile in QUANTILES:
        true = sorted(found)[int((number - 1) * quantile)]
        assert durations.quantile_ms(quantile) == pytest.approx(true, rel=RELATIVE_ERROR, abs=0.5)


@examples(60)
@given(st.lists(st.lists(values, max_size=150), max_size=6), st.integers(0, 999))
def test_merging_in_any_order_gives_the_same(parts: list[list[int]], seed: int) -> None:
    mixed = list(parts)
    random.Random(seed).shuffle(mixed)
    one, other = Durations(), Durations()
    for part in parts:
        one.merge(durations_of(part))
    for part in mixed:
        other.merge(durations_of(part))
    whole = durations_of([v for part in parts for v in part])
    assert one.dump() == other.dump() == whole.dump()
    assert one.count == whole.count == sum(map(len, parts))


@examples(60)
@given(st.lists(values, min_size=1, max_size=400), st.data())
def test_what_was_taken_back_counts_no_more(found: list[int], data: st.DataObject) -> None:
    durations = durations_of(found)
    back = data.draw(st.lists(st.sampled_from(range(len(found))), unique=True))
    for index in back:
        durations.add(found[index], -1)
    left = sorted(v for i, v in enumerate(found) if i not in set(back))
    assert durations.count == len(left)
    if not left:
        assert durations.quantile_ms(0.5) is None
        return
    for quantile in (0.0, 1.0):
        assert durations.quantile_ms(quantile) == pytest.approx(
            left[int((len(left) - 1) * quantile)], rel=RELATIVE_ERROR, abs=0.5
        )


@examples(60)
@given(st.lists(values, max_size=400))
def test_loaded_it_is_the_same(found: list[int]) -> None:
    durations = durations_of(found)
    again = Durations.load(durations.dump())
    assert (again.dump(), again.count, again.is_exact) == (durations.dump(), durations.count, durations.is_exact)


@examples(300)
@given(st.integers(0, 2**50))
def test_a_bucket_is_narrow_and_in_order(duration: int) -> None:
    assert abs(middle_of(bucket_of(duration)) - duration) <= duration * RELATIVE_ERROR
    assert bucket_of(duration) <= bucket_of(duration + 1) <= bucket_of(duration) + 1


def test_no_duration_has_no_quantile() -> None:
    assert Durations().quantile_ms(0.8) is None


def test_merging_leaves_the_other_alone() -> None:
    small, large = durations_of([1, 2]), durations_of(list(range(300)))
    small.merge(large)
    large.add(5)
    assert (small.count, large.count) == (302, 301)
    assert durations_of([7]).dump() == [[7], []]
