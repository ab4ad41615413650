"""Lines of an org, by channel and measure, and of all orgs, put together from months."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.lines import LOCAL, MEASURE, REPLIES, Lines, OverallLines, ZoneError, is_part_of, line_of_place
from state.periods import months_of
from state.waits import Waits
from state.week_grid import WeekGrid
from tests.state.worlds import at, examples

PLACES = ["", "#help", "#dev", "sales/emea", "ü"]
ORDERS = MEASURE + "order"
Message = tuple[str, int, int]  # place, asked, wait
MESSAGES = st.lists(
    st.tuples(st.sampled_from(PLACES), st.integers(at("2024-01-30"), at("2024-05-02")), st.integers(0, 10**9)),
    max_size=30,
)
ALL_MONTHS = months_of("2023-12/2024-06")


def lines_of(messages: list[Message], zone: str = "Asia/Kathmandu") -> Lines:
    lines: dict[str, Waits] = {}
    for place, asked, wait in messages:
        waits = lines.setdefault(line_of_place(place), Waits())
        waits.add_event(asked)
        waits.add_wait(asked, wait, first=True)
    return Lines("acme", zone, lines)


@examples(60)
@given(MESSAGES, st.sampled_from(["", "UTC", "America/St_Johns"]))
def test_lines_of_replies_add_up_to_the_org(messages: list[Message], zone: str) -> None:
    found, whole = lines_of(messages), lines_of([("", asked, wait) for _, asked, wait in messages])
    assert found.grid(REPLIES, ALL_MONTHS, zone) == whole.grid(REPLIES, ALL_MONTHS, zone)
    parts = [found.grid(name, ALL_MONTHS, zone) for name in found.names()]
    assert WeekGrid.merged(parts) == found.grid(REPLIES, ALL_MONTHS, zone)
    assert found.grid(REPLIES, ALL_MONTHS, zone).replies.sum() == len(messages)


@examples(60)
@given(MESSAGES, st.sampled_from(["", "UTC", "America/New_York", "Pacific/Chatham"]), st.integers(0, 99))
def test_told_by_months_of_utc_any_zone_reads_like_the_whole(messages: list[Message], zone: str, seed: int) -> None:
    whole, told = lines_of(messages), dict[str, Waits]()
    for name, waits in whole.lines.items():
        months = waits.months("UTC")
        for month in random.Random(seed).sample(months, len(months)):
            told.setdefault(name, Waits()).merge(Waits.load(waits.slice("UTC", range(month, month + 1)).dump()))
    for period in ("2024-02", "2024-Q1", "2024"):
        again = Lines("acme", whole.zone, told).grid(REPLIES, months_of(period), zone)
        assert again == whole.grid(REPLIES, months_of(period), zone)


@examples(60)
@given(st.lists(st.tuples(MESSAGES, st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"])), max_size=4))
def test_all_orgs_together_are_the_sum_of_each_in_its_own_zone(orgs: list[tuple[list[Message], str]]) -> None:
    all_lines = [lines_of(messages, zone) for messages, zone in orgs]
    months: dict[int, dict[str, WeekGrid]] = {}
    for month in ALL_MONTHS:
        names = {name for lines in all_lines for name in lines.names()}
        here = {n: WeekGrid.merged(ls.grid(n, range(month, month + 1)) for ls in all_lines) for n in names}
        months[month] = {name: grid for name, grid in here.items() if not grid.is_empty}
    overall = OverallLines(months)
    for period in (months_of("2024-02"), months_of("2024-02/2024-04"), ALL_MONTHS):
        expected = WeekGrid.merged(lines.grid(REPLIES, period) for lines in all_lines)
        assert overall.grid(REPLIES, period) == overall.grid(REPLIES, period, LOCAL) == expected
    assert overall.names() == sorted({line_of_place(place) for messages, _ in orgs for place, _, _ in messages})


def test_a_measure_is_no_part_of_the_replies() -> None:
    lines = dict(lines_of([("#help", at("2024-02-01"), 5), ("", at("2024-02-01"), 6)]).lines)
    lines[ORDERS] = Waits()
    lines[ORDERS].add_event(at("2024-02-01"))
    found = Lines("acme", "UTC", lines)
    assert found.names() == [ORDERS, "replies/", "replies/#help"]
    assert found.grid(REPLIES, ALL_MONTHS).events.sum() == 2
    assert found.grid(ORDERS, ALL_MONTHS).events.sum() == found.grid("replies/", ALL_MONTHS).events.sum() == 1


@pytest.mark.parametrize(
    ("line", "wanted", "is_part"),
    [
        ("replies/", "replies", True), ("replies/#help", "replies", True), ("replies/a/b", "replies", True),
        ("replies/a/b", "replies/a", False), ("replies/#help", "replies/", False), ("repliesx", "replies", False),
        ("measure/replies", "replies", False), ("measure/order", "measure/order", True),
    ],
)  # fmt: skip
def test_what_is_part_of_what(line: str, wanted: str, is_part: bool) -> None:
    assert is_part_of(line, wanted) == is_part


def test_what_nobody_told_of_is_an_empty_week() -> None:
    assert Lines("acme", "UTC", {}).grid(REPLIES, ALL_MONTHS) == WeekGrid.empty()
    assert OverallLines({}).grid(REPLIES, ALL_MONTHS) == WeekGrid.empty() and OverallLines({}).names() == []
    assert lines_of([("#help", at("2024-02-01"), 5)]).grid("replies/#dev", ALL_MONTHS).is_empty


def test_all_orgs_together_have_no_zone_but_each_orgs_own() -> None:
    with pytest.raises(ZoneError, match="own zone"):
        OverallLines({}).grid(REPLIES, ALL_MONTHS, "UTC")
