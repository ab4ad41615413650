"""From attribute values to scores: decile ranks, weights, contributions, bands.

Owns the score's formula. All of it is integer arithmetic on whole arrays: shares are basis points (1/10,000) and a
score is a whole number of basis points. Invariant: contributions add up to the score exactly (largest remainder,
ties to the earlier attribute).

    score = Σ weightᵢ · xᵢ / Σ weightᵢ          (model.md § 2)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from state.health import BAND_NAMES, DECILES, FULL, Bands, Cuts, Mask, Matrix, Model
from state.kinds import LOWER_IS_BETTER


@dataclass(frozen=True, slots=True)
class Scores:
    """What n users' weeks are worth. Basis points throughout."""

    values: Matrix  # (n, A) attribute values before ranking
    score: Matrix  # (n,)
    contributions: Matrix  # (n, A), rows add up to score
    coverage: Matrix  # (n,) share of weight that had data


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


def score_users(model: Model, values: Matrix, known: Mask, cuts: Cuts, stands: Mask | None = None) -> Scores:
    """Return the scores of n users from their attribute values (n, A) by *cuts*.

    *stands* says where there is a value, be it of the week or carried; without it, where there is data (*known*).
    """
    stands = known if stands is None else stands
    x = np.zeros_like(values)
    for i, attribute in enumerate(model.attributes):
        if attribute.is_ranked:
            edges = np.array(cuts[attribute.name], np.int64)
            x[:, i] = np.searchsorted(edges, values[:, i], side="right") * (FULL // DECILES)
            if attribute.kind not in LOWER_IS_BETTER:
                x[values[:, i] <= 0, i] = 0  # a user with nothing gets nothing
        else:
            x[:, i] = values[:, i]
    x[~stands] = 0
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
