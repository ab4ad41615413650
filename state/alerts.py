"""Which orgs fell, by their own doing, and when that ended: episodes of alerts.

Owns the episodes and what people noted of them. Invariants: one episode of an org at a time, raised once and
resolved once; an org falls only by what its users did otherwise or who they are (see `state.change`), never by new
cut points or another model; while input is missing or a backlog is worked off, nothing is raised or resolved.

    below the edge      score < at_risk − h, and without its own change it would not be
    fall                own change ≤ −max(fall_points, fall_mads × MAD of its last weeks)
    both                at two hourly evaluations in a row
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from state.activity import Note
from state.alert_rules import HELD_MISSING
from state.change import MEMBERSHIP, OWN
from state.effects import Alert
from state.health import Model
from state.inflow import Inflow
from state.org_scores import NONE
from state.score_telling import org_scores, split_of
from state.scoreboard import Scoreboard
from state.subjects import GONE, Subjects
from state.week import HOUR_MS, iso_time

RAISED, RESOLVED = "raised", "resolved"
EDGE, FALL = "below_threshold", "fall"
IN_A_ROW = 2
"""Hourly evaluations that must say the same."""
FEWEST_ORGS = 3
"""Orgs with a score that a partition needs, for a silent input to be told from silent orgs."""
BACKLOG = "backlog"
_SETTLED_HOURS = 28 * 24


class Episode(msgspec.Struct, array_like=True):
    """One fall of one org; times are event time in ms."""

    kind: str
    rule: str
    since_ms: int
    origin: int
    """Score at the last week's close before it, basis points."""
    needed: int
    """The fall that was needed, basis points."""
    until_ms: int = 0
    acknowledged_by: str = ""


