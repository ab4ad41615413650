"""Hours, calendar weeks and hours of the week, as integers.

Owns the arithmetic between an event's time (milliseconds since 1970, UTC) and
the three units in which it counts: the UTC hour, the calendar week (Monday
00:00 in the org's zone) and the hour of the week (0 = Monday 00h … 167 =
Sunday 23h, in the org's zone). Invariant: every instant belongs to exactly one
hour, one week and one hour of the week, also when clocks are put on or back.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_HOURS = 168
QUARTER_MS = 900_000
_DAY_QUARTERS = 96
_MONDAY_SHIFT_DAYS = 3  # 1970-01-01 was a Thursday
_FIRST_MONDAY = date(1969, 12, 29)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class UnknownZoneError(ValueError):
    """The name is not an IANA time zone."""


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """Return the zone of an IANA *name*.

    Raises:
        UnknownZoneError: If there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UnknownZoneError(f"no such time zone: {name!r}") from error


@lru_cache(maxsize=1 << 14)
def _offset_of_quarter(zone: str, quarter: int) -> int:
    """Return the zone's offset in ms; zones only change at whole quarters of an hour."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=quarter * QUARTER_MS)
    offset = moment.astimezone(zone_of(zone)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1000


def local_ms(time_ms: int, zone: str) -> int:
    """Return the wall-clock reading of *time_ms* in *zone*, as if it were UTC (ms).

    >>> local_ms(0, "Asia/Kolkata") // 60_000
    330
    """
    if zone == "UTC":
        return time_ms
    return time_ms + _offset_of_quarter(zone, time_ms // QUARTER_MS)


def local_ms_array(times_ms: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return `local_ms` of each element of *times_ms* (shape n), two look-ups per distinct day."""
    if zone == "UTC" or not len(times_ms):
        return times_ms
    days, where = np.unique(times_ms // DAY_MS, return_inverse=True)
    first, last = (
        np.array([_offset_of_quarter(zone, int(quarter)) for quarter in days * _DAY_QUARTERS + at], np.int64)
        for at in (0, _DAY_QUARTERS - 1)
    )
    found = times_ms + first[where]
    turning = np.flatnonzero((first != last)[where])  # clocks are put on or back on these days
    for at in turning.tolist():
        found[at] = local_ms(int(times_ms[at]), zone)
    return found


def hour_of_week(time_ms: int, zone: str) -> int:
    """Return the hour of the week, 0 … 167, in *zone*.

    >>> hour_of_week(0, "UTC")  # Thursday 00h
    72
    """
    return (local_ms(time_ms, zone) // HOUR_MS + 24 * _MONDAY_SHIFT_DAYS) % WEEK_HOURS


def hours_of_week(times_ms: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return `hour_of_week` of each element of *times_ms* (shape n)."""
    return (local_ms_array(times_ms, zone) // HOUR_MS + 24 * _MONDAY_SHIFT_DAYS) % WEEK_HOURS


def week_of(time_ms: int, zone: str) -> int:
    """Return the number of the calendar week (weeks since Monday 1969-12-29) in *zone*.

    An event on the boundary belongs to the week it opens.

    >>> week_label(week_of(1704672000000, "UTC"))  # Monday 2024-01-08T00:00Z
    '2024-W02'
    """
    return (local_ms(time_ms, zone) // DAY_MS + _MONDAY_SHIFT_DAYS) // 7


def monday_of(week: int) -> date:
    """Return the Monday that opens *week*."""
    return _FIRST_MONDAY + timedelta(days=7 * week)


def week_of_day(day: date) -> int:
    """Return the number of the calendar week that *day* belongs to."""
    return (day - _FIRST_MONDAY).days // 7


def week_label(week: int) -> str:
    """Return the ISO name of *week*, such as `2024-W02`."""
    year, number, _ = monday_of(week).isocalendar()
    return f"{year}-W{number:02d}"


def week_number(label: str) -> int:
    """Return the week that `week_label` gave its name.

    Raises:
        ValueError: If *label* is no ISO week.

    >>> week_label(week_number("2026-W53"))
    '2026-W53'
    """
    year, week = label.split("-W")
    found = week_of_day(date.fromisocalendar(int(year), int(week), 1))
    if week_label(found) != f"{year}-W{week:0>2}":
        raise ValueError(f"{label!r} is no ISO week")
    return found


@lru_cache(maxsize=1 << 14)
def week_end_ms(week: int, zone: str) -> int:
    """Return the instant (ms, UTC) at which *week* ends in *zone*."""
    monday = monday_of(week + 1)
    local = datetime(monday.year, monday.month, monday.day, tzinfo=zone_of(zone))
    return int(local.timestamp()) * 1000


def month_of(time_ms: int, zone: str) -> int:
    """Return the calendar month in *zone* as year × 12 + (month − 1).

    >>> month_of(0, "UTC") == 1970 * 12
    True
    """
    return _month_of_day(local_ms(time_ms, zone) // DAY_MS)


@lru_cache(maxsize=1 << 12)
def month_start_ms(month: int, zone: str) -> int:
    """Return the instant (ms, UTC) at which *month* begins in *zone*.

    >>> month_start_ms(1970 * 12, "UTC")
    0
    """
    local = datetime(month // 12, month % 12 + 1, 1, tzinfo=zone_of(zone))
    return int(local.timestamp()) * 1000


@lru_cache(maxsize=1 << 12)
def _month_of_day(day: int) -> int:
    """Return the month of a day since 1970."""
    found = date(1970, 1, 1) + timedelta(days=day)
    return found.year * 12 + found.month - 1


def cell_name(hour: int) -> str:
    """Return the name of an hour of the week.

    >>> cell_name(0), cell_name(167)
    ('mon-00', 'sun-23')
    """
    return f"{WEEKDAYS[hour // 24]}-{hour % 24:02d}"


@lru_cache(maxsize=256)
def iso_time(time_ms: int) -> str:
    """Return *time_ms* as ISO 8601 in UTC, to the second."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
