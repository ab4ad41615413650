"""How far back must be read to get some weeks right, and how late events may be meanwhile.

    ├── ids ──┤── replies ──┤── carried ──┤ first week … last week │ late events, later statuses … up to now
    read from                                                        read to the end

A week is scored from itself (`state.closing`), so the rolling week before it plays no part. But
- an attribute that carries looks at the four closed weeks before (only if the model has one);
- a reply counts in the week it was written in, and may answer a message of up to `latency.reply_horizon_days` before;
  so may the replies of weeks that are carried;
- an id that came before is a duplicate for as long as events may be late (`time.allowed_lateness_hours`).
What came in after the last week may be about it (late events, a transaction that is taken back), so all of it is read.

Owns that sum. Invariant: a message that is left out came in when no event of any of these spans can have happened yet:
events are at most `time.max_ahead_seconds` ahead of their arrival.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from agents.workers_aside import MOST_LATENESS_HOURS, lateness_aside
from state.carry import CARRY_WEEKS
from state.health import Model
from state.week import DAY_MS, HOUR_MS, WEEK_HOURS, week_end_ms, week_label, week_number, week_of
from streams.errors import OperatorError
from streams.settings import Settings

_WEST, _EAST = "Etc/GMT+12", "Etc/GMT-14"
"""The zones in which a week ends last, and begins first."""


class ReachError(OperatorError):
    """These weeks can't be computed."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What is read for weeks *first* to *last* (numbers, both inclusive)."""

    first: int
    last: int
    begins_ms: int
    """When the first week begins in the first of all zones."""
    ends_ms: int
    """When the last week has ended in all zones, or now."""
    needed_ms: int
    """The oldest event that matters; 0 = all of them may."""
    lateness_hours: int

    @property
    def labels(self) -> tuple[str, str]:
        """The first and the last week by name."""
        return week_label(self.first), week_label(self.last)


def weeks_between(first: str, last: str, now_ms: int) -> tuple[int, int]:
    """Return two ISO weeks as numbers.

    Raises:
        ReachError: If they are none, the wrong way round, or lie ahead.
    """
    found = []
    for text in (first, last):
        try:
            found.append(week_number(text.strip()))
        except (ValueError, TypeError) as error:
            raise ReachError(f'"{text}" is no ISO week', "Write it as 2026-W40.") from error
    if found[0] > found[1]:
        raise ReachError(f"{first} is after {last}", "Let --from come before --to.")
    if found[1] > week_of(now_ms, _EAST):
        raise ReachError(f"{last} has not begun", f"The running week is {week_label(week_of(now_ms, 'UTC'))}.")
    return found[0], found[1]


def history_hours(model: Model, settings: Settings) -> int:
    """Return how much of what happened before the first week plays a part in it."""
    carried = CARRY_WEEKS * WEEK_HOURS if any(a.missing == "carry" for a in model.attributes) else 0
    return carried + settings.latency.reply_horizon_days * 24 + settings.time.allowed_lateness_hours


def reach_of(first: int, last: int, model: Model, settings: Settings, now_ms: int) -> Reach:
    """Return what must be read for weeks *first* to *last*.

    Raises:
        ReachError: If they lie further back than events may be late.
    """
    begins_ms = week_end_ms(first - 1, _EAST)
    ends_ms = min(now_ms, week_end_ms(last, _WEST))
    needed_ms = begins_ms - history_hours(model, settings) * HOUR_MS
    back_hours = math.ceil((now_ms + settings.time.max_ahead_seconds * 1000 - needed_ms) / HOUR_MS)
    lateness = lateness_aside(settings, back_hours)
    if now_ms - begins_ms > MOST_LATENESS_HOURS * HOUR_MS:
        raise ReachError(
            f"{week_label(first)} is more than {MOST_LATENESS_HOURS // WEEK_HOURS} weeks ago",
            "Events can't be that late, and sources are read side by side. Take later weeks.",
        )
    return Reach(first, last, begins_ms, ends_ms, max(0, needed_ms), lateness)


def arrived_from_ms(reach: Reach, settings: Settings) -> int:
    """Return since when messages must have arrived to matter; 0 = all may."""
    return max(0, reach.needed_ms - settings.time.max_ahead_seconds * 1000 - DAY_MS)
