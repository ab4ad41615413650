"""Rows of calendar weeks: what each subject did, and what it was worth.

Owns the shape in which weeks leave a shard. Invariant: a row says all that is known of its week, so the last one
told of a week is all there is to know.

    provisional   orgs, while the week is open
    final         everybody, at its close
    restated      who has something new after it: late data, or a share of the org that is another one by it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from state.arrays import distinct
from state.cells import Counts, sum_by_key
from state.closed_week import Closed, blocks, users_of
from state.effects import WeekRow
from state.health import Model
from state.kinds import LOWER_IS_BETTER
from state.measures import MAX_MEASURES
from state.org_scores import NONE
from state.ring import Slots
from state.week import week_label

if TYPE_CHECKING:
    from state.shard import Shard

_Cells = tuple[Counts, Counts, Counts]
_PerSubject = dict[int, list[tuple[int, int]]]  # place → (measure, count or sum)


def final_rows(shard: Shard, closed: Closed) -> list[WeekRow]:
    """Return the rows of a week's close: of everybody with an activity, or with one taken back, and of their orgs."""
    touched = shard.history.take_dirty(closed.week, _among(shard, closed.orgs))
    if closed.week not in shard.history.weeks():
        return []
    subjects = shard.subjects
    slots = np.concatenate([closed.users, subjects.org_slots()[closed.orgs]])
    counts, _ = shard.history.cells(closed.week, slots)
    told = distinct(np.concatenate([slots[distinct(counts[0])], touched]))
    orgs = distinct(subjects.org_of[told]).astype(np.int64)
    return _rows(shard, closed.week, "final", told[subjects.is_user[told]], orgs, closed)


def restated_rows(shard: Shard, week: int) -> list[WeekRow]:
    """Return rows of what changed in *week* in orgs for which it is closed.

    Weeks that can't be scored from themselves keep their scores.
    """
    touched = shard.history.take_dirty(week, _among(shard, np.flatnonzero(shard.are_over(week))))
    subjects, found = shard.subjects, list[WeekRow]()
    zones = subjects.zone_of[subjects.org_of[touched]]
    # By name: numbers of zones are others after a restart.
    for zone, number in sorted((subjects.zone_names[number], number) for number in distinct(zones).tolist()):
        here = touched[zones == number]
        for orgs in blocks(subjects, distinct(subjects.org_of[here]).astype(np.int64)):
            own = here[np.isin(subjects.org_of[here], orgs)]
            closed, users = None, own[subjects.is_user[own]]
            if shard.closing.can_restate(week, zone):
                closed, users = shard.closing.restate(week, zone, orgs, own, shard.closed_until[zone] - 1)
            found += _rows(shard, week, "restated", users, orgs, closed)
    return found


def provisional_rows(shard: Shard, week: int) -> list[WeekRow]:
    """Return rows of the orgs for which *week* is open and in which something is new."""
    touched = shard.history.take_dirty(week, _among(shard, np.flatnonzero(~shard.are_over(week))))
    orgs = distinct(shard.subjects.org_of[touched]).astype(np.int64)
    return _rows(shard, week, "provisional", touched[:0], orgs, None)


