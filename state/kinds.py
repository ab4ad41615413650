"""Kinds of attributes: what each makes of a user's week.

Owns the values before they are ranked: int64, shares in basis points (1/10,000). A kind is a function and its line in
`KINDS`. Invariant: more is better everywhere; what is better when lower is negated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from state.active_hours import Words, active_days, hours_since, mean_gap, sessions
from state.arrays import BLOCK
from state.health import FULL, Attribute, Mask, Matrix, Model
from state.ring import Slots


class WeekOfUsers(Protocol):
    """A week as kinds read it: the rolling one, or a calendar week. Slots are rows of its arrays."""

    def counts_of(self, slots: Slots) -> NDArray[Any]:
        """Return how often each of *slots* did what, shape (n, measures), in whole numbers."""
        ...

    def sum_of(self, measure: int) -> Matrix:
        """Return every slot's exact sum of a summed *measure*."""
        ...

    def active_hours(self, slots: Slots) -> Words:
        """Return in which hours each of *slots* was active, oldest first, as bits (see `active_hours`)."""
        ...

    def medians(self, measures: tuple[int, ...], slots: Slots) -> tuple[Matrix, Mask]:
        """Return the lower median of all amounts of *measures* of each of *slots* (n,), and where there is one."""
        ...

    def newest(self, measure: int, slots: Slots) -> tuple[Matrix, Mask]:
        """Return the newest amount of *measure* of each of *slots* (n,), of one moment's the largest; and where."""
        ...


class Users:
    """Some users of a week. What several kinds look at is worked out once."""

    def __init__(self, model: Model, week: WeekOfUsers, slots: Slots, org_activities: Matrix) -> None:
        self.model, self.week, self.slots, self.org_activities = model, week, slots, org_activities
        self.counts = np.asfortranarray(week.counts_of(slots))  # whole columns are asked for

    def times(self, measures: Iterable[int]) -> Matrix:
        """Return how often each user did any of *measures*, shape (n,)."""
        return np.asarray(self.counts[:, list(measures)].sum(axis=1, dtype=np.int64))

    def amounts(self, measures: Iterable[int]) -> Matrix:
        """Return each user's sum over *measures*, shape (n,)."""
        return sum((self.week.sum_of(m)[self.slots] for m in measures), np.zeros(len(self.slots), np.int64))

    def flagged(self, flag: Literal["feature", "passive"]) -> Mask:
        """Return which measures have *flag*."""
        return np.array([getattr(m, flag) for m in self.model.catalogue.measures])

    @cached_property
    def hours(self) -> Words:
        """The hours with activity, oldest first, as bits."""
        return self.week.active_hours(self.slots)

    @cached_property
    def days(self) -> list[Mask]:
        """Which of seven spans of 24 hours, counted back from the running hour, had activity; each of shape (n,)."""
        return active_days(self.hours)


Found = Matrix | tuple[Matrix, Mask]
"""Values (n,), and where there was data if that is not everywhere."""


def _count(users: Users, attribute: Attribute) -> Found:
    return users.times(attribute.measures)


def _sum(users: Users, attribute: Attribute) -> Found:
    return users.amounts(attribute.measures)


def _distinct(users: Users, attribute: Attribute) -> Found:
    used = list(attribute.measures) or users.flagged("feature")
    return np.asarray((users.counts[:, used] > 0).sum(axis=1))


def _boolean(users: Users, attribute: Attribute) -> Found:
    return (users.times(attribute.measures) > 0) * FULL


def _ratio(users: Users, attribute: Attribute) -> Found:
    part = users.times(attribute.measures)
    whole = part + users.times(attribute.against)
    return part * FULL // np.maximum(whole, 1), whole > 0


