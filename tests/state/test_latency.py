"""Hour-of-week latency of orgs: lines, months, and all orgs together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.arrays import decode, encode
from state.latency import OTHER_PLACES, Latency
from state.lines import OverallLines
from state.telling import cells_of, latency_map
from state.week import cell_name, hour_of_week, month_of
from state.week_grid import WeekGrid
from tests.state.worlds import DAY, HOUR, at, examples

T0 = at("2024-03-04T09:30")
ZONES = ("UTC", "Asia/Kolkata", "Europe/Berlin")
PLACES = ("", "#help", "#chat")
Found = list[tuple[str, int, int, bool, str]]
pairs = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 70 * DAY // 1000),
        st.integers(0, 60 * HOUR),
        st.booleans(),
        st.sampled_from(PLACES),
    ),
    max_size=40,
)


def latency_of(found: Found, weight: int = 1, latency: Latency | None = None) -> Latency:
    latency = latency or Latency()
    for org, seconds, wait_ms, first, place in found:
        latency.add_message(org, place, T0 + seconds * 1000, weight)
        latency.add_reply(org, place, T0 + seconds * 1000, wait_ms, first=first, weight=weight)
    return latency


def overall(latency: Latency, zones: dict[str, str]) -> OverallLines:
    told = latency.take_overall(zones)
    return OverallLines({m: {line: WeekGrid.load(raw) for line, raw in lines.items()} for m, lines in told.items()})


@examples(60)
@given(pairs, st.sampled_from(ZONES), st.sampled_from([0.5, 0.8]))
def test_each_cell_is_the_quantile_of_its_replies(found: Found, zone: str, quantile: float) -> None:
    latency = latency_of(found)
    for org in "ab":
        by_hour: dict[int, list[tuple[int, bool]]] = {}
        for o, seconds, wait, first, _ in found:
            if o == org:
                by_hour.setdefault(hour_of_week(T0 + seconds * 1000, zone), []).append((wait, first))
        cells, whole = cells_of(latency.grid(org, zone), quantile, 4 * HOUR)
        assert set(cells) == set(by_hour)
        for hour, waits in by_hour.items():
            firsts = [w for w, first in waits if first]
            value, replies, messages, answered, of_firsts, within = cells[hour]
            assert value == pytest.approx(np.quantile([w for w, _ in waits], quantile))
            assert of_firsts == (pytest.approx(np.quantile(firsts, quantile)) if firsts else None)
            assert (replies, messages, answered) == (len(waits), len(waits), len(firsts))
            assert within == sum(w <= 4 * HOUR for w in firsts)
        assert whole[1] == sum(map(len, by_hour.values()))


@examples(60)
@given(pairs, st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_months_and_channels_add_up_and_orgs_to_the_whole(found: Found, zone: str, other: str) -> None:
    latency = latency_of(found)
    first = month_of(T0 - 2 * DAY, "UTC")
    months = range(first, first + 6)
    zones = {"a": zone, "b": other}
    lines = overall(latency, zones)
    every = WeekGrid.merged(latency.grid(org, zones[org]) for org in "ab")
    assert lines.grid("replies", months) == every
    for org in "ab":
        parts = [latency.grid(org, zone, range(m, m + 1), line) for m in months for line in latency.lines(org)]
        assert WeekGrid.merged(parts) == latency.grid(org, zone)
    assert latency.take_overall(zones) == {}


@examples(40)
@given(pairs, pairs, st.sampled_from(ZONES))
def test_the_whole_told_in_parts_is_the_whole(found: Found, more: Found, zone: str) -> None:
    zones, latency = {"a": zone}, latency_of(found)
    told = dict(overall(latency, zones).months)
    told |= overall(latency_of(more, latency=latency), zones).months
    assert told == overall(latency_of(found + more), zones).months
    assert all(told.values())


def test_a_reply_counts_in_the_month_and_hour_of_its_parent() -> None:
    # Sunday 31 March 23:30 ──── 50 h ────► Wednesday 3 April
    asked = at("2024-03-31T23:30")
    latency = Latency()
    latency.add_reply("a", "", asked, 50 * HOUR, first=True)
    march = month_of(asked, "UTC")
    found = latency_map(latency, "a", "UTC", range(march, march + 1), 0.8, HOUR)
    ((hour, cell),) = found.cells.items()
    assert cell_name(hour) == "sun-23"
    assert latency.grid("a", "UTC", range(march + 1, march + 2)).is_empty
    assert (found.period, cell, found.months) == ("2024-03/2024-03", (50 * HOUR, 1, 0, 1, 50 * HOUR, 0), ["2024-03"])


def test_a_month_is_told_alike_whatever_came_first() -> None:
    # bob's reply is the first until cat's earlier one comes, or it is not
    late, early = Latency(), Latency()
    late.add_reply("a", "", T0, 2 * HOUR, first=True)
    late.add_reply("a", "", T0, 2 * HOUR, first=True, weight=-1)
    for latency in (late, early):
        latency.add_reply("a", "", T0, 2 * HOUR, first=False)
        latency.add_reply("a", "", T0, HOUR, first=True)
    assert late.month("a", month_of(T0, "UTC")) == early.month("a", month_of(T0, "UTC"))


def test_channels_beyond_the_limit_share_a_line() -> None:
    latency = Latency(max_lines=2)
    for n in range(5):
        latency.add_message("a", f"#{n}", T0)
    latency.line("a", "measure/order").add_event(T0)
    assert latency.lines("a") == ["measure/order", "replies/#0", "replies/#1", OTHER_PLACES]
    assert latency.grid("a", "UTC").events.sum() == 5


def test_what_is_beyond_the_months_kept_is_forgotten_everywhere() -> None:
    latency = latency_of([("a", 0, 5, True, ""), ("a", 65 * 86_400, 7, True, ""), ("b", 0, 9, True, "")])
    zones, march = {"a": "UTC", "b": "UTC"}, month_of(T0, "UTC")
    overall(latency, zones)
    latency.drop_before(march + 1)
    assert (latency.orgs(), latency.months("a")) == (["a"], [march + 2])
    assert latency.take_untold() == {"a": [march, march + 2], "b": [march]}  # what is gone has to go elsewhere too
    assert latency.month("a", march) == latency.month("b", march) == {}
    assert overall(latency, zones).months[march] == {}


def test_reading_changes_nothing_but_what_is_told() -> None:
    latency = latency_of([("a", 0, 5, True, ""), ("a", 32 * 86_400, 7, True, "#help")])
    assert latency.take_untold() == {"a": [month_of(T0, "UTC"), month_of(T0, "UTC") + 1]}
    before = encode(latency.segments())
    latency.grid("a", "Asia/Kolkata")
    latency.grid("nobody", "UTC")
    latency.month("a", month_of(T0, "UTC"))
    assert encode(latency.segments()) == before and latency.take_untold() == {}


@examples(40)
@given(pairs, pairs)
def test_what_is_taken_back_leaves_no_trace_and_a_restored_one_is_the_same(found: Found, more: Found) -> None:
    latency, again = latency_of(more, -1, latency_of(found + more)), Latency()
    for org in "ab":
        assert latency.grid(org, "UTC") == latency_of(found).grid(org, "UTC")
    again.restore(decode(encode(latency.segments())))
    assert encode(again.segments()) == encode(latency.segments())