def _among(shard: Shard, orgs: Slots) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which slots belong to *orgs* (numbers)."""
    wanted = np.zeros(len(shard.subjects.orgs), bool)
    wanted[orgs] = True
    return wanted[shard.subjects.org_of[: len(shard.subjects)]]


def _rows(shard: Shard, week: int, state: str, users: Slots, orgs: Slots, closed: Closed | None) -> list[WeekRow]:
    """Return the rows of *users* (slots, ascending) and *orgs* (numbers, ascending).

    Who is told has a row even with nothing left, because a row told before may say otherwise.
    """
    label = week_label(week)
    rows = [_row(shard, slot, label, state, cells) for slot, *cells in _own(shard, week, users)]
    heads = [_row(shard, slot, label, state, cells) for slot, *cells in _of_orgs(shard, week, orgs)]
    for row, active in zip(heads, _active_users(shard, week, orgs), strict=True):
        row.active_users = active
    if closed is not None:
        _tell_users(shard.model, rows, users, closed)
        _tell_orgs(shard.model, heads, orgs, closed)
    else:
        slots = np.concatenate([users, shard.subjects.org_slots()[orgs]])
        for row, score in zip(rows + heads, shard.history.scores_at(week, slots).tolist(), strict=True):
            row.score = None if score == NONE else score
    return rows + heads


_Own = list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]]  # slot, counts and sums by measure


def _own(shard: Shard, week: int, users: Slots) -> _Own:
    """Return what each of *users* did in *week*."""
    counts, sums = (_by_place(cells) for cells in shard.history.cells(week, users))
    return [(slot, counts.get(at, []), sums.get(at, [])) for at, slot in enumerate(users.tolist())]


def _of_orgs(shard: Shard, week: int, orgs: Slots) -> _Own:
    """Return what each of *orgs* did in *week*, all its users and itself together."""
    subjects = shard.subjects
    heads = subjects.org_slots()[orgs]
    slots = np.sort(np.concatenate([users_of(subjects, orgs), heads]))
    place = np.searchsorted(orgs, subjects.org_of[slots])
    found = []
    for where, measures, values in shard.history.cells(week, slots):
        keys, totals = sum_by_key((place[where] * MAX_MEASURES + measures).astype(np.uint64), values)
        places, measures = np.divmod(keys.astype(np.int64), MAX_MEASURES)
        found.append(_by_place((places, measures, totals)))
    return [(slot, found[0].get(at, []), found[1].get(at, [])) for at, slot in enumerate(heads.tolist())]


def _by_place(cells: _Cells) -> _PerSubject:
    found: _PerSubject = {}
    for place, measure, value in zip(*(column.tolist() for column in cells), strict=True):
        found.setdefault(place, []).append((measure, value))
    return found


def _active_users(shard: Shard, week: int, orgs: Slots) -> list[int]:
    """Return how many users of each of *orgs* did something in *week* (something received is none).

    Who was forgotten since is among them, as a number.
    """
    users = users_of(shard.subjects, orgs)
    (where, measures, _), _ = shard.history.cells(week, users)
    counts = np.array([not m.passive for m in shard.model.catalogue.measures])[measures]
    active = users[distinct(where[counts])]
    found = np.bincount(np.searchsorted(orgs, shard.subjects.org_of[active]), minlength=len(orgs))
    return [int(n) for n in found + shard.history.former_active(week, shard.subjects.org_slots()[orgs])]


def _row(shard: Shard, slot: int, label: str, state: str, cells: list[list[tuple[int, int]]]) -> WeekRow:
    measures, (counts, sums) = shard.model.catalogue.measures, cells
    user = shard.subjects.user(slot)
    activities = sum([n for m, n in counts if not measures[m].passive])
    return WeekRow(
        shard.subjects.orgs[int(shard.subjects.org_of[slot])].name,
        user,
        label,
        state,
        {measures[m].name: n for m, n in counts},
        {measures[m].name: n for m, n in sums},
        activities,
        int(bool(user) and activities > 0),
        None,
        None,
    )


def _tell_users(model: Model, rows: list[WeekRow], users: Slots, closed: Closed) -> None:
    """Say in the *rows* of *users* what their week was worth; who did nothing in it has no attributes."""
    names = [a.name for a in model.attributes]
    signs = np.array([-1 if a.kind in LOWER_IS_BETTER else 1 for a in model.attributes])
    at = np.searchsorted(closed.users, users)
    places = closed.row_of[at]
    counted = places[places >= 0]
    attributes = zip((closed.values[counted] * signs).tolist(), closed.known[counted].tolist(), strict=True)
    columns = (places.tolist(), closed.scores[at].tolist(), closed.parts[at].tolist())
    for row, place, score, parts in zip(rows, *columns, strict=True):
        row.score, row.calibration, row.attributes = score, closed.calibration, []
        row.contributions = {n: p for n, p in zip(names, parts, strict=True) if p}
        if place >= 0:
            values, known = next(attributes)
            row.attributes = values if all(known) else [v if k else None for v, k in zip(values, known, strict=True)]


def _tell_orgs(model: Model, rows: list[WeekRow], orgs: Slots, closed: Closed) -> None:
    """Say in the *rows* of *orgs* what their users' week was worth."""
    names = [a.name for a in model.attributes]
    at = np.searchsorted(closed.orgs, orgs)
    for row, scores, parts in zip(
        rows, closed.figures.scores[at].tolist(), closed.figures.parts[at].tolist(), strict=True
    ):  # fmt: skip
        row.score, row.score_licensed, row.score_median = (None if s == NONE else s for s in scores)
        row.contributions = {n: p for n, p in zip(names, parts, strict=True) if p}
        row.calibration = closed.calibration
