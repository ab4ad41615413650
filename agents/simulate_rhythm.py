"""Owns when things happen in the simulation: weeks that rise and fade, office hours, slow nights and weekends.

Invariant: every time that is drawn lies inside the history, whose weeks are rolling ones that end at `end`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from agents.simulate_base import Base, Floats, Ints, generator

WEEK_SECONDS = 604_800.0
_MONDAY = 345_600  # 1970-01-05, the first Monday since the epoch
_SLIPPING_START, _SLIPPING_BEFORE_LAST, _SLIPPING_LAST = 1.2, 0.25, 0.02


def hour_weights(office: float) -> Floats:
    """Return the 168 relative weights of a local week (Monday first); *office* is a weekday's share in office hours."""
    night, day = np.full(24, 0.05), np.zeros(24)
    day[8:18] = (0.6, 1.0, 1.2, 1.2, 0.8, 0.9, 1.1, 1.1, 1.0, 0.7)
    evening = np.zeros(24)
    evening[18:23] = 0.25
    weekday = night + evening + day * office
    weekend = night + evening * 0.6 + (day > 0) * 0.12
    return np.concatenate([np.tile(weekday, 5), np.tile(weekend, 2)])


_OFFICE_CUMULATIVE = np.cumsum(hour_weights(1.0)) / hour_weights(1.0).sum()


@dataclass(frozen=True)
class Rhythm:
    """The weeks of one history: `weeks` rolling weeks ending at `end` (epoch seconds)."""

    base: Base
    end: float
    weeks: int
    offsets: Floats
    """Seconds east of UTC by org and week (clock changes included)."""
    trend: Floats
    """Factor by org and week."""

    @property
    def start(self) -> float:
        """Return the beginning of the history, in epoch seconds."""
        return self.end - self.weeks * WEEK_SECONDS

    def draw_weeks(self, rng: np.random.Generator, total: float, weights: Floats, orgs: Ints) -> tuple[Ints, Ints]:
        """Return (who, week) of about *total* happenings: who by *weights*, more in weeks in which the org does more.

        Args:
            rng: Where chance comes from.
            total: Expected number over all weeks.
            weights: Relative weight by who and week.
            orgs: The org of each who.
        """
        rate = weights * self.trend[orgs]
        counts = rng.poisson(rate * (total / rate.sum()))
        who = np.repeat(np.arange(len(orgs)), counts.sum(axis=1))
        week = np.repeat(np.tile(np.arange(self.weeks), len(orgs)), counts.ravel())
        return who, week

    def draw_times(self, rng: np.random.Generator, orgs: Ints, week: Ints) -> Floats:
        """Return epoch seconds (whole milliseconds) at the org's office hours in the given rolling weeks."""
        hour = np.searchsorted(_OFFICE_CUMULATIVE, rng.random(len(orgs)), side="right").clip(0, 167)
        local = (hour + rng.random(len(orgs))) * 3600.0
        begin = self.start + week * WEEK_SECONDS
        times = begin + (local - self.offsets[orgs, week] + _MONDAY - begin) % WEEK_SECONDS
        return np.floor(times * 1000.0) / 1000.0

    def local_hour_of_week(self, orgs: Ints, times: Floats) -> Ints:
        """Return 0 (Monday 00:00) to 167 in the org's zone."""
        week = ((times - self.start) // WEEK_SECONDS).astype(np.int64).clip(0, self.weeks - 1)
        local = (times + self.offsets[orgs, week] - _MONDAY) % WEEK_SECONDS
        return np.asarray(local // 3600.0, dtype=np.int64)


def make_rhythm(base: Base, end: float, weeks: int) -> Rhythm:
    """Return the rhythm of a history of *weeks* rolling weeks that ends at *end* (epoch seconds)."""
    middles = [end - (weeks - week - 0.5) * WEEK_SECONDS for week in range(weeks)]
    names = {org.timezone for org in base.orgs}
    zones = {zone: [_offset(zone, middle) for middle in middles] for zone in names}
    offsets = np.array([zones[org.timezone] for org in base.orgs])
    return Rhythm(base, end, weeks, offsets, _trend(base, weeks))


def _offset(zone: str, time: float) -> float:
    offset = datetime.fromtimestamp(time, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _trend(base: Base, weeks: int) -> Floats:
    """Return the factor by org and week: most wander, some grow, some decline, one slips away."""
    rng = generator(base.seed, 2)
    count = len(base.orgs)
    kind = rng.random(count)
    slope = np.where(kind < 0.06, 0.85, np.where(kind < 0.16, 1.12, 1.0))
    trend = slope[:, None] ** np.arange(weeks) * rng.lognormal(0.0, 0.15, (count, weeks))
    fading = np.linspace(_SLIPPING_START, _SLIPPING_BEFORE_LAST, max(weeks - 1, 1))
    trend[base.slipping] = [*fading[: weeks - 1], _SLIPPING_LAST]
    return np.asarray(trend, dtype=np.float64)


def reply_latency_seconds(rng: np.random.Generator, hour_of_week: Ints) -> Floats:
    """Return how long an answer takes to a message written at that local hour: minutes by day, hours at night."""
    medians = np.full(168, 12 * 60.0)
    for hour in range(168):
        day, of_day = divmod(hour, 24)
        if day >= 5:
            medians[hour] = 14 * 3600.0
        elif of_day < 7 or of_day >= 22:
            medians[hour] = 6 * 3600.0
        elif of_day < 9 or of_day >= 17:
            medians[hour] = 3600.0
    return np.asarray(medians[hour_of_week] * rng.lognormal(0.0, 0.9, len(hour_of_week)), dtype=np.float64)


def iso_times(times: Floats) -> list[str]:
    """Return epoch seconds as ISO 8601 in UTC with milliseconds.

    >>> iso_times(np.array([1.5]))
    ['1970-01-01T00:00:01.500Z']
    """
    return [f"{text}Z" for text in np.datetime_as_string(milliseconds(times).astype("datetime64[ms]")).tolist()]


def milliseconds(times: Floats) -> NDArray[np.int64]:
    """Return epoch seconds as whole epoch milliseconds."""
    return np.rint(times * 1000.0).astype(np.int64)
