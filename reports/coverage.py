"""Who answers when: hours in which messages wait too long, and which hours to staff first.

Owns business hours, gaps and suggestions. A message is *late* if its first reply came after the target or never; how
long it waited for the first reply is beyond any target if there is none. Invariant: late messages add up over hours.

**A staffed hour** answers, within any time t, at least the share that the best covered hours together do, and at least
as many as it does now. The best covered hours are the quarter of the hours with enough messages that have the greatest
share within the target; what they never answer, a staffed hour doesn't answer either. Hours that are all alike differ
too, by luck, and the best of them only look better: of the gain just that share is expected which luck doesn't explain
(`Answers.lasting`).

**The choice is exact.** An hour with D messages, W of them within the target, has D − W late ones now; if it is staffed
they become fewer by its gain g = b · max(0, D·s − W), with s the best hours' share and b the share of gains that lasts,
whatever else is staffed. So a set S leaves late(now) − Σ g over S. Were another set of k hours better than the k with
the greatest gains, swapping one of its hours that is not among those for one of those that it lacks would not make it
worse; after at most k swaps it is that very set. A gain is never below zero, so more hours never leave more late; and a
staffed hour's answers are nowhere slower, so no quantile of the week gets longer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.answers import Answers, Staffed, needed
from state.week import WEEK_HOURS, WEEKDAYS, cell_name
from state.week_grid import Longs, WeekGrid

MIN_EVENTS = 20
"""Messages below which nothing is said of an hour by itself."""
BEST_SHARE = 0.25
"""The share of the hours with enough messages that count as the best covered ones."""
_HOURS = re.compile(r"([a-z]+)(?:-([a-z]+))? +(\d{1,2})-(\d{1,2})")
_HINT = "write mon-fri 09-17, sat 10-12"

Hours = NDArray[np.bool_]


class HoursError(ValueError):
    """They are no business hours."""


def parse_hours(text: str) -> Hours:
    """Return which hours of the week (shape (168,), Monday 00:00 first) the business hours *text* holds.

    Days may run over Sunday and hours over midnight; hours after midnight belong to the day they begin on.

    Raises:
        HoursError: If *text* holds none.

    >>> [cell_name(hour) for hour in np.flatnonzero(parse_hours("mon 9-11, sun 23-01")).tolist()]
    ['mon-00', 'mon-09', 'mon-10', 'sun-23']
    """
    found = np.zeros(WEEK_HOURS, np.bool_)
    for part in text.lower().split(","):
        days, start, hours = _part(part.strip())
        for day in days:
            found[(day * 24 + start + np.arange(hours)) % WEEK_HOURS] = True
    return found


def _part(part: str) -> tuple[list[int], int, int]:
    """Return the days of one part of business hours, the hour it begins at, and how many hours it is long."""
    if not part:
        raise HoursError(f"a part of the business hours is empty: {_HINT}")
    match = _HOURS.fullmatch(part)
    if not match:
        raise HoursError(f"{part!r} is not days and whole hours: {_HINT}")
    first, last = (_weekday(name, part) for name in (match[1], match[2] or match[1]))
    start, stop = int(match[3]), int(match[4])
    if start > 23 or stop > 24:
        raise HoursError(f"{part!r} has an hour that no day has: hours begin at 00 to 23 and end at 00 to 24")
    if start == stop:
        raise HoursError(f"{part!r} ends when it begins: a whole day is 00-24")
    days = [(first + step) % 7 for step in range((last - first) % 7 + 1)]
    return days, start, (stop - start) % 24 or 24


def _weekday(name: str, part: str) -> int:
    if name not in WEEKDAYS:
        raise HoursError(f"{name!r} in {part!r} is no weekday: they are {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(name)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the messages of some hours."""

    events: int
    answered: int
    within: int
    """First replies within the target."""

    @property
    def late(self) -> int:
        """Return how many messages waited beyond the target, or still wait."""
        return self.events - self.within


@dataclass(frozen=True, slots=True)
class Gap:
    """An hour in which fewer than *quantile* of the messages were answered within the target."""

    hour: int
    name: str
    is_open: bool | None
    """Whether it is a business hour; None = no business hours were given."""
    tally: Tally
    answered_share: float
    within_share: float
    quantile_ms: float
    """Within this the *quantile* of its messages were answered; infinite = fewer ever were."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Gaps of a week, most late messages first, and what became of all messages."""

    rows: list[Gap]
    week: Tally
    inside: Tally
    """Business hours; all hours if none were given."""
    outside: Tally


