"""Scores of orgs by job type, and of all orgs by group type.

Owns how users are put together within an org and over all of them. Invariant: only reads; users without a job type
are in none of an org's parts, and an org without a group type is counted under UNGROUPED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from state.effects import GroupScore, GroupTotal
from state.groups import NO_GROUP, OTHER, REST
from state.health import Matrix
from state.org_scores import NONE, holds_seat, org_figures
from state.ring import Slots

if TYPE_CHECKING:
    from state.scoreboard import Scoreboard

MAX_JOB_TYPES = 20
"""Job types of an org with scores of their own: those with most seats; the others are one, REST."""
MAX_GROUP_TYPES = 32
"""Group types that are told over all orgs: those of most orgs; the others are one, REST."""
UNGROUPED = "none"


def figures_by_job_type(board: Scoreboard, numbers: Slots) -> list[dict[str, GroupScore]]:
    """Return of each of the orgs *numbers* the scores by job type, the one with most seats first and REST last."""
    subjects = board.subjects
    found: list[dict[str, GroupScore]] = [{} for _ in numbers]
    if not subjects.job_types.known:
        return found
    slots, sizes = subjects.members_of(numbers)
    org = np.repeat(np.arange(len(numbers)), sizes)
    active = board.are_counted(slots)
    seated = holds_seat(subjects.membership[slots], active)
    chosen = (subjects.job_of[slots] != NO_GROUP) & (active | seated)
    slots, org, seated = slots[chosen], org[chosen], seated[chosen]
    job = _largest(org, subjects.job_of[slots].astype(np.int64), seated, subjects.job_types.names)
    keys, place = np.unique(np.stack([org, job], axis=1), axis=0, return_inverse=True)
    score = board.score[slots]
    figures = org_figures(
        len(keys), place.reshape(-1), subjects.membership[slots], active[chosen], score, score[:, None],
        np.zeros(len(slots), np.int64),
    )  # fmt: skip
    rows = zip(keys.tolist(), figures.scores.tolist(), figures.active.tolist(), figures.licensed.tolist(), strict=True)
    for (at, number), scores, users, seats in sorted(rows, key=lambda row: (row[0][1] == OTHER, -row[3], -row[2])):
        mean, on_seats, median = (None if each == NONE else each for each in scores)
        found[at][subjects.job_types.names[number]] = GroupScore(mean, on_seats, median, users, seats)
    return found


def _largest(org: Matrix, job: Matrix, seated: NDArray[np.bool_], names: Sequence[str]) -> Matrix:
    """Return *job* (n,) with OTHER in the place of those beyond the MAX_JOB_TYPES with most seats of each *org*.

    Of equals the one with more users goes first, then by name.
    """
    keys, place = np.unique(np.stack([org, job], axis=1), axis=0, return_inverse=True)
    place = place.reshape(-1)
    if not len(keys) or np.bincount(keys[:, 0]).max() <= MAX_JOB_TYPES:
        return job
    by_name = np.empty(len(names), np.int64)
    by_name[np.array(sorted(range(len(names)), key=names.__getitem__))] = np.arange(len(names))
    seats, users = np.bincount(place[seated], minlength=len(keys)), np.bincount(place, minlength=len(keys))
    rest = keys[:, 1] == OTHER
    order = np.lexsort((by_name[keys[:, 1]], -users, -seats, rest, keys[:, 0]))
    starts = np.searchsorted(keys[order, 0], keys[order, 0])
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys)) - starts
    return np.where(rank[place] < MAX_JOB_TYPES, job, OTHER)


def totals_by_group_type(board: Scoreboard) -> dict[str, GroupTotal]:
    """Return orgs, users and sums of scores by group type, by name."""
    subjects, n = board.subjects, len(board.subjects)
    names = [UNGROUPED, *subjects.group_types.names[1:]]
    groups = subjects.group_of[: len(subjects.orgs)]
    users = np.flatnonzero(subjects.is_user[:n])
    active = board.are_counted(users)
    seated = holds_seat(subjects.membership[users], active)
    columns = [np.bincount(groups, minlength=len(names))]
    of_user = groups[subjects.org_of[users]]
    for some in (active, seated):
        columns.append(np.bincount(of_user[some], minlength=len(names)))
    for some in (active, seated):  # as floats sums are exact here: far below 2⁵³
        columns.append(np.bincount(of_user[some], board.score[users[some]], len(names)).astype(np.int64))
    found: dict[str, GroupTotal] = {}
    for name, row in sorted(zip(names, np.stack(columns, axis=1).tolist(), strict=True)):
        if row[0]:
            _add(found.setdefault(name, GroupTotal()), GroupTotal(*row))
    return found


def merged_totals(parts: Sequence[Mapping[str, GroupTotal]]) -> dict[str, GroupTotal]:
    """Return the totals by group type of all *parts*: the MAX_GROUP_TYPES of most orgs by name, then REST.

    Nothing where no org has a group type.
    """
    found: dict[str, GroupTotal] = {}
    for part in parts:
        for name, more in part.items():
            _add(found.setdefault(name, GroupTotal()), more)
    if set(found) <= {UNGROUPED}:
        return {}
    ranked = sorted((name for name in found if name != REST), key=lambda name: (-found[name].orgs, name))
    kept = {name: found[name] for name in sorted(ranked[:MAX_GROUP_TYPES])}
    rest = found.get(REST)
    for name in ranked[MAX_GROUP_TYPES:]:
        rest = rest or GroupTotal()
        _add(rest, found[name])
    return kept if rest is None else kept | {REST: rest}


def _add(total: GroupTotal, more: GroupTotal) -> None:
    for field in GroupTotal.__struct_fields__:
        setattr(total, field, getattr(total, field) + getattr(more, field))
