"""The health model: attributes of a rolling week, brought to 0–1 and weighed.

Owns what an attribute is and the score's formula. All of it is integer
arithmetic on whole arrays: values are int64, shares are basis points (1/10,000)
and a score is a whole number of basis points. Invariant: contributions add up
to the score exactly (largest remainder, ties to the earlier attribute).

    score = Σ weightᵢ · xᵢ / Σ weightᵢ          (model.md § 2)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from state.alert_rules import AlertRules
from state.measures import Catalogue
from state.ring import RollingWeek, Slots
from state.week import WEEK_HOURS

FULL = 10_000
"""Basis points in one."""
DECILES = 10

Kind = Literal[
    "count",
    "sum",
    "distinct",
    "days_active",
    "streak_days",
    "sessions",
    "recency_hours",
    "gap_hours",
    "mean",
    "share_of_org",
    "ratio",
    "boolean",
]
KINDS: tuple[str, ...] = get_args(Kind)
PLAIN_KINDS = frozenset({"ratio", "boolean"})  # used as they are, not ranked
LOWER_IS_BETTER = frozenset({"recency_hours", "gap_hours", "mean"})
NEEDS_MEASURES = frozenset({"count", "sum", "mean", "ratio", "boolean"})

Matrix = NDArray[np.int64]
Mask = NDArray[np.bool_]
Cuts = Mapping[str, list[int]]  # attribute → 9 ascending cut points


@dataclass(frozen=True, slots=True)
class Attribute:
    """One aspect of a user's week. `missing` without data: "zero" or "reweight"."""

    name: str
    label: str
    kind: Kind
    weight: int
    measures: tuple[int, ...] = ()
    against: tuple[int, ...] = ()
    missing: str = "zero"
    cuts: tuple[int, ...] = ()

    @property
    def is_ranked(self) -> bool:
        """Whether the value is replaced by its decile rank."""
        return self.kind not in PLAIN_KINDS


@dataclass(frozen=True, slots=True)
class Bands:
    """Edges of the bands in basis points, and how far beyond one a subject must be to leave its band."""

    healthy: int
    at_risk: int
    hysteresis: int


BAND_NAMES = ("at_risk", "watch", "healthy")
AT_RISK = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A whole health model."""

    catalogue: Catalogue
    attributes: tuple[Attribute, ...]
    bands: Bands
    alerts: AlertRules = field(default_factory=AlertRules)

    @property
    def weights(self) -> Matrix:
        """Weights by attribute, shape (A,)."""
        return np.array([a.weight for a in self.attributes], np.int64)

    @property
    def digest(self) -> str:
        """What tells this model from every other: a digest of all that scores depend on."""
        said = repr((self.catalogue.measures, self.attributes, self.bands))
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def default_cuts(self) -> dict[str, list[int]]:
        """Return the shipped cut points of the ranked attributes."""
        return {a.name: list(a.cuts) for a in self.attributes if a.is_ranked}


@dataclass(frozen=True, slots=True)
class Scores:
    """What n users' weeks are worth. Basis points throughout."""

    values: Matrix  # (n, A) attribute values before ranking
    score: Matrix  # (n,)
    contributions: Matrix  # (n, A), rows add up to score
    coverage: Matrix  # (n,) share of weight that had data


def attribute_values(model: Model, week: RollingWeek, slots: Slots, org_activities: Matrix) -> tuple[Matrix, Mask]:
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


def cut_points(values: Matrix, weights: Matrix) -> list[int]:
    """Return the 9 decile cut points of a population given as distinct ascending *values* and their counts.

    Cut k is the smallest value with at least k tenths of the population strictly
    below it, so ties share a rank. Where there is none, a value above all is used.

    >>> cut_points(np.arange(10), np.ones(10, np.int64))
    [1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if not len(values):
        return [np.iinfo(np.int64).max] * (DECILES - 1)
    below = np.concatenate(([0], np.cumsum(weights)[:-1]))
    total = int(weights.sum())
    found = []
    for k in range(1, DECILES):
        at = int(np.searchsorted(below * DECILES, k * total))
        found.append(int(values[at]) if at < len(values) else int(np.iinfo(np.int64).max))
    return found


def score_users(model: Model, values: Matrix, known: Mask, cuts: Cuts) -> Scores:
    """Return the scores of n users from their attribute values (n, A) by *cuts*."""
    x = np.zeros_like(values)
    for i, attribute in enumerate(model.attributes):
        if attribute.is_ranked:
            edges = np.array(cuts[attribute.name], np.int64)
            x[:, i] = np.searchsorted(edges, values[:, i], side="right") * (FULL // DECILES)
            if attribute.kind not in LOWER_IS_BETTER:
                x[values[:, i] <= 0, i] = 0  # a user with nothing gets nothing
        else:
            x[:, i] = values[:, i]
    x[~known] = 0
    weights = model.weights
    reweighted = np.array([a.missing == "reweight" for a in model.attributes])
    counted = np.where(~known & reweighted, 0, weights)
    numerators = x * counted
    score, contributions = apportion(numerators, counted.sum(axis=1))
    coverage = (known * weights).sum(axis=1) * FULL // weights.sum()
    return Scores(values, score, contributions, coverage)


def apportion(numerators: Matrix, denominators: Matrix) -> tuple[Matrix, Matrix]:
    """Divide each row of *numerators* (n, A) by its denominator (n,), rounding so that parts add up.

    Returns the row totals, rounded down, and whole parts that add up to them:
    each part is rounded down and the rest goes to the largest remainders.

    >>> total, parts = apportion(np.array([[5, 5, 5]]), np.array([2]))
    >>> total.tolist(), parts.tolist()
    ([7], [[3, 2, 2]])
    """
    divisor = np.maximum(denominators, 1)
    total = numerators.sum(axis=1) // divisor
    parts, rests = np.divmod(numerators, divisor[:, None])
    short = total - parts.sum(axis=1)
    rank = np.argsort(np.argsort(-rests, axis=1, kind="stable"), axis=1, kind="stable")
    return total, parts + (rank < short[:, None])


def bands_of(scores: Matrix, former: Matrix, bands: Bands) -> Matrix:
    """Return band indices (n,), 0 at risk … 2 healthy; *former* is −1 where there was none.

    >>> edges = Bands(healthy=4000, at_risk=2000, hysteresis=200)
    >>> bands_of(np.array([3900, 3900, 3700]), np.array([2, -1, 2]), edges).tolist()
    [2, 1, 1]
    """
    plain = (scores >= bands.at_risk).astype(np.int64) + (scores >= bands.healthy)
    # A band is left downwards only below its floor − h, upwards only above its ceiling + h.
    sticky_low = (scores >= bands.at_risk - bands.hysteresis).astype(np.int64) + (
        scores >= bands.healthy - bands.hysteresis
    )
    sticky_high = (scores >= bands.at_risk + bands.hysteresis).astype(np.int64) + (
        scores >= bands.healthy + bands.hysteresis
    )
    kept = np.where(plain < former, np.minimum(sticky_low, former), np.maximum(sticky_high, former))
    return np.where(former < 0, plain, np.where(plain == former, former, kept))


def band_name(band: int) -> str:
    """Return the name of a band index; the empty string for none."""
    return BAND_NAMES[band] if band >= 0 else ""
