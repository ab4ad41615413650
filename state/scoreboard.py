"""Scores of all users and orgs of one partition, now and at the last week's close.

Owns the evaluation: which users to score anew, their orgs, what changed, and
whose documents are out of date (`score_telling` spells them). Invariant: the board always equals the model applied
to the rolling week at the last evaluation; documents leave only for subjects
whose document would differ from the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.activity import Calibration
from state.arrays import BLOCK, distinct, grown, packed, unpacked
from state.effects import OrgScore, UserScore
from state.health import BAND_NAMES, Mask, Matrix, Model
from state.kinds import attribute_values
from state.org_activity import OrgActivity
from state.org_scores import NONE, org_figures
from state.peers import (
    CutPoints,
    Places,
    Weeks,
    are_renamed,
    group_names,
    orgs_left_out,
    peer_groups,
    score_among_peers,
)
from state.ring import RollingWeek, Slots
from state.score_telling import org_scores, user_scores
from state.scoring import Whole, bands_of
from state.subjects import GONE, Subjects
from state.trend import NO_TREND, WEEKS
from state.week import WEEK_HOURS

_ARRAYS = (
    "score", "previous", "coverage", "parts", "former_parts", "band", "said_band", "since", "stale", "dirty",
    "drift", "reloaded", "regrouped", "peer_group",
)  # fmt: skip
_ORG_ARRAYS = (
    "org_score", "org_previous", "org_parts", "org_former_parts", "org_band", "org_said_band",
    "org_active", "org_licensed", "org_activities",
)  # fmt: skip


def _no_past(slots: Slots) -> tuple[Matrix, Matrix]:
    return np.full((len(slots), WEEKS), NONE, np.int64), np.full(len(slots), NO_TREND, np.int64)


class Scoreboard:
    """Current and former scores by slot; orgs by their number."""

    def __init__(self, model: Model, week: RollingWeek, subjects: Subjects) -> None:
        self.model, self.week, self.subjects = model, week, subjects
        width = len(model.attributes)
        self._activity = OrgActivity(week, subjects)
        self.cut_points = CutPoints(0, model.default_cuts())
        self.score = np.zeros(0, np.int16)
        self.previous = np.zeros(0, np.int16)
        self.coverage = np.zeros(0, np.int16)
        self.parts = np.zeros((0, width), np.int16)
        self.former_parts = np.zeros((0, width), np.int16)
        self.band = np.zeros(0, np.int8)
        self.said_band = np.zeros(0, np.int8)
        self.since = np.zeros(0, np.int32)  # hour of the first activity
        self.stale = np.zeros(0, bool)  # its document is out of date
        self.dirty = np.zeros(0, bool)  # its score may be out of date
        self.drift = np.zeros(0, np.int16)  # what new cut points changed since the last close
        self.reloaded = np.zeros(0, np.int16)  # what another model changed since then
        self.regrouped = np.zeros(0, np.int16)  # what another peer group changed since then
        self.peer_group = np.zeros(0, np.int16)  # in which the user was scored last
        self._former_cuts: CutPoints | None = None  # before those that nobody was scored by yet
        self.past: Callable[[Slots], tuple[Matrix, Matrix]] = _no_past
        """Closing scores of the last weeks by slot and their trends, shapes (n, weeks) and (n,); whoever keeps them
        sets it."""
        self.carried: Callable[[Slots, Matrix, Mask], tuple[Matrix, Mask]] = lambda _, values, known: (values, known)
        """Values of slots and where there was data → values with what is carried, and where something stands; whoever
        keeps closed weeks sets it."""
        self.alert_since: Callable[[int], int] = lambda _: 0
        """Since when (ms) an episode of alerts of an org is open, 0 = none; whoever keeps them sets it."""
        self.org_score = np.zeros((0, 3), np.int16)  # active, licensed, median
        self.org_previous = np.zeros(0, np.int16)
        self.org_parts = np.zeros((0, width), np.int16)
        self.org_former_parts = np.zeros((0, width), np.int16)
        self.org_band = np.zeros(0, np.int8)
        self.org_said_band = np.zeros(0, np.int8)
        self.org_active = np.zeros(0, np.int32)  # users
        self.org_licensed = np.zeros(0, np.int32)
        self.org_activities = np.zeros(0, np.int64)
        self._stale_orgs: set[int] = set()
        self._restless_orgs: set[int] = set()  # their figures may be out of date though no user's score is

    def grow(self) -> None:
        """Make room for every subject there is. New subjects have no score, band or past."""
        users, orgs = len(self.subjects), len(self.subjects.orgs)
        for names, rows in ((_ARRAYS, users), (_ORG_ARRAYS, orgs)):
            for name in names:
                old = getattr(self, name)
                if rows <= len(old):
                    continue
                new = grown(old, rows)
                if name.endswith(("previous", "band", "since", "org_score", "peer_group")):
                    new[len(old) :] = NONE
                setattr(self, name, new)
        self._activity.grow()

    def touch(self, slots: Slots, hours: Slots) -> None:
        """Note activity of *slots* in *hours* (both of shape n); late activity may be older than the first known."""
        self.dirty[slots] = True
        since = self.since[slots]
        older = (since < 0) | (hours < since)
        if older.any():
            # Ascending by -hour, so that the earliest hour is written last.
            order = np.argsort(-hours[older], kind="stable")
            self.since[slots[older][order]] = hours[older][order]
            self.stale[slots[older]] = True

    def begin(self, slot: int, hour: int, known_from: int) -> bool:
        """Set the hour of a user's first activity (−1 = none), unless it lies before *known_from*.

        Says whether that leaves nothing of somebody who had a document.
        """
        former = int(self.since[slot])
        if max(former, hour) < 0 or 0 <= former < known_from:
            return False
        self.since[slot] = hour
        self.stale[slot] = True
        if hour >= 0:
            return False
        self._reset(slot)
        return True

    def _reset(self, slot: int) -> None:
        """Let *slot* have no score and no past."""
        self.score[slot] = self.parts[slot] = self.coverage[slot] = self.drift[slot] = self.reloaded[slot] = 0
        self.regrouped[slot], self.peer_group[slot] = 0, NONE
        self.former_parts[slot] = 0
        self.previous[slot] = self.band[slot] = self.said_band[slot] = NONE
        self._activity.forget(slot)
        self.touch_org(int(self.subjects.org_of[slot]))

    def forget(self, slot: int) -> None:
        """Let *slot* never have been scored."""
        self.since[slot] = NONE
        self._reset(slot)
        self.stale[slot] = self.dirty[slot] = False

    def age(self, former_hour: int, hour: int) -> None:
        """Note whose first week ended between two hours: their documents say so."""
        self.stale |= (self.since > former_hour - WEEK_HOURS) & (self.since <= hour - WEEK_HOURS)

    def tell_org(self, number: int) -> None:
        """Note that an org's document is out of date."""
        self._stale_orgs.add(number)

    def touch_org(self, number: int) -> None:
        """Note that an org's membership or description changed."""
        self._restless_orgs.add(number)

    @property
    def calibration(self) -> int:
        """Generation of the cut points in use."""
        return self.cut_points.generation

    def learn(self, record: Calibration) -> None:
        """Take over cut points of the model's attributes, if they are newer: everybody's score may have changed."""
        if record.generation > self.calibration:
            if self._former_cuts is None:
                self._former_cuts = self.cut_points
            self.cut_points = self.cut_points.after(record, self.model)
            self.touch_all()

    def label(self, group: int) -> str:
        """Return what documents call the cut points of a peer group (its number)."""
        return self.cut_points.label(group_names(self.model, self.subjects)[group])

    def touch_all(self) -> None:
        """Note that everybody's score may have changed: an hour passed or cut points are new."""
        self.dirty[: len(self.subjects)] = True

    def evaluate(self, *, orgs: bool = True) -> None:
        """Bring scores of touched users up to date, and (with *orgs*) those of all orgs touched since last time."""
        n = len(self.subjects)
        everyone = np.flatnonzero(self.dirty[:n])
        self.dirty[everyone] = False
        users = everyone[self.subjects.is_user[everyone]]
        self._activity.count(users)
        # Who was never active has nothing to score; who no longer is falls to zero.
        seen = users[self.since[users] >= 0]
        groups, names = peer_groups(self.model, self.subjects, seen), group_names(self.model, self.subjects)
        for at in range(0, len(seen), BLOCK):
            rows = slice(at, at + BLOCK)
            self._score(seen[rows], groups[rows], names)
        self._note_peers(seen, groups)
        self._restless_orgs.update(distinct(self.subjects.org_of[everyone]).tolist())
        if orgs:
            self._score_orgs(np.array(sorted(self._restless_orgs), np.int64))
            self._restless_orgs = set()

    def _score(self, slots: Slots, groups: Slots, names: Sequence[str]) -> None:
        """Score the users *slots* among the peers of *groups* (both of shape n), whose *names* are these."""
        counted = self.are_counted(slots)
        active, idle = slots[counted], slots[~counted]
        nothing = np.zeros(len(idle), np.int64)
        self._store(idle, nothing, np.zeros((len(idle), self.parts.shape[1]), np.int16), nothing)
        values, known = self.values_of(active)
        weeks = Weeks(*self.carried(active, values, known), known)
        ranked_in = Places(groups[counted], self.peer_group[active].astype(np.int64), names)
        scores, drift, regrouped = score_among_peers(self.model, weeks, ranked_in, self.cut_points, self._former_cuts)
        self._note(self.drift, active, drift)
        self._note(self.regrouped, active, regrouped)
        self._store(active, scores.score, scores.contributions, scores.coverage)

    def _note(self, sums: NDArray[np.int16], slots: Slots, moved: Matrix) -> None:
        """Add to *sums* what one cause alone changed of the scores of *slots*, basis points of shape (n,)."""
        limit = np.iinfo(np.int16).max
        sums[slots] = np.clip(sums[slots] + moved, -limit, limit)
        self.stale[slots[moved != 0]] = True

    def _note_peers(self, slots: Slots, groups: Slots) -> None:
        """Note in which peer groups *slots* were scored; whose cut points are called otherwise has another document."""
        former, names = self._former_cuts or self.cut_points, group_names(self.model, self.subjects)
        other = (self.peer_group[slots] != groups) | are_renamed(groups, names, former, self.cut_points)
        self.stale[slots[other]] = True
        self.peer_group[slots], self._former_cuts = groups, None

    def population(self) -> Slots:
        """Return the slots of the users that deciles are counted of: the active ones, but of orgs that are left out."""
        users = np.flatnonzero(self.subjects.is_user[: len(self.subjects)])
        users = users[self.are_counted(users)]
        return users[~orgs_left_out(self.model, self.subjects)[self.subjects.org_of[users]]]

    def values_of(self, users: Slots) -> tuple[Matrix, Mask]:
        """Return attribute values and known-mask of *users*, both of shape (n, A)."""
        return attribute_values(self.model, self.week, users, self._activity.of_org_of(users))

    def take_stale(self, window_end_ms: int) -> Iterator[UserScore | OrgScore]:
        """Yield the documents that are out of date, and count them as said."""
        n = len(self.subjects)
        slots = np.flatnonzero(self.stale[:n] & self.have_documents())
        self.stale[:n] = False
        yield from user_scores(self, slots, window_end_ms)
        self.said_band[slots] = self.band[slots]
        numbers = np.array(sorted(self._stale_orgs), np.int64)
        yield from org_scores(self, numbers, window_end_ms)
        self.org_said_band[numbers] = self.org_band[numbers]
        self._stale_orgs.clear()

    def have_documents(self) -> NDArray[np.bool_]:
        """Return which slots have a document: those of users who ever did or got something."""
        n = len(self.subjects)
        return np.asarray(self.subjects.is_user[:n] & (self.since[:n] >= 0))

    def pieces(self, size: int, window_end_ms: Callable[[], int]) -> Iterator[list[UserScore | OrgScore]]:
        """Yield every current document, *size* at a time, each piece as of when it is asked for."""
        users = np.flatnonzero(self.have_documents())
        for at in range(0, len(users), size):
            yield list(user_scores(self, users[at : at + size], window_end_ms()))
        for at in range(0, len(self.subjects.orgs), size):
            numbers = np.arange(at, min(at + size, len(self.subjects.orgs)))
            yield list(org_scores(self, numbers, window_end_ms()))

    def are_counted(self, slots: Slots) -> NDArray[np.bool_]:
        """Return which users count: those active within the rolling week and not gone."""
        return np.asarray(self.week.are_active(slots) & (self.subjects.membership[slots] != GONE))

    def bands(self) -> dict[str, int]:
        """Return how many users of the population are in each band."""
        bands = self.band[self.population()]
        return {name: int((bands == i).sum()) for i, name in enumerate(BAND_NAMES)}

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        users, orgs = len(self.subjects), len(self.subjects.orgs)
        found: dict[str, Any] = {f"user/{name}": packed(getattr(self, name)[:users]) for name in _ARRAYS}
        found |= {f"org/{name}": packed(getattr(self, name)[:orgs]) for name in _ORG_ARRAYS}
        cuts, former = self.cut_points, self._former_cuts
        found["calibration"] = [
            cuts.generation, cuts.everybody, sorted(self._stale_orgs), sorted(self._restless_orgs)
        ]  # fmt: skip
        found["attributes"] = [a.name for a in self.model.attributes]
        found["model"] = self.model.digest
        found["former-cuts"] = None if former is None else former.everybody
        found["peers"] = [cuts.by_group, None if former is None else [former.generation, former.by_group]]
        return found

    def restore(self, segments: dict[str, Any]) -> bool:
        """Take over what `segments` returned; with another model, scores start anew. Return whether it is another."""
        self.grow()
        generation, cuts, stale, restless = segments["calibration"]
        self._stale_orgs, self._restless_orgs = set(stale), set(restless)
        same = segments["attributes"] == [a.name for a in self.model.attributes]
        for prefix, names in (("user/", _ARRAYS), ("org/", _ORG_ARRAYS)):
            for name in names:
                if (same or not name.endswith("parts")) and prefix + name in segments:
                    array = unpacked(segments[prefix + name])
                    getattr(self, name)[: len(array)] = array
        same = same and segments.get("model", self.model.digest) == self.model.digest
        by_group, former = segments.get("peers", ({}, None))
        shipped = self.cut_points.everybody
        known = {name: edges for name, edges in cuts.items() if name in shipped}
        self.cut_points = CutPoints(generation, {**shipped, **known}, by_group if same else {})
        if segments.get("former-cuts") is not None:
            self._former_cuts = CutPoints(
                former[0] if former else generation, segments["former-cuts"], former[1] if former else {}
            )
        users = np.arange(len(self.subjects))
        self._activity.count(users[self.subjects.is_user[users]])
        if not same:
            self._reload()
        return not same

    def _reload(self) -> None:
        """Score everybody by this model instead of the one before, and keep what that changed."""
        n, former = len(self.subjects), self.score.copy()
        self._former_cuts = None
        self.peer_group[:n] = NONE  # groups of the former model may be others by the same numbers
        self.touch_all()
        self.evaluate()
        self.reloaded[:n] += self.score[:n] - former[:n]

    def _store(self, slots: Slots, score: Matrix, parts: Whole, coverage: Matrix) -> None:
        """Take over new scores; what differs from before is stale."""
        differs = (self.score[slots] != score) | (self.coverage[slots] != coverage)
        differs |= (self.parts[slots] != parts).any(axis=1) | (self.band[slots] == NONE)
        self.stale[slots[differs]] = True
        self.score[slots], self.parts[slots], self.coverage[slots] = score, parts, coverage
        self.band[slots] = bands_of(np.asarray(score, np.int64), self.band[slots].astype(np.int64), self.model.bands)

    def _score_orgs(self, numbers: Slots) -> None:
        """Bring the figures of the orgs *numbers* (ascending) up to date."""
        subjects, n = self.subjects, len(self.subjects)
        place_of = np.full(len(subjects.orgs), NONE)
        place_of[numbers] = np.arange(len(numbers))
        users = np.flatnonzero(subjects.is_user[:n] & (place_of[subjects.org_of[:n]] != NONE))
        found = org_figures(
            len(numbers),
            place_of[subjects.org_of[users]],
            subjects.membership[users],
            self.week.are_active(users),
            self.score[users],
            self.parts[users],
            self._activity.of_user[users].astype(np.int64),
        )
        self.org_score[numbers], self.org_parts[numbers] = found.scores, found.parts
        self.org_active[numbers], self.org_licensed[numbers] = found.active, found.licensed
        self.org_activities[numbers] = found.activities
        scored = numbers[found.scores[:, 0] != NONE]
        former = self.org_band[scored].astype(np.int64)
        self.org_band[scored] = bands_of(self.org_score[scored, 0].astype(np.int64), former, self.model.bands)
        self._stale_orgs.update(numbers.tolist())
