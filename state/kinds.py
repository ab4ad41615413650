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

from state.health import FULL, Attribute, Mask, Matrix, Model
from state.ring import Slots
from state.week import WEEK_HOURS

_PIECE = 1 << 14  # users at once: what they need together stays small


class WeekOfUsers(Protocol):
    """A week as kinds read it: the rolling one, or a calendar week. Slots are rows of its arrays."""

    @property
    def counts(self) -> NDArray[Any]:
        """How often, shape (slots, measures), in whole numbers."""
        ...

    def sum_of(self, measure: int) -> Matrix:
        """Return every slot's exact sum of a summed *measure*."""
        ...

    def active_hours(self, slots: Slots) -> Mask:
        """Return in which hours each of *slots* was active, oldest first, shape (n, 169)."""
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
        self.counts = week.counts[slots]

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
    def hours(self) -> Mask:
        """The hours with activity, oldest first, shape (n, 169)."""
        return self.week.active_hours(self.slots)

    @cached_property
    def days(self) -> Mask:
        """Which of seven spans of 24 hours, counted back from the running hour, had activity; shape (n, 7)."""
        # The oldest one has an hour more.
        n = len(self.slots)
        oldest = np.asarray(self.hours[:, :25].any(axis=1)).reshape(n, 1)
        return np.concatenate([oldest, self.hours[:, 25:].reshape(n, 6, 24).any(axis=2)], axis=1)

    @cached_property
    def visits(self) -> Matrix:
        """How many unbroken runs of hours, shape (n,)."""
        begins = self.hours.copy()
        begins[:, 1:] &= ~self.hours[:, :-1]
        return np.asarray(begins.sum(axis=1, dtype=np.int64))

    @cached_property
    def last_hour(self) -> Matrix:
        """The last hour with activity, 168 is the running one; shape (n,)."""
        return np.asarray(WEEK_HOURS - self.hours[:, ::-1].argmax(axis=1))


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
    return np.asarray(users.days.sum(axis=1))


def _streak_days(users: Users, _: Attribute) -> Found:
    return _longest_run(users.days)


def _sessions(users: Users, _: Attribute) -> Found:
    return users.visits


def _recency_hours(users: Users, _: Attribute) -> Found:
    return users.last_hour - WEEK_HOURS, np.asarray(users.hours.any(axis=1))


def _gap_hours(users: Users, _: Attribute) -> Found:
    spanned = users.last_hour - users.hours.argmax(axis=1) + 1
    idle = spanned - users.hours.sum(axis=1)  # hours between visits, all gaps together
    return -(idle // np.maximum(users.visits - 1, 1)), users.visits > 1


def _longest_run(days: Mask) -> Matrix:
    """Return the longest run of true values in each row.

    >>> _longest_run(np.array([[True, True, False, True]])).tolist()
    [2]
    """
    run = best = np.zeros(len(days), np.int64)
    for day in days.T:
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
    values = np.zeros((len(slots), len(model.attributes)), np.int64)
    known = np.ones_like(values, bool)
    for start in range(0, len(slots), _PIECE):
        piece = slice(start, start + _PIECE)
        users = Users(model, week, slots[piece], org_activities[piece])
        for i, attribute in enumerate(model.attributes):
            found = KINDS[attribute.kind].value(users, attribute)
            if isinstance(found, tuple):
                values[piece, i], known[piece, i] = found
            else:
                values[piece, i] = found
    return values, known
