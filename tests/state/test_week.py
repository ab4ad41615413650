"""Hours, weeks and hours of the week against the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.week import (
    HOUR_MS,
    UnknownZoneError,
    cell_name,
    hour_of_week,
    iso_time,
    local_ms,
    local_ms_array,
    monday_of,
    month_of,
    week_end_ms,
    week_label,
    week_of,
    zone_of,
)
from tests.state.worlds import WEEK, at, examples

ZONES = sorted(z for z in available_timezones() if z not in ("localtime", "Factory"))
TIMES = st.integers(at("2000-01-01"), at("2037-12-31"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local(time_ms: int, zone: str) -> datetime:
    """Return the wall clock by the standard library."""
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone))


@examples(300)
@given(TIMES, st.sampled_from(ZONES))
def test_any_instant_of_any_zone_reads_as_the_standard_library_reads_it(time_ms: int, zone: str) -> None:
    clock = local(time_ms, zone)
    assert hour_of_week(time_ms, zone) == clock.weekday() * 24 + clock.hour
    year, week, _ = clock.isocalendar()
    assert week_label(week_of(time_ms, zone)) == f"{year}-W{week:02d}"
    assert month_of(time_ms, zone) == clock.year * 12 + clock.month - 1
    assert local_ms(time_ms, zone) - time_ms == clock.utcoffset() / timedelta(milliseconds=1)


@examples(300)
@given(TIMES, st.sampled_from(ZONES))
def test_a_week_ends_where_the_next_begins(time_ms: int, zone: str) -> None:
    week = week_of(time_ms, zone)
    end = week_end_ms(week, zone)
    assert week_end_ms(week - 1, zone) <= time_ms < end
    assert (week_of(end - 1, zone), week_of(end, zone)) == (week, week + 1)


@examples(60)
@given(st.lists(TIMES, max_size=30), st.sampled_from(ZONES))
def test_many_instants_read_like_each_alone(times: list[int], zone: str) -> None:
    found = local_ms_array(np.array(times, np.int64), zone)
    assert found.tolist() == [local_ms(t, zone) for t in times]


def test_an_event_on_the_boundary_belongs_to_the_week_it_opens() -> None:
    #      2024-W01             2024-W02
    # ───────────────────┤├───────────────────
    #     Sun 23:59:59.999  Mon 00:00:00.000
    monday = at("2024-01-08")
    assert week_label(week_of(monday - 1, "UTC")) == "2024-W01"
    assert week_label(week_of(monday, "UTC")) == "2024-W02"


@pytest.mark.parametrize("year", range(2000, 2040))
def test_weeks_around_new_year_are_named_like_the_iso_calendar_names_them(year: int) -> None:
    for day in range(-8, 9):
        moment = datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
        iso = moment.isocalendar()
        week = week_of(at(moment.isoformat()), "UTC")
        assert week_label(week) == f"{iso.year}-W{iso.week:02d}"
        assert monday_of(week) == (moment - timedelta(days=moment.weekday())).date()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", "2024-03-27", 168),
        ("Europe/Berlin", "2024-03-27", 167),  # clocks are put on on Sunday the 31st
        ("Europe/Berlin", "2024-10-23", 169),  # and back on Sunday the 27th
        ("America/New_York", "2024-03-06", 167),
        ("America/New_York", "2024-10-30", 169),
        ("Australia/Lord_Howe", "2024-10-02", 167.5),  # half an hour of daylight saving
        ("Australia/Lord_Howe", "2024-04-03", 168.5),
        ("Asia/Tehran", "2021-03-18", 168),  # put on at Monday 00:00, so the week after is short
        ("Asia/Tehran", "2021-03-24", 167),
        ("Asia/Kolkata", "2024-03-27", 168),
    ],
)
def test_a_week_has_as_many_hours_as_its_clocks_leave_it(zone: str, day: str, hours: float) -> None:
    week = week_of(at(day), zone)
    assert week_end_ms(week, zone) - week_end_ms(week - 1, zone) == hours * HOUR_MS


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
@pytest.mark.parametrize("day", ["2024-03-06", "2024-03-27", "2024-04-03", "2024-10-02", "2024-10-23", "2024-10-30"])
def test_weeks_with_a_change_of_clocks_lose_and_duplicate_nothing(zone: str, day: str) -> None:
    # Every ten minutes of three weeks: each falls in exactly one week, and weeks never go back.
    middle = week_of(at(day), zone)
    start, end = week_end_ms(middle - 2, zone), week_end_ms(middle + 1, zone)
    weeks = [week_of(t, zone) for t in range(start, end, 600_000)]
    assert weeks == sorted(weeks)
    lengths = [week_end_ms(w, zone) - week_end_ms(w - 1, zone) for w in (middle - 1, middle, middle + 1)]
    assert [weeks.count(w) for w in (middle - 1, middle, middle + 1)] == [n // 600_000 for n in lengths]


def test_the_hour_that_comes_twice_counts_in_its_cell_twice() -> None:
    # Berlin, 2024-10-27:  02:30 CEST ──── 02:30 CET
    first, second = at("2024-10-27T00:30"), at("2024-10-27T01:30")
    assert cell_name(hour_of_week(first, "Europe/Berlin")) == "sun-02"
    assert cell_name(hour_of_week(second, "Europe/Berlin")) == "sun-02"


def test_a_half_hour_zone_turns_its_week_at_half_past() -> None:
    # Kolkata is 5:30 ahead: its Monday opens on Sunday 18:30 UTC.
    turn = at("2024-01-07T18:30")
    assert week_label(week_of(turn - 1, "Asia/Kolkata")) == "2024-W01"
    assert week_label(week_of(turn, "Asia/Kolkata")) == "2024-W02"
    assert week_of(turn, "UTC") == week_of(turn, "Asia/Kolkata") - 1


def test_times_before_1970_are_counted_on() -> None:
    assert week_of(-WEEK, "UTC") == week_of(0, "UTC") - 1
    assert hour_of_week(-1, "UTC") == 71


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "/etc/passwd", "Europe", "a\x00b", "x" * 300])
def test_a_name_that_is_no_zone_is_told_as_such(name: str) -> None:
    with pytest.raises(UnknownZoneError, match="no such time zone"):
        zone_of(name)


def test_an_instant_is_written_in_utc() -> None:
    assert iso_time(at("2024-02-29T23:59:59")) == "2024-02-29T23:59:59Z"