def gaps(
    grid: WeekGrid,
    *,
    target_ms: int,
    open_hours: Hours | None = None,
    quantile: float = 0.8,
    min_events: int = MIN_EVENTS,
) -> Gaps:
    """Return the hours of at least *min_events* messages that miss the target, most late ones first.

    An hour misses it if fewer than *quantile* (0–1) of its messages are answered within *target_ms*.

    >>> grid = WeekGrid.of(np.zeros(6, int), np.ones(6, bool), np.arange(6) * 60_000, np.eye(1, 168)[0] * 10)
    >>> found = gaps(grid, target_ms=120_000, quantile=0.5, min_events=1).rows[0]
    >>> found.name, found.tally.late, found.answered_share, found.within_share, found.quantile_ms
    ('mon-00', 7, 0.6, 0.3, 240000.0)
    """
    answers = Answers.of(grid)
    within = answers.within(target_ms)
    short = within < needed(answers.events, quantile)
    hours = np.flatnonzero(short & (answers.events >= max(min_events, 1))).tolist()
    ranked = sorted(hours, key=lambda hour: (within[hour] - answers.events[hour], hour))
    quantiles = answers.quantiles_ms(quantile)
    rows = []
    for hour in ranked:
        tally = Tally(int(answers.events[hour]), int(answers.answered[hour]), int(within[hour]))
        is_open = None if open_hours is None else bool(open_hours[hour])
        shares = tally.answered / tally.events, tally.within / tally.events
        rows.append(Gap(hour, cell_name(hour), is_open, tally, *shares, float(quantiles[hour])))
    inside = np.ones(WEEK_HOURS, np.bool_) if open_hours is None else open_hours
    return Gaps(rows, *(_tally(answers, within, where) for where in (np.ones_like(inside), inside, ~inside)))


def _tally(answers: Answers, within: Longs, where: Hours) -> Tally:
    return Tally(*(int(counts[where].sum()) for counts in (answers.events, answers.answered, within)))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a week's messages have to expect."""

    late: float
    within_share: float
    """NaN = no messages."""
    quantile_ms: float
    """Within this the *quantile* of all messages are answered; infinite = fewer ever are; NaN = no messages."""


@dataclass(frozen=True, slots=True)
class Pick:
    """An hour to staff: its messages, how many are late now, and how many fewer then."""

    hour: int
    name: str
    events: int
    late: int
    gain: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Hours to staff, the greatest gain first, and the whole week before and after."""

    picks: list[Pick]
    before: Outlook
    after: Outlook
    best: list[int]
    """The best covered hours, whose answers are expected of staffed ones."""
    lasting: float
    """Which share of the differences between hours is not luck (0–1)."""


def suggest(
    grid: WeekGrid,
    k: int,
    *,
    target_ms: int,
    quantile: float = 0.8,
    min_events: int = MIN_EVENTS,
    allowed: Hours | None = None,
) -> Suggestion:
    """Return up to *k* hours (of *allowed* ones) that leave the fewest messages late if staffed; all cost the same.

    Fewer are returned where no further hour gains anything, none where no hour has *min_events* messages.

    Raises:
        ValueError: If *k* is below zero.
    """
    if k < 0:
        raise ValueError(f"{k} hours can't be staffed")
    answers = Answers.of(grid)
    within = answers.within(target_ms)
    best = _best_covered(answers.events, within, min_events)
    lasting = answers.lasting(target_ms)
    everywhere = np.ones(WEEK_HOURS, np.bool_) if allowed is None else allowed
    gains = Staffed(answers, best, everywhere, lasting).within(target_ms) - within
    chosen = [hour for hour in np.argsort(-gains, kind="stable")[:k].tolist() if gains[hour] > 0]
    picks = [
        Pick(h, cell_name(h), int(answers.events[h]), int(answers.events[h] - within[h]), float(gains[h]))
        for h in chosen
    ]
    nobody, staffed = np.zeros((2, WEEK_HOURS), np.bool_)
    staffed[chosen] = True
    before, after = (
        _outlook(Staffed(answers, best, where, lasting), target_ms, quantile) for where in (nobody, staffed)
    )
    return Suggestion(picks, before, after, best, lasting)


def _outlook(staffed: Staffed, target_ms: int, quantile: float) -> Outlook:
    events, within = int(staffed.answers.events.sum()), float(staffed.within(target_ms).sum())
    return Outlook(events - within, within / events if events else math.nan, staffed.quantile_ms(quantile))


def _best_covered(events: Longs, within: Longs, min_events: int) -> list[int]:
    """Return the best quarter of the hours with enough messages (at least one), by their share within the target."""
    enough = np.flatnonzero(events >= max(min_events, 1)).tolist()
    ranked = sorted(enough, key=lambda hour: (-within[hour] / events[hour], -events[hour], hour))
    return sorted(ranked[: math.ceil(len(enough) * BEST_SHARE)])