def _mean(users: Users, attribute: Attribute) -> Found:
    times = users.times(attribute.measures)
    return -(users.amounts(attribute.measures) // np.maximum(times, 1)), times > 0


def _median(users: Users, attribute: Attribute) -> Found:
    values, known = users.week.medians(attribute.measures, users.slots)
    return -values, known


def _gauge(users: Users, attribute: Attribute) -> Found:
    return users.week.newest(attribute.measures[0], users.slots)


def _share_of_org(users: Users, _: Attribute) -> Found:
    own = users.times(np.flatnonzero(~users.flagged("passive")))
    return own * FULL // np.maximum(users.org_activities, 1)


def _days_active(users: Users, _: Attribute) -> Found:
    return np.asarray(np.sum(users.days, axis=0, dtype=np.int64))


def _streak_days(users: Users, _: Attribute) -> Found:
    return _longest_run(users.days)


def _sessions(users: Users, _: Attribute) -> Found:
    return sessions(users.hours)


def _recency_hours(users: Users, _: Attribute) -> Found:
    since, known = hours_since(users.hours)
    return -since, known


def _gap_hours(users: Users, _: Attribute) -> Found:
    gap, known = mean_gap(users.hours)
    return -gap, known


def _longest_run(days: list[Mask]) -> Matrix:
    """Return for each user the longest run of *days* that are true.

    >>> _longest_run([np.array([day]) for day in (True, True, False, True)]).tolist()
    [2]
    """
    run = best = np.zeros(len(days[0]), np.int64)
    for day in days:
        run = (run + 1) * day
        best = np.maximum(best, run)
    return best


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind comes to its value, and what the model's author must know of it."""

    value: Callable[[Users, Attribute], Found]
    of: Literal["", "any", "some", "summed", "gauge"] = ""
    """Its `measures`: it has none; it may have some; it needs some; each a summed one; exactly one, a gauge."""
    is_ranked: bool = True  # else used as it is: basis points
    lower_is_better: bool = False
    may_lack: bool = False  # an active user may be without data
    needs_single: bool = False  # looks at amounts one by one


KINDS: dict[str, Kind] = {
    "count": Kind(_count, of="some"),
    "sum": Kind(_sum, of="summed"),
    "distinct": Kind(_distinct, of="any"),
    "days_active": Kind(_days_active),
    "streak_days": Kind(_streak_days),
    "sessions": Kind(_sessions),
    "recency_hours": Kind(_recency_hours, lower_is_better=True),
    "gap_hours": Kind(_gap_hours, lower_is_better=True, may_lack=True),
    "mean": Kind(_mean, of="summed", lower_is_better=True, may_lack=True),
    "median": Kind(_median, of="some", lower_is_better=True, may_lack=True, needs_single=True),
    "gauge": Kind(_gauge, of="gauge", may_lack=True, needs_single=True),
    "share_of_org": Kind(_share_of_org),
    "ratio": Kind(_ratio, of="some", is_ranked=False, may_lack=True),
    "boolean": Kind(_boolean, of="some", is_ranked=False),
}
LOWER_IS_BETTER = frozenset(name for name, kind in KINDS.items() if kind.lower_is_better)


def single_measures(model: Model) -> frozenset[int]:
    """Return the measures whose amounts must be kept one by one."""
    return frozenset(m for a in model.attributes if KINDS[a.kind].needs_single for m in a.measures)


def attribute_values(model: Model, week: WeekOfUsers, slots: Slots, org_activities: Matrix) -> tuple[Matrix, Mask]:
    """Return attribute values and where there was data, both of shape (n, A).

    *org_activities* (n,) is each user's org's number of activities in the week.
    Lower-is-better values are negated, so that more is better everywhere.
    """
    values = np.zeros((len(slots), len(model.attributes)), np.int64, order="F")
    known = np.ones_like(values, bool)
    for start in range(0, len(slots), BLOCK):
        piece = slice(start, start + BLOCK)
        users = Users(model, week, slots[piece], org_activities[piece])
        for i, attribute in enumerate(model.attributes):
            found = KINDS[attribute.kind].value(users, attribute)
            if isinstance(found, tuple):
                values[piece, i], known[piece, i] = found
            else:
                values[piece, i] = found
    return values, known
