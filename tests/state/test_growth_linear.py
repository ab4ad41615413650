"""Time and memory of a shard grow with events and users as a line does, and not at all with weeks long past."""

from __future__ import annotations

import pytest

from tests.bench.growth import exponent, measure, steepest
from tests.faults.extent import N

LINEAR = 1.3
"""What a small shard may have: twice the work for each doubling is 1, a nested loop 2. Time counts in the long form."""


def test_exponents_are_those_of_the_function() -> None:
    sizes = [10.0, 100.0, 1000.0]
    assert exponent(sizes, [n * n for n in sizes]) == pytest.approx(2)
    assert exponent(sizes, [5 + n for n in sizes]) < 1
    assert steepest(sizes, [10, 100, 100_000]) == pytest.approx(3)


def test_memory_and_processor_time_grow_with_events_at_most_as_a_line() -> None:
    found = [measure(500, events // 500) for events in (2_000, 20_000, 100_000)]
    events = [size.events for size in found]
    assert exponent(events, [size.checkpoint_bytes for size in found]) <= 1.05
    assert N == 0 or exponent(events, [size.seconds for size in found]) <= LINEAR


def test_memory_and_processor_time_grow_with_users_at_most_as_a_line() -> None:
    found = [measure(users, 2) for users in (1_000, 5_000, 20_000)]
    users = [size.users for size in found]
    assert exponent(users, [size.checkpoint_bytes for size in found]) <= 1.05
    assert N == 0 or exponent(users, [size.seconds for size in found]) <= LINEAR


def test_weeks_beyond_the_horizon_leave_nothing_behind() -> None:
    half, whole = (measure(100, 3, weeks) for weeks in (16, 32))
    assert whole.events == 2 * half.events
    assert whole.checkpoint_bytes <= 1.02 * half.checkpoint_bytes
