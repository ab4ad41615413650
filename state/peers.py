"""Whose deciles each user is ranked by: those of their peer group, of everybody, or the shipped ones.

Owns the cut points of one generation, and the scoring by them. Invariant: without cut points of their own users of a
group are ranked among everybody, so a single group of all is the same as none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from state.activity import Calibration
from state.arrays import distinct
from state.groups import NO_GROUP, OTHER
from state.health import Cuts, Mask, Matrix, Model
from state.ring import Slots
from state.scoring import Scores, score_users
from state.subjects import Subjects

ALL, DEFAULT = "all", "default"
"""What documents call the whole population's cut points, and the shipped ones."""
MAX_PEER_GROUPS = 32
"""Groups with cut points of their own: the largest. Users of the others are ranked among everybody."""


@dataclass(frozen=True, slots=True)
class CutPoints:
    """Cut points of one generation; 0 = the shipped ones."""

    generation: int
    everybody: Mapping[str, list[int]]
    by_group: Mapping[str, Cuts] = field(default_factory=dict)

    def after(self, record: Calibration, model: Model) -> CutPoints:
        """Return those of *record*, as far as they are of attributes and peers of *model*."""
        known = {name: edges for name, edges in record.cuts.items() if name in self.everybody}
        groups = record.groups if record.peers == model.population.peers else {}
        return CutPoints(record.generation, {**self.everybody, **known}, groups)

    def of(self, group: str) -> Cuts:
        """Return by which cut points users of *group* are ranked."""
        own = self.by_group.get(group)
        if own is None:
            return self.everybody
        return {name: own.get(name, edges) for name, edges in self.everybody.items()}

    def label(self, group: str) -> str:
        """Return what documents call those by which users of *group* are ranked.

        >>> cuts = CutPoints(3, {}, {"analyst": {}, "all": {}})
        >>> cuts.label("analyst"), cuts.label("trader"), cuts.label("all"), CutPoints(0, {}).label("analyst")
        ('analyst', 'all', 'group:all', 'default')
        """
        if group in self.by_group:
            return f"group:{group}" if group in (ALL, DEFAULT) else group
        return ALL if self.generation else DEFAULT


def group_names(model: Model, subjects: Subjects) -> Sequence[str]:
    """Return the names of peer groups by number."""
    return (subjects.group_types if model.population.peers == "group_type" else subjects.job_types).names


def peer_groups(model: Model, subjects: Subjects, slots: Slots) -> Slots:
    """Return the number of the peer group of each of *slots*, shape (n,); NO_GROUP = ranked among everybody."""
    match model.population.peers:
        case "group_type":
            groups = subjects.group_of[subjects.org_of[slots]]
        case "job_type":
            groups = subjects.job_of[slots]
        case _:
            return np.full(len(slots), NO_GROUP, np.int64)
    # What the rest have in common is only that there was no room for their names.
    return np.where(groups == OTHER, NO_GROUP, groups).astype(np.int64)


def orgs_left_out(model: Model, subjects: Subjects) -> NDArray[np.bool_]:
    """Return which orgs the model leaves out of the population, by org number."""
    without = model.population.without
    if not without:
        return np.zeros(len(subjects.orgs), bool)
    return np.array([entry.group_type in without for entry in subjects.orgs], bool)


def are_renamed(groups: Slots, names: Sequence[str], former: CutPoints, cuts: CutPoints) -> NDArray[np.bool_]:
    """Return which of *groups* (numbers of *names*, shape (n,)) have other documents by *cuts* than by *former*."""
    if former is cuts:
        return np.zeros(len(groups), bool)
    changed = [each for each in distinct(groups).tolist() if former.label(names[each]) != cuts.label(names[each])]
    return np.isin(groups, changed)


@dataclass(frozen=True, slots=True)
class Weeks:
    """What n users' weeks hold, before ranking. All of shape (n, A)."""

    values: Matrix
    stands: Mask
    """Where there is a value, be it of the week or carried."""
    known: Mask
    """Where there was data in the week."""

    def of(self, chosen: Slots | Mask) -> Weeks:
        """Return those of the *chosen* users (rows)."""
        return Weeks(self.values[chosen], self.stands[chosen], self.known[chosen])


@dataclass(frozen=True, slots=True)
class Places:
    """In which groups n users are ranked: numbers of `names`."""

    groups: Slots  # (n,)
    former: Slots  # (n,) when they were scored before; below 0 = never
    names: Sequence[str]


def score_among_peers(
    model: Model, weeks: Weeks, places: Places, cuts: CutPoints, former: CutPoints | None
) -> tuple[Scores, Matrix, Matrix]:
    """Return the scores of n users by *cuts* (they were scored by *former*; None = by the same), and what moved them.

    That is, both of shape (n,) and in basis points: what new cut points alone changed, and what another group did.
    """
    scores = before = score_in_groups(model, weeks, places.groups, places.names, cuts)
    if former is not None:
        before = score_in_groups(model, weeks, places.groups, places.names, former)
    regrouped = np.zeros(len(places.groups), np.int64)
    moved = np.flatnonzero((places.former != places.groups) & (places.former >= NO_GROUP))
    if len(moved):
        stayed = score_in_groups(model, weeks.of(moved), places.former[moved], places.names, former or cuts)
        regrouped[moved] = before.score[moved] - stayed.score
    return scores, scores.score - before.score, regrouped


def score_in_groups(model: Model, weeks: Weeks, groups: Slots, names: Sequence[str], cuts: CutPoints) -> Scores:
    """Return the scores of n users, each by the cut points of their group (a number of *names*; shape (n,))."""
    own = [number for number in distinct(groups).tolist() if names[number] in cuts.by_group]
    if not own:
        return score_users(model, weeks.values, weeks.known, cuts.everybody, weeks.stands)
    ranked_in = np.where(np.isin(groups, own), groups, NO_GROUP)
    nothing = np.zeros(len(groups), np.int64)
    found = Scores(nothing.copy(), np.zeros(weeks.values.shape, np.int16), nothing)
    for number in distinct(ranked_in).tolist():
        here = ranked_in == number
        some = weeks.of(here)
        part = score_users(model, some.values, some.known, cuts.of(names[number]), some.stands)
        found.score[here], found.contributions[here] = part.score, part.contributions
        found.coverage[here] = part.coverage
    return found
