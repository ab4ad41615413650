"""Calendar weeks for the recount: in which one something happened, by the wall clock of its org.

Owns the recount's own Mondays. Invariant: everything lies in exactly one week, which begins on its Monday at 00:00 in
the org's zone.

A week's hours are counted back from its end; the 169th holds what is beyond it (where clocks change by more than an
hour).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from reports.recount_score import HOURS

_HOUR_MS = 3_600_000
_UTC = "UTC"


def placed(happened: pd.DataFrame, zones: Mapping[str, str]) -> pd.DataFrame:
    """Return what happened with its Monday, ISO week, the week's end (ms) and its hour there (the last is HOURS)."""
    parts = []
    for org, own in happened.groupby("org"):
        zone = zones.get(str(org), _UTC)
        monday = mondays(own["time_ms"], zone)
        ends = {day: _instant_ms(day.to_pydatetime() + timedelta(days=7), zone) for day in monday.unique()}
        labels = {day: "{}-W{:02d}".format(*day.isocalendar()[:2]) for day in monday.unique()}
        end_ms = monday.map(ends).astype("int64")
        back = ((end_ms - 1 - own["time_ms"]) // _HOUR_MS).clip(upper=HOURS)
        parts.append(own.assign(monday=monday, week=monday.map(labels), end_ms=end_ms, hour=HOURS - back))
    return pd.concat(parts) if parts else happened.assign(monday=pd.Timestamp(0), week="", end_ms=0)


def mondays(times_ms: pd.Series, zone: str) -> pd.Series:
    """Return the Monday, without a zone, of the week in *zone* that each of *times_ms* lies in."""
    local = pd.to_datetime(times_ms, unit="ms", utc=True).dt.tz_convert(zone).dt.tz_localize(None)
    found: pd.Series = local.dt.normalize() - pd.to_timedelta(local.dt.day_of_week, unit="D")
    return found


def _instant_ms(midnight: datetime, zone: str) -> int:
    return int(midnight.replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000
