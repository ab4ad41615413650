"""One closed calendar week of some orgs, scored from itself.

Owns how a week that is over is read and scored: by the kinds and the formula of the rolling week, from the week's own
counts, sums, hours and amounts. Invariant: the outcome depends on what it is given alone; nothing of the running
week is in it.

    days    24 hours each, counted back from the week's end: Sunday is the last one; where the clocks changed on a
            Sunday the days before begin an hour earlier or later, and the first one has an hour less or more
    recency 0 = active in the last hour of the week
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from state.active_hours import Words
from state.amounts import Answer
from state.arrays import distinct
from state.cells import Counts
from state.health import Mask, Matrix, Model
from state.history import History
from state.kinds import attribute_values
from state.measures import Measure
from state.org_scores import OrgFigures, org_figures
from state.peers import CutPoints, Weeks, group_names, score_in_groups
from state.ring import Slots
from state.subjects import GONE, Subjects

MOST_USERS = 4_096
"""Users whose week is looked at together: tables of all of a partition's would take more room than what is kept."""


class WeekView:
    """A calendar week of k subjects, read like a `RollingWeek` whose slots are 0 … k−1."""

    def __init__(self, measures: tuple[Measure, ...], history: History, week: int, slots: Slots) -> None:
        counts, sums = history.cells(week, slots)
        self.counts: NDArray[np.int64] = np.zeros((len(slots), len(measures)), np.int64)
        self.counts[counts[0], counts[1]] = counts[2]
        self.sums: NDArray[np.int64] = np.zeros((len(slots), len(measures)), np.int64)
        self.sums[sums[0], sums[1]] = sums[2]
        self._hours = history.active_hours(week, slots)
        self._history, self._week, self._slots = history, week, slots

    def counts_of(self, slots: Slots) -> Counts:
        """Return how often each of *slots* did what, shape (n, measures)."""
        return self.counts[slots]

    def sum_of(self, measure: int) -> Counts:
        """Return everybody's exact sum of *measure*."""
        return self.sums[:, measure]

    def active_hours(self, slots: Slots) -> Words:
        """Return in which hours each of *slots* was active, oldest first, as bits (see `active_hours`)."""
        return self._hours[:, slots]

    def are_active(self, slots: Slots) -> NDArray[np.bool_]:
        """Return for each of *slots* whether it was active within the week."""
        return np.asarray(self._hours[:, slots].any(axis=0))

    def medians(self, measures: tuple[int, ...], slots: Slots) -> Answer:
        """Return the lower median of all amounts of *measures* of each of *slots*, and where there is one."""
        return self._history.medians(self._week, measures, self._slots[slots])

    def newest(self, measure: int, slots: Slots) -> Answer:
        """Return the newest amount of *measure* of each of *slots*, and where there is one."""
        return self._history.newest(self._week, measure, self._slots[slots])


@dataclass(frozen=True, slots=True)
class Closed:
    """m orgs of one closed week and all their users (n), of whom c were active and members. Basis points."""

    week: int
    calibration: int
    orgs: Slots
    """Numbers, ascending, shape (m,)."""
    users: Slots
    """Slots, ascending, shape (n,)."""
    active: Mask
    """Who was active, members or not, shape (n,)."""
    scores: Matrix
    """Of each user, 0 without activity, shape (n,)."""
    parts: Matrix
    """Contributions, rows add up to the score, shape (n, A)."""
    row_of: Matrix
    """Row of each user in *values* and *known*, −1 = none, shape (n,)."""
    values: Matrix
    """Attribute values before ranking, shape (c, A)."""
    known: Mask
    figures: OrgFigures
    totals: Matrix
    """Activities of each org, shape (m,)."""
    moved: Mask
    """Whose attribute values became others because the org's activities did, shape (n,)."""


def score_week(
    model: Model, subjects: Subjects, history: History, week: int, orgs: Slots, membership: NDArray[np.uint8],
    groups: Slots, by: CutPoints, former_totals: Matrix,
    carried: Callable[[Slots, Matrix, Mask], tuple[Matrix, Mask]],
) -> Closed:  # fmt: skip
    """Return *orgs* (numbers, ascending) in *week*, scored from what *history* has of it.

    Args:
        model: Says how.
        subjects: Who belongs to the orgs.
        history: What they did.
        week: Which is over.
        orgs: Their numbers.
        membership: At the close, of `users_of(subjects, orgs)`.
        groups: Peer groups (numbers) at the close, of the same.
        by: Cut points.
        former_totals: Activities of each org when it was last scored, shape (m,).
        carried: Slots, values and where there was data → values with what is carried, and where something stands.
    """
    users = users_of(subjects, orgs)
    place = np.searchsorted(orgs, subjects.org_of[users])
    view = WeekView(model.catalogue.measures, history, week, users)
    active = view.are_active(np.arange(len(users)))
    counted = np.flatnonzero(active & (membership != GONE))
    own = view.counts[:, [not m.passive for m in model.catalogue.measures]].sum(axis=1)
    totals = np.bincount(place, weights=own, minlength=len(orgs)).astype(np.int64)
    values, known = attribute_values(model, view, counted, totals[place[counted]])
    moved = np.zeros(len(users), bool)
    if (former_totals != totals).any():
        former, _ = attribute_values(model, view, counted, former_totals[place[counted]])
        moved[counted] = (former != values).any(axis=1)
    weeks = Weeks(*carried(users[counted], values, known), known)
    found = score_in_groups(model, weeks, groups[counted], group_names(model, subjects), by)
    scores, parts = np.zeros(len(users), np.int64), np.zeros((len(users), len(model.attributes)), np.int64)
    scores[counted], parts[counted] = found.score, found.contributions
    row_of = np.full(len(users), -1, np.int64)
    row_of[counted] = np.arange(len(counted))
    figures = org_figures(
        len(orgs), place, membership, active, scores.astype(np.int16), parts.astype(np.int16), own
    )  # fmt: skip
    return Closed(
        week, by.generation, orgs, users, active, scores, parts, row_of, values, known, figures, totals, moved
    )


def blocks(subjects: Subjects, orgs: Slots) -> Iterator[Slots]:
    """Yield *orgs* (numbers) some at a time: with MOST_USERS users at most, or one org that has more."""
    block = np.cumsum(subjects.members_of(orgs)[1]) // MOST_USERS
    for number in distinct(block).tolist():
        yield orgs[block == number]


def users_of(subjects: Subjects, orgs: Slots) -> Slots:
    """Return the slots of all users of *orgs* (numbers), ascending."""
    return np.sort(subjects.members_of(orgs)[0])
