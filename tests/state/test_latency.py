"""Hour-of-week latency, by month and cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.arrays import decode, encode
from state.latency import Latency
from state.telling import cells_of, latency_map
from state.week import cell_name, hour_of_week, month_of
from tests.state.worlds import DAY, HOUR, at, examples

T0 = at("2024-03-04T09:30")
ZONES = ("UTC", "Asia/Kolkata", "Europe/Berlin")
pairs = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 70 * DAY // 1000), st.integers(0, 60 * HOUR), st.booleans()),
    max_size=40,
)


def latency_of(found: list[tuple[str, int, int, bool]], zone: str = "UTC") -> Latency:
    latency = Latency()
    for org, seconds, wait_ms, first in found:
        latency.add_message(org, zone, T0 + seconds * 1000)
        latency.add_reply(org, zone, T0 + seconds * 1000, wait_ms, first=first)
    return latency


@examples(60)
@given(pairs, st.sampled_from(ZONES), st.sampled_from([0.5, 0.8]))
def test_each_cell_is_the_quantile_of_its_replies(found: list, zone: str, quantile: float) -> None:
    latency = latency_of(found, zone)
    for org in "ab":
        by_hour: dict[int, list[tuple[int, bool]]] = {}
        for o, seconds, wait, first in found:
            if o == org:
                by_hour.setdefault(hour_of_week(T0 + seconds * 1000, zone), []).append((wait, first))
        cells = cells_of(latency.grid(org), quantile)
        assert set(cells) == set(by_hour)
        for hour, waits in by_hour.items():
            value, replies, messages, answered = cells[hour]
            assert value == pytest.approx(np.quantile([w for w, _ in waits], quantile))
            assert (replies, messages, answered) == (len(waits), len(waits), sum(f for _, f in waits))


@examples(40)
@given(pairs)
def test_months_add_up_to_their_period_and_orgs_to_the_whole(found: list) -> None:
    latency = latency_of(found)
    first = month_of(T0, "UTC")
    whole = cells_of(latency.overall(None), 0.8)
    assert whole == cells_of(latency.overall(range(first, first + 4)), 0.8)
    replies = [
        sum(cell.latencies.count for cell in latency.grid(org, range(month, month + 1)).values())
        for org in "ab"
        for month in range(first, first + 4)
    ]
    assert sum(replies) == len(found) == sum(cell[1] for cell in whole.values())


def test_a_reply_counts_in_the_month_and_hour_of_its_parent() -> None:
    # Sunday 31 March 23:30 ──── 50 h ────► Wednesday 3 April
    asked = at("2024-03-31T23:30")
    latency = Latency()
    latency.add_reply("a", "UTC", asked, 50 * HOUR, first=True)
    march = month_of(asked, "UTC")
    (hour,) = latency.grid("a", range(march, march + 1))
    assert cell_name(hour) == "sun-23"
    assert latency.grid("a", range(march + 1, march + 2)) == {}
    found = latency_map(latency, "a", "UTC", range(march, march + 1), 0.8)
    assert (found.period, found.cells) == ("2024-03/2024-03", {hour: (50 * HOUR, 1, 0, 1)})


def test_reading_a_grid_changes_nothing() -> None:
    latency = latency_of([("a", 0, 5, True), ("a", 32 * 86_400, 7, True)])
    before = encode(latency.segments())
    latency.overall(None)
    latency.grid("a")
    latency.grid("nobody")
    assert encode(latency.segments()) == before


@examples(40)
@given(pairs)
def test_a_restored_grid_is_the_same(found: list) -> None:
    latency, again = latency_of(found), Latency()
    again.restore(decode(encode(latency.segments())))
    assert encode(again.segments()) == encode(latency.segments())
    assert cells_of(again.overall(None), 0.8) == cells_of(latency.overall(None), 0.8)