class Alerts:
    """Episodes of the orgs of one partition, by their number."""

    def __init__(self, model: Model, board: Scoreboard, subjects: Subjects) -> None:
        self._model, self._board, self._subjects = model, board, subjects
        self._rules = model.alerts
        self.inflow = Inflow()
        self.episodes: dict[int, Episode] = {}
        self.held: list[str] = []
        """Why nothing is raised: names of sources that are missing, or BACKLOG."""
        self._muted: dict[int, int] = {}  # until (ms)
        self._turns: dict[int, int] = {}  # evaluations in a row that would raise or resolve
        self._hour = -1

    def note(self, note: Note, number: int) -> list[Alert]:
        """Take over what somebody said of the org *number*; return what is to be told."""
        if note.muted_until_ms is not None:
            self._muted[number] = note.muted_until_ms
        if note.episode is not None:
            self._take_over(number, note.episode)
            return []
        found = self.episodes.get(number)
        if note.acknowledged_by and found is not None and found.kind == RAISED:
            found.acknowledged_by = note.acknowledged_by
        return [self.document(number)] if found is not None else []

    def evaluate(self, now_ms: int, *, catching_up: bool) -> list[Alert]:
        """Look at every org once an hour of event time, and return what was raised and resolved."""
        self.inflow.advance(now_ms // HOUR_MS)
        if now_ms // HOUR_MS == self._hour:
            return []
        self._hour = now_ms // HOUR_MS
        self.held = self._reasons_to_hold(catching_up)
        if self.held:
            self._turns.clear()
            return []
        said = []
        turns: dict[int, int] = {}
        for number in sorted({*self._low().tolist(), *self._open()}):
            turn = self._turn(number, now_ms, self._turns.get(number, 0) + 1)
            if isinstance(turn, Alert):
                said.append(turn)
            elif turn:
                turns[number] = turn
        self._turns = turns
        return said

    def documents(self) -> list[Alert]:
        """Return what is to be said of every org that ever had an episode."""
        return [self.document(number) for number in sorted(self.episodes)]

    def document(self, number: int, *, told: bool = False) -> Alert:
        """Return what is to be said of an org's last episode; *told* with its causes, as of now."""
        entry, found = self._subjects.orgs[number], self.episodes[number]
        at_ms = found.until_ms or found.since_ms
        causes = next(org_scores(self._board, np.array([number]), at_ms)) if told else None
        return Alert(
            entry.name, entry.title, found.kind, found.rule, fingerprint(entry.name, found.since_ms), found.since_ms,
            found.until_ms, found.origin, self._score(number), found.acknowledged_by,
            self._muted.get(number, 0), causes, found.needed,
        )  # fmt: skip

    @property
    def open_count(self) -> int:
        """How many episodes are open."""
        return len(self._open())

    def open_since(self, number: int) -> int:
        """Return since when (ms) an org's episode is open; 0 = none is."""
        found = self.episodes.get(number)
        return found.since_ms if found is not None and found.kind == RAISED else 0

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        episodes = [[number, msgspec.to_builtins(found)] for number, found in sorted(self.episodes.items())]
        pending = [self._hour, self.held, sorted(self._turns.items()), sorted(self._muted.items())]
        return {"episodes": episodes, "pending": pending, **self.inflow.segments()}

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned; a version before this one wrote nothing."""
        if "pending" in segments:
            self.episodes = {number: msgspec.convert(found, Episode) for number, found in segments["episodes"]}
            self._hour, self.held, turns, muted = segments["pending"]
            self._turns, self._muted = dict(turns), dict(muted)
        self.inflow.restore(segments)

    def _take_over(self, number: int, told: list[Any]) -> None:
        """Let what was *told* before a rebuild stand for what was computed anew: nobody is told twice."""
        self.episodes.pop(number, None)
        self._turns.pop(number, None)
        if told:
            self.episodes[number] = msgspec.convert(told, Episode)
        self._board.tell_org(number)

    def _open(self) -> list[int]:
        return [number for number, found in self.episodes.items() if found.kind == RAISED]

    def _reasons_to_hold(self, catching_up: bool) -> list[str]:
        found = [BACKLOG] if catching_up else []
        orgs = len(self._subjects.orgs)
        if int((self._board.org_previous[:orgs] != NONE).sum()) >= FEWEST_ORGS:
            found += self.inflow.interrupted(HELD_MISSING)
        return found

    def _low(self) -> Any:
        """Return the orgs that can have fallen, without a closer look."""
        orgs = len(self._subjects.orgs)
        score = np.maximum(self._board.org_score[:orgs, 0].astype(np.int64), 0)
        previous = self._board.org_previous[:orgs].astype(np.int64)
        low = score < self._edge(-1)
        fallen = previous - score >= self._rules.fall_points
        return np.flatnonzero((previous != NONE) & (low | fallen))

    def _score(self, number: int) -> int:
        """Return an org's present score; one that fell silent altogether has 0."""
        return max(0, int(self._board.org_score[number, 0]))

    def _edge(self, side: int) -> int:
        return self._model.bands.at_risk + side * self._model.bands.hysteresis

    def _turn(self, number: int, now_ms: int, turns: int) -> Alert | int:
        """Return what is said of an org, or how many evaluations in a row would say it."""
        if self.open_since(number):
            if not self._has_ended(number, now_ms):
                return 0
            if turns < IN_A_ROW:
                return turns
            self.episodes[number].kind, self.episodes[number].until_ms = RESOLVED, now_ms
        else:
            if self._muted.get(number, 0) > now_ms or self._is_cooling(number, now_ms):
                return 0
            rule, needed = self._look(number)
            if not rule or turns < IN_A_ROW:
                return turns if rule else 0
            origin = int(self._board.org_previous[number])
            self.episodes[number] = Episode(RAISED, rule, now_ms, origin, needed)
        self._board.tell_org(number)
        return self.document(number, told=True)

    def _is_cooling(self, number: int, now_ms: int) -> bool:
        found = self.episodes.get(number)
        return found is not None and now_ms < found.until_ms + self._rules.cooldown_hours * HOUR_MS

    def _has_ended(self, number: int, now_ms: int) -> bool:
        """Say whether an open episode is over: recovered, or its fall has become the org's usual level."""
        found = self.episodes[number]
        score = self._score(number)
        if found.rule == EDGE:
            return score >= self._edge(1)
        recovered = score >= found.origin - found.needed // 2
        settled = now_ms - found.since_ms >= _SETTLED_HOURS * HOUR_MS
        return score >= self._edge(0) and (recovered or settled)

    def _look(self, number: int) -> tuple[str, int]:
        """Look closely at an org that is low or has fallen; return the rule (empty = none) and the fall it needed."""
        score = self._score(number)
        split = split_of(self._board, number)
        own = split[OWN] + split[MEMBERSHIP] if split is not None else score - int(self._board.org_previous[number])
        weeks = self._board.past(np.array([self._subjects.orgs[number].slot]))[0][0]
        weeks = weeks[weeks >= 0]
        needed = self._rules.fall_points
        if len(weeks) >= 3:
            spread = np.median(np.abs(weeks * 2 - 2 * int(np.median(weeks))))
            needed = max(needed, self._rules.fall_mads * int(spread) // 2)
        if own >= 0 or len(weeks) < self._rules.min_weeks or not self._is_covered(number):
            return "", needed
        if score < self._edge(-1) <= score - own:
            return EDGE, needed
        return FALL if -own >= needed else "", needed

    def _is_covered(self, number: int) -> bool:
        """Say whether enough of the model had data over the org's active users, and somebody is still a member."""
        users = self._subjects.members_of(np.array([number]))[0]
        if (self._subjects.membership[users] == GONE).all():
            return False
        active = users[self._board.are_counted(users)]
        return not len(active) or int(self._board.coverage[active].mean()) >= self._rules.min_coverage


def fingerprint(org: str, since_ms: int) -> str:
    """Return what names one episode.

    >>> fingerprint("acme", 1_709_557_200_000)
    'score_drop/acme/2024-03-04T13:00:00Z'
    """
    return f"score_drop/{org}/{iso_time(since_ms)}"
