"""Closing scores: a calendar week is scored from itself when it ends, and again when something of it comes late.

Owns what a close leaves behind for as long as its week can be restated: the cut points that were in force, who was a
member and whose peer, how much each org had done. Invariant: a closed week's scores are a function of its events, and
of cut points, members and peers at its close; so late events lead to the scores that they would have led to in time.

    week ends ──► scored from its own hours ──► `previous`, last weeks, rows
                        ▲                              │
                        └──── late event ◄─────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.activity import Calibration
from state.arrays import distinct, grown, packed, unpacked
from state.carry import Carry
from state.closed_week import Closed, blocks, score_week, users_of
from state.health import Mask, Matrix, Model
from state.history import History
from state.org_scores import NONE
from state.peers import CutPoints, peer_groups
from state.ring import Slots
from state.scoreboard import Scoreboard
from state.subjects import GONE, Subjects
from state.trend import NEVER, Pasts
from state.week import HOUR_MS, local_ms_array, week_end_ms

_UNKNOWN = 255  # not known at the close


class Closing:
    """Closes the weeks of one partition, and restates them."""

    def __init__(self, model: Model, subjects: Subjects, history: History, board: Scoreboard, carry: Carry) -> None:
        self._model, self._subjects, self._history, self._board = model, subjects, history, board
        self._carry = carry
        self.pasts = Pasts(history, self._first_weeks)
        # Cut points in force at closes, with the first close of each, the oldest first. At most one for each zone
        # and week that can be restated, because a generation that saw no close is not kept.
        self._cuts: list[tuple[int, CutPoints]] = []
        self._pinned = False  # they are given, and stay what they are
        self._from_ms = 0  # weeks that ended up to here keep their scores
        self._members: dict[int, NDArray[np.uint8]] = {}  # week → membership by slot
        self._groups: dict[int, NDArray[np.int16]] = {}  # week → peer group by slot; nothing where nobody has peers
        self._totals: dict[int, Matrix] = {}  # week → activities by org number, as last scored

    def begin(self, time_ms: int) -> None:
        """Note the cut points that count for weeks that were over before the first event came."""
        self._keep_cuts(time_ms)

    def pin(self, record: Calibration) -> None:
        """Close weeks that end from `since_ms` on by the cut points of *record*; records come in the order of that.

        From the first one on those in force play no part: a week is closed as it was closed elsewhere.
        """
        if not self._pinned:
            self._cuts, self._pinned = [], True
        shipped = CutPoints(0, self._model.default_cuts())
        self._cuts.append((record.since_ms, shipped.after(record, self._model)))

    def close(self, week: int, zone: str, orgs: Slots) -> Iterator[Closed]:
        """Score the *orgs* (numbers, ascending) of a zone in which *week* ended; their scores become the former ones.

        Yields them some at a time. What cut points or another model changed of live scores until now belongs to the
        week that ends, so the board must have been evaluated.
        """
        end_ms, board = week_end_ms(week, zone), self._board
        self._keep_cuts(end_ms)
        for some in blocks(self._subjects, orgs):
            users = users_of(self._subjects, some)
            self._members[week] = self._with(self._members.get(week), users, self._subjects.membership[users], _UNKNOWN)
            if self._model.population.peers:
                peers = peer_groups(self._model, self._subjects, users).astype(np.int16)
                self._groups[week] = self._with(self._groups.get(week), users, peers, NONE)
            closed = self._score(week, end_ms, some)
            self._keep(closed)
            seen = closed.users[self._were_seen(closed.users, closed.active, end_ms)]
            board.drift[seen] = board.reloaded[seen] = board.regrouped[seen] = 0
            board.stale[seen] = True
            self._make_former(closed, end_ms)
            yield closed

    def can_restate(self, week: int, zone: str) -> bool:
        """Say whether *week*, which is closed in *zone*, can be scored from itself."""
        return week_end_ms(week, zone) > self._from_ms

    def restate(self, week: int, zone: str, orgs: Slots, touched: Slots, last: int) -> tuple[Closed, Slots]:
        """Score anew *orgs* (numbers, ascending) of one zone, those of *touched* slots, in a week that is closed.

        Returns them with the slots of users who have something new to tell: who was touched, and whose share of the
        org became another. *last* is the last closed week of the zone.
        """
        end_ms = week_end_ms(week, zone)
        closed = self._score(week, end_ms, orgs)
        before = self._history.scores_at(week, closed.users)
        self._keep(closed)
        self._board.stale[closed.users[before != self._history.scores_at(week, closed.users)]] = True
        for number in orgs.tolist():
            self._board.tell_org(number)
        if week == last:
            self._make_former(closed, end_ms)
        self._tell_newcomers(touched, week_end_ms(last, zone))
        return closed, distinct(np.concatenate([closed.users[closed.moved], touched[self._subjects.is_user[touched]]]))

    def forget_before(self, week: int) -> None:
        """Forget what only the restatement of weeks before *week* needs."""
        for kept in (self._members, self._groups, self._totals):
            for old in [w for w in kept if w < week]:
                del kept[old]
        oldest_end = min(week_end_ms(week, zone) for zone in self._subjects.zones())
        while len(self._cuts) > 1 and self._cuts[1][0] <= oldest_end:
            del self._cuts[0]

    def forget(self, slot: int) -> None:
        """Let *slot* have been no member and nobody's peer."""
        for members in self._members.values():
            if slot < len(members):
                members[slot] = GONE
        for groups in self._groups.values():
            if slot < len(groups):
                groups[slot] = NONE
        self.pasts.forget(np.array([slot], np.int64))

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        found: dict[str, Any] = {"cuts": [[since, cuts.generation, cuts.everybody] for since, cuts in self._cuts]}
        found["cuts-by-group"] = [cuts.by_group for _, cuts in self._cuts]
        found["from"], found["model"], found["pinned"] = self._from_ms, self._model.digest, self._pinned
        held: dict[str, dict[int, Any]] = {"members": self._members, "groups": self._groups, "totals": self._totals}
        for name, weeks in held.items():
            found |= {f"{name}/{week}": packed(array) for week, array in sorted(weeks.items())}
        return found

    def restore(self, segments: dict[str, Any], watermark_ms: int) -> bool:
        """Take over what `segments` returned, the board and the subjects being restored already; say if it could.

        Weeks that were closed by another model keep their scores.
        """
        if segments.get("model") != self._model.digest:
            self._from_ms = watermark_ms
            if watermark_ms:
                self._keep_cuts(watermark_ms)
            return False
        self._from_ms, self._pinned = segments["from"], segments.get("pinned", False)
        by_group = segments.get("cuts-by-group") or [{}] * len(segments["cuts"])
        self._cuts = [
            (since_ms, CutPoints(generation, cuts, own))
            for (since_ms, generation, cuts), own in zip(segments["cuts"], by_group, strict=True)
        ]
        for name, value in segments.items():
            kind, _, week = name.partition("/")
            if kind == "members" and week:
                self._members[int(week)] = unpacked(value)
            elif kind == "groups" and week:
                self._groups[int(week)] = unpacked(value)
            elif kind == "totals" and week:
                self._totals[int(week)] = unpacked(value)
        return True

    def _score(self, week: int, end_ms: int, orgs: Slots) -> Closed:
        totals = grown(self._totals.get(week, np.zeros(0, np.int64)), len(self._subjects.orgs))
        self._totals[week] = totals
        users = users_of(self._subjects, orgs)
        membership = _at_close(self._members.get(week), users, self._subjects.membership[users], _UNKNOWN)
        groups = _at_close(self._groups.get(week), users, peer_groups(self._model, self._subjects, users), NONE)
        by = self._cuts_at(end_ms)
        carried = partial(self._carry.fill_at_close, week)
        return score_week(
            self._model, self._subjects, self._history, week, orgs, membership, groups, by, totals[orgs], carried
        )  # fmt: skip

    def _keep(self, closed: Closed) -> None:
        """Keep the closing scores of orgs, and of users who were active; those of others are nothing (see `Pasts`)."""
        own = np.array([self._subjects.orgs[number].slot for number in closed.orgs.tolist()], np.int64)
        slots = np.concatenate([closed.users, own])
        scores = np.concatenate([np.where(closed.active, closed.scores, NONE), closed.figures.scores[:, 0]])
        self._history.keep_scores(closed.week, slots, scores)
        self._totals[closed.week][closed.orgs] = closed.totals
        self.pasts.forget(slots)

    def _make_former(self, closed: Closed, end_ms: int) -> None:
        """Make closing scores the former ones of the board."""
        board = self._board
        seen = self._were_seen(closed.users, closed.active, end_ms)
        users, scores, parts = closed.users[seen], closed.scores[seen], closed.parts[seen]
        differs = (board.previous[users] != scores) | (board.former_parts[users] != parts).any(axis=1)
        board.stale[users[differs]] = True
        board.previous[users], board.former_parts[users] = scores, parts
        board.org_previous[closed.orgs] = closed.figures.scores[:, 0]
        board.org_former_parts[closed.orgs] = closed.figures.parts
        for number in closed.orgs.tolist():
            board.tell_org(number)

    def _tell_newcomers(self, touched: Slots, end_ms: int) -> None:
        """See to users first heard of late: they were there, with nothing, in weeks that ended since."""
        users, board = touched[self._subjects.is_user[touched]], self._board
        board.stale[users] = True
        self.pasts.forget(users)
        new = users[(board.previous[users] == NONE) & self._were_seen(users, np.zeros(len(users), bool), end_ms)]
        board.previous[new], board.former_parts[new] = 0, 0

    def _were_seen(self, users: Slots, active: Mask, end_ms: int) -> Mask:
        """Return who had done or got something when a week ended; *active* are those who did something in it."""
        since = self._board.since[users].astype(np.int64)
        return np.asarray(active | ((since >= 0) & ((since + 1) * HOUR_MS <= end_ms)))

    def _first_weeks(self, slots: Slots) -> Matrix:
        """Return the week in which each of *slots* was first seen, shape (n,); NEVER for orgs and unseen ones."""
        subjects, since = self._subjects, self._board.since[slots].astype(np.int64)
        found = np.full(len(slots), NEVER, np.int64)
        zones = subjects.zone_of[subjects.org_of[slots]]
        for zone in distinct(zones).tolist():
            here = (zones == zone) & (since >= 0) & subjects.is_user[slots]
            # An hour that two weeks share (in zones of half hours) counts in the later one.
            local = local_ms_array((since[here] + 1) * HOUR_MS - 1, subjects.zone_names[zone])
            found[here] = (local // (24 * HOUR_MS) + 3) // 7
        return found

    def _keep_cuts(self, time_ms: int) -> None:
        if self._pinned:
            return
        if not self._cuts or self._cuts[-1][1].generation != self._board.calibration:
            self._cuts.append((time_ms, self._board.cut_points))

    def _cuts_at(self, end_ms: int) -> CutPoints:
        """Return the cut points of the last close up to *end_ms*, else the first ones known."""
        return next((kept for kept in reversed(self._cuts) if kept[0] <= end_ms), self._cuts[0])[1]

    def _with(self, former: NDArray[Any] | None, users: Slots, now: NDArray[Any], unknown: int) -> NDArray[Any]:
        """Return what was kept by slot (*former*) with what *users* are *now*; *unknown* stands for all others."""
        kept = np.full(len(self._subjects), unknown, now.dtype)
        if former is not None:
            kept[: len(former)] = former
        kept[users] = now
        return kept


def _at_close(kept: NDArray[Any] | None, users: Slots, now: NDArray[Any], unknown: int) -> NDArray[Any]:
    """Return what *users* were at a week's close; who was *unknown* then counts by what they are *now*."""
    if kept is None:
        return now
    then = np.append(kept, kept.dtype.type(unknown))[np.minimum(users, len(kept))]
    return np.where(then == unknown, now, then).astype(now.dtype)
