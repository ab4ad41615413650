"""Kinds of attributes: what each makes of a user's rolling week.

Owns the values before they are ranked: int64, shares in basis points (1/10,000). Invariant: more is better
everywhere; what is better when lower is negated.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from state.health import FULL, Mask, Matrix, Model
from state.ring import Slots
from state.week import WEEK_HOURS


class Week(Protocol):
    """What is read of a week: the rolling one, or a calendar week that is closed."""

    counts: NDArray[Any]

    def sum_of(self, measure: int) -> Matrix:
        """Return every slot's exact sum of *measure*."""

    def active_hours(self, slots: Slots) -> Mask:
        """Return in which hours each of *slots* was active, oldest first, shape (n, 169)."""


def attribute_values(model: Model, week: Week, slots: Slots, org_activities: Matrix) -> tuple[Matrix, Mask]:
    """Return attribute values and where there was data, both of shape (n, A).

    *org_activities* (n,) is each user's org's number of activities in the week.
    Lower-is-better values are negated, so that more is better everywhere.
    """
    counts = week.counts[slots].astype(np.int64)
    hours = week.active_hours(slots)
    features = np.array([m.feature for m in model.catalogue.measures])
    active = np.array([not m.passive for m in model.catalogue.measures])
    values = np.zeros((len(slots), len(model.attributes)), np.int64)
    known = np.ones_like(values, bool)
    for i, attribute in enumerate(model.attributes):
        used = list(attribute.measures)
        total = counts[:, used].sum(axis=1) if used else np.zeros(len(slots), np.int64)
        match attribute.kind:
            case "count":
                values[:, i] = total
            case "boolean":
                values[:, i] = (total > 0) * FULL
            case "distinct":
                values[:, i] = (counts[:, used or features] > 0).sum(axis=1)
            case "sum":
                values[:, i] = sum((week.sum_of(m)[slots] for m in used), np.zeros(len(slots), np.int64))
            case "ratio":
                whole = total + counts[:, list(attribute.against)].sum(axis=1)
                values[:, i], known[:, i] = total * FULL // np.maximum(whole, 1), whole > 0
            case "mean":
                amounts = sum((week.sum_of(m)[slots] for m in used), np.zeros(len(slots), np.int64))
                values[:, i], known[:, i] = -(amounts // np.maximum(total, 1)), total > 0
            case "share_of_org":
                own = counts[:, active].sum(axis=1)
                values[:, i] = own * FULL // np.maximum(org_activities, 1)
            case _:
                values[:, i], known[:, i] = _of_hours(attribute.kind, hours)
    return values, known


def _of_hours(kind: str, hours: Mask) -> tuple[Matrix, Mask]:
    """Return values and known-mask of the kinds that look at active hours, shape (n, 169), oldest first."""
    n = len(hours)
    always = np.ones(n, bool)
    if kind in ("days_active", "streak_days"):
        # Seven spans of 24 hours counted back from the running hour; the oldest one has an hour more.
        oldest = np.asarray(hours[:, :25].any(axis=1)).reshape(n, 1)
        days = np.concatenate([oldest, hours[:, 25:].reshape(n, 6, 24).any(axis=2)], axis=1)
        return (days.sum(axis=1) if kind == "days_active" else _longest_run(days)), always
    starts = hours.copy()
    starts[:, 1:] &= ~hours[:, :-1]
    sessions = starts.sum(axis=1).astype(np.int64)
    if kind == "sessions":
        return sessions, always
    active = np.asarray(hours.any(axis=1))
    first, last = hours.argmax(axis=1), WEEK_HOURS - hours[:, ::-1].argmax(axis=1)
    if kind == "recency_hours":
        return -(WEEK_HOURS - last).astype(np.int64), active
    idle = (last - first + 1) - hours.sum(axis=1)  # hours between visits, all gaps together
    return -(idle // np.maximum(sessions - 1, 1)).astype(np.int64), sessions > 1


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
