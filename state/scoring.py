"""From attribute values to scores: decile ranks, weights, contributions, bands.

Owns the score's formula. All of it is integer arithmetic on whole arrays: shares are basis points (1/10,000) and a
score is a whole number of basis points. Invariant: contributions add up to the score exactly (largest remainder,
ties to the earlier attribute).

    score = Σ weightᵢ · xᵢ / Σ weightᵢ          (model.md § 2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import BLOCK
from state.health import BAND_NAMES, DECILES, FULL, Bands, Cuts, Mask, Matrix, Model
from state.kinds import LOWER_IS_BETTER

Whole = NDArray[Any]
"""Whole numbers of any width."""
_NEAR = 32_768
"""Values nearer to zero than this, nearly all there are, are counted by their places; the others are sorted."""
_STEP = FULL // DECILES


@dataclass(frozen=True, slots=True)
class Scores:
    """What n users' weeks are worth. Basis points throughout."""

    score: Matrix  # (n,)
    contributions: NDArray[np.int16]  # (n, A), rows add up to score
    coverage: Matrix  # (n,) share of weight that had data


def distinct_counts(values: Matrix) -> tuple[Matrix, Matrix]:
    """Return the distinct ones of *values*, ascending, and how many there are of each.

    >>> [found.tolist() for found in distinct_counts(np.array([7, -2, 7]))]
    [[-2, 7], [1, 2]]
    """
    # Unsigned, what lies below −_NEAR lies far above; whatever is far goes to one place more.
    places = values.astype(np.uint64)
    places += np.uint64(_NEAR)
    np.minimum(places, 2 * _NEAR, out=places)
    here = np.bincount(places.view(np.int64), minlength=2 * _NEAR + 1)
    found = np.flatnonzero(here[:-1])
    near, counts = found - _NEAR, here[found]
    if not here[-1]:
        return near, counts
    far, far_counts = np.unique(values[places == 2 * _NEAR], return_counts=True)
    split = int(np.searchsorted(far, 0))
    return (
        np.concatenate([far[:split], near, far[split:]]),
        np.concatenate([far_counts[:split], counts, far_counts[split:]]),
    )


def population_of(model: Model, values: Matrix, known: Mask) -> dict[str, tuple[Matrix, Matrix]]:
    """Return by ranked attribute the distinct values of users, ascending, and how many users have each.

    Args:
        model: Whose attributes they are.
        values: Of n users, shape (n, A).
        known: Where there was data, shape (n, A); only these count.
    """
    found = {}
    for i, attribute in enumerate(model.attributes):
        if attribute.is_ranked:
            there = known[:, i]
            found[attribute.name] = distinct_counts(values[:, i] if there.all() else values[there, i])
    return found


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
    Fast where *values* and *known* hold each attribute's values side by side (Fortran order).
    """
    stands = known if stands is None else stands
    n, width = values.shape
    found = Scores(np.empty(n, np.int64), np.empty((n, width), np.int16), np.empty(n, np.int64))
    weights, edges = model.weights, _edges(model, cuts)
    # No numerator is larger than a whole share of the heaviest attribute, no denominator than all weights.
    narrow = np.min_scalar_type(max(FULL * weights.max(), weights.sum()))
    reweighted = [i for i, a in enumerate(model.attributes) if a.missing == "reweight"]
    for at in range(0, n, BLOCK):
        rows = slice(at, at + BLOCK)
        there = known[rows]
        numerators = _shares(model, values[rows], edges).astype(narrow, copy=False)
        numerators *= weights.astype(narrow)
        numerators *= stands[rows]
        lost = (weights[reweighted] * ~there[:, reweighted]).sum(axis=1)
        score, parts = apportion(numerators, (weights.sum() - lost).astype(narrow))
        found.score[rows], found.contributions[rows] = score, parts
        covered = np.add.reduce(there * weights.astype(narrow), axis=1, dtype=np.int64)
        found.coverage[rows] = covered * FULL // weights.sum()
    return found


def _edges(model: Model, cuts: Cuts) -> Matrix:
    """Return the cut points by decile and attribute, shape (9, A); what is not ranked has none that is ever reached.

    A user with nothing gets nothing, so no cut point lies below 1 but where lower is better.
    """
    edges = np.full((DECILES - 1, len(model.attributes)), np.iinfo(np.int64).max)
    for i, attribute in enumerate(model.attributes):
        if attribute.is_ranked:
            edges[:, i] = cuts[attribute.name]
            if attribute.kind not in LOWER_IS_BETTER:
                edges[:, i] = np.maximum(edges[:, i], 1)
    return edges


def _shares(model: Model, values: Matrix, edges: Matrix) -> NDArray[np.uint16]:
    """Return what attribute values (n, A) come to, 0 to FULL: a tenth for each cut point reached, or as they are."""
    ranks = np.zeros_like(values, np.uint8)
    for edge in edges:
        ranks += values >= edge
    shares = ranks * np.uint16(_STEP)
    for i, attribute in enumerate(model.attributes):
        if not attribute.is_ranked:
            shares[:, i] = np.clip(values[:, i], 0, FULL)
    return shares


def apportion(numerators: Whole, denominators: Whole) -> tuple[Matrix, Whole]:
    """Divide each row of *numerators* (n, A) by its denominator (n,), rounding so that parts add up.

    Returns the row totals, rounded down, and whole parts that add up to them:
    each part is rounded down and the rest goes to the largest remainders.

    >>> total, parts = apportion(np.array([[5, 5, 5]]), np.array([2]))
    >>> total.tolist(), parts.tolist()
    ([7], [[3, 2, 2]])
    """
    width, divisor = numerators.shape[1], np.maximum(denominators, 1)
    total = np.add.reduce(numerators, axis=1, dtype=np.int64) // divisor
    parts = numerators // divisor[:, None]
    short = total - np.add.reduce(parts, axis=1, dtype=np.int64)
    # A key for each part by remainder, then by place, so that no two of a row are equal: the highest ones get one more.
    narrow = np.min_scalar_type(int(divisor.max(initial=1)) * width)
    keys = (numerators - parts * divisor[:, None]).astype(narrow) * narrow.type(width)
    keys += np.arange(width - 1, -1, -1, dtype=narrow)
    ordered = np.sort(np.ascontiguousarray(keys), axis=1)
    lowest = np.take_along_axis(ordered, width - np.maximum(short, 1)[:, None], axis=1)
    parts += (keys >= lowest) & (short > 0)[:, None]
    return total, parts


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
