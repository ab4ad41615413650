"""Kinds of attributes: what each makes of a user's rolling week.

Owns the values before they are ranked: int64, shares in basis points (1/10,000). Invariant: more is better
everywhere; what is better when lower is negated.
"""

from __future__ import annotations

import numpy as np

from state.active_hours import Words, days_active, hours_since, longest_streak, mean_gap, sessions
from state.health import FULL, Mask, Matrix, Model
from state.ring import RollingWeek, Slots


def attribute_values(model: Model, week: RollingWeek, slots: Slots, org_activities: Matrix) -> tuple[Matrix, Mask]:
    """Return attribute values and where there was data, both of shape (n, A).

    *org_activities* (n,) is each user's org's number of activities in the week.
    Lower-is-better values are negated, so that more is better everywhere.
    """
    counts = np.asfortranarray(week.counts[slots])  # whole columns are asked for
    hours = week.active_hours(slots)
    features = np.array([m.feature for m in model.catalogue.measures])
    active = np.array([not m.passive for m in model.catalogue.measures])
    values = np.zeros((len(slots), len(model.attributes)), np.int64, order="F")
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


def _of_hours(kind: str, hours: Words) -> tuple[Matrix, Mask]:
    """Return values and known-mask (n,) of the kinds that look at active hours."""
    always = np.ones(hours.shape[1], bool)
    match kind:
        case "days_active":
            return days_active(hours), always
        case "streak_days":
            return longest_streak(hours), always
        case "sessions":
            return sessions(hours), always
        case "recency_hours":
            since, known = hours_since(hours)
        case _:
            since, known = mean_gap(hours)
    return -since, known
