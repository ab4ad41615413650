"""What each side of a comparison tells, and the causes that differences may have.

Owns the causes' names and meanings, and the shape of what was seen. Invariant: values only; nothing is read here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from state.activity import Calibration, Member, Org
from state.health import Model
from state.trace import ACCEPTED, Event, Key
from state.week import week_label, week_of

LATE_EVENTS, REFUSED, DIRECTORY, DELETED = "late", "refused", "directory", "deleted"
MISSING_HERE, MISSING_THERE, ZONE = "missing here", "missing there", "time zone"
MODEL, CUT_POINTS, PROVISIONAL = "model", "cut points", "provisional"
FORGOTTEN, UNEXPLAINED = "no longer known", "unexplained"

MEANINGS = {
    LATE_EVENTS: "events came after the week could still be restated: refused there, counted here",
    REFUSED: "one side refused the messages (dead letters)",
    DIRECTORY: "the directory says something else by now: who belongs where, who has a licence",
    DELETED: "the user is gone from the directory",
    MISSING_HERE: "messages that were counted then were not in what the backfill read",
    MISSING_THERE: "messages that the live system never had",
    ZONE: "the org's week begins at another time",
    MODEL: "another health model",
    CUT_POINTS: "other cut points",
    PROVISIONAL: "one side's week is not over",
    FORGOTTEN: "what the live system counted is no longer in its log",
    UNEXPLAINED: "nothing that was looked at explains it",
}
"""Cause → what it means, in the order in which they are told."""


@dataclass(slots=True)
class Side:
    """What one side's logs tell."""

    events: Mapping[Key, Event] = field(default_factory=dict)
    letters: Mapping[Key, str] = field(default_factory=dict)
    """Event → why it is a dead letter."""
    waiting: AbstractSet[Key] = field(default_factory=frozenset)
    """Events that were parked: the directory did not know whose they are."""
    members: Mapping[tuple[str, str], Sequence[tuple[int, Member]]] = field(default_factory=dict)
    """By org and user: when the shard was told (ms), and what; ascending."""
    orgs: Mapping[str, Sequence[tuple[int, Org]]] = field(default_factory=dict)
    users: AbstractSet[str] = field(default_factory=frozenset)
    """Who is in the directory."""
    cuts: Mapping[int, Calibration] = field(default_factory=dict)
    """By generation, as far as they are known."""
    known_from_ms: int = 0
    """Events before may be gone from the log."""
    corrected: AbstractSet[str] = field(default_factory=frozenset)
    """Orgs in which something was corrected."""
    model: Model | None = None
    former_model_until_ms: int = 0
    """Weeks that ended up to then were closed by an earlier model, of which nothing is known; 0 = none were."""

    def zone(self, org: str) -> str:
        """Return the org's time zone as it was told last."""
        told = self.orgs.get(org)
        return (told[-1][1].timezone if told else "") or "UTC"


@dataclass(slots=True)
class Explained:
    """What was found besides the rows' own causes."""

    rows: Counter[str] = field(default_factory=Counter)
    """Cause → rows that it is a cause of."""
    events: Counter[str] = field(default_factory=Counter)
    """Cause → events behind it."""
    days: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(Missing here or there, source, day of the event in UTC) → events."""


def events_by_week(side: Side) -> dict[tuple[str, str, str], dict[Key, Event]]:
    """Return accepted events by org, user and week of the org's zone; user empty = everything of the org."""
    found: dict[tuple[str, str, str], dict[Key, Event]] = defaultdict(dict)
    for key, event in side.events.items():
        if event.outcome == ACCEPTED:
            week = week_label(week_of(event.time_ms, side.zone(event.org)))
            found[event.org, event.user, week][key] = event
            found[event.org, "", week][key] = event
    return found
