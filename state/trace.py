"""What the log of a partition tells of single events, and of the directory as it was told.

Owns the replay of a log for the question "what became of this event?". Invariant: an event is known by its id without
its org's salt and by its time, so it is found again in another system, and under another org.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from state.activity import Bundle, Correction, Member, Org, Record, Rows, Tick, origin_of, rows_of
from state.intake import Intake, Taken
from state.limits import Limits

ACCEPTED, DUPLICATE, LATE = "accepted", "duplicate", "late"

Key = tuple[int, int]
"""Hash of an event's id (64 bits, no org's salt) and its time (ms)."""


class Event(NamedTuple):
    """One event as a shard was told of it."""

    org: str
    user: str
    """Empty = the org itself."""
    measure: str
    time_ms: int
    source: str
    """Topic, without prefix."""
    outcome: str


class Trace:
    """Reads one partition's log and keeps the events of some orgs within some time."""

    def __init__(
        self, orgs: Collection[str], limits: Limits, salt_of: Callable[[str], int], from_ms: int, until_ms: int
    ) -> None:
        """Begin; events are kept from *from_ms* until before *until_ms*."""
        self.events: dict[Key, Event] = {}
        self.members: dict[tuple[str, str], list[tuple[int, Member]]] = {}
        """By org and user: when it was told (ms), and what."""
        self.orgs: dict[str, list[tuple[int, Org]]] = {}
        self.corrected: set[str] = set()
        """Orgs of which something was corrected (see `state.mending`)."""
        self._wanted, self._salt_of = set(orgs), salt_of
        self._from_ms, self._until_ms = from_ms, until_ms
        self._intake = Intake(limits)

    def take(self, record: Record, stamp_ms: int) -> None:
        """Take in the next record, which came at *stamp_ms*."""
        match record:
            case Rows() | Bundle():
                for taken in self._intake.take(rows_of(record)):
                    self._keep(taken)
            case Tick():
                self._intake.pass_time(record)
            case Member() if record.org in self._wanted:
                self.members.setdefault((record.org, record.user), []).append((stamp_ms, record))
            case Org() if record.org in self._wanted:
                self.orgs.setdefault(record.org, []).append((stamp_ms, record))
            case Correction():
                self._intake.correct(record)
                self.corrected.add(record.org)

    def _keep(self, taken: Taken) -> None:
        rows, columns, on_time, new = taken
        origins = [origin_of(subject)[:2] for subject in rows.subjects]
        wanted = np.array([org in self._wanted for org, _ in origins], bool)[columns.subject]
        here = wanted & (columns.time_ms >= self._from_ms) & (columns.time_ms < self._until_ms)
        for at in np.flatnonzero(here).tolist():
            org, user = origins[int(columns.subject[at])]
            time_ms, measure = int(columns.time_ms[at]), rows.measures[int(columns.measure[at])]
            outcome = ACCEPTED if new[at] else DUPLICATE if on_time[at] else LATE
            key = (int(columns.id[at]) ^ self._salt_of(org), time_ms)
            known = self.events.get(key)
            if known is None or (known.outcome != ACCEPTED and outcome == ACCEPTED):
                self.events[key] = Event(org, user, measure, time_ms, rows.topic, outcome)
