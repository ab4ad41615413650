"""Scores of orgs from those of their users, for many orgs at once.

Owns the three company scores and the size of an org. Invariant: an org with
only idle seats scores 0, one without active or licensed users has no score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from state.health import Matrix
from state.scoring import apportion
from state.subjects import GONE, LICENSED, UNLISTED

NONE = -1


@dataclass(frozen=True, slots=True)
class OrgFigures:
    """Figures of k orgs. Scores are basis points, −1 = none."""

    scores: Matrix  # (k, 3): mean over active users, mean over licensed ones (idle = 0), median of active ones
    parts: Matrix  # (k, A): contributions, rows add up to the first score
    active: Matrix  # (k,) users
    licensed: Matrix  # (k,) users; who is not in the directory is licensed while active
    activities: Matrix  # (k,)


def holds_seat(membership: NDArray[np.uint8], active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which users count as licensed, shape (n,): who is not in the directory does while *active*."""
    return np.asarray((membership == LICENSED) | ((membership == UNLISTED) & active))


def org_figures(
    orgs: int,
    place: Matrix,
    membership: NDArray[np.uint8],
    in_window: NDArray[np.bool_],
    score: NDArray[np.int16],
    parts: NDArray[np.int16],
    activities: Matrix,
) -> OrgFigures:
    """Return the figures of *orgs* orgs from all their users.

    Args:
        orgs: How many (k).
        place: Which of them each user belongs to (0 … k−1), shape (n,).
        membership: Of each user, shape (n,).
        in_window: Whether each user was active within the week, shape (n,).
        score: Basis points, shape (n,).
        parts: Contributions to it, shape (n, A).
        activities: Of each user, shape (n,).
    """
    active = in_window & (membership != GONE)
    licensed = holds_seat(membership, active)
    seats = np.bincount(place[licensed], minlength=orgs)
    on_seats = np.bincount(place[licensed], weights=score[licensed], minlength=orgs).astype(np.int64)
    # Active users by org and score, so that each org is a run whose middle is its median.
    chosen = np.flatnonzero(active)
    chosen = chosen[np.lexsort((score[chosen], place[chosen]))]
    counts = np.bincount(place[chosen], minlength=orgs)
    starts = np.cumsum(counts) - counts
    some = np.flatnonzero(counts)
    sums = np.zeros((orgs, parts.shape[1]), np.int64)
    scores = np.full((orgs, 3), NONE, np.int64)
    if len(some):
        sums[some] = np.add.reduceat(parts[chosen], starts[some], axis=0, dtype=np.int64)
        ranked = score[chosen].astype(np.int64)
        low, high = starts[some] + (counts[some] - 1) // 2, starts[some] + counts[some] // 2
        scores[some, 2] = (ranked[low] + ranked[high]) // 2
    totals, shares = apportion(sums, counts)
    scores[some, 0] = totals[some]
    idle = (counts == 0) & (seats > 0)
    scores[idle, 0] = scores[idle, 2] = 0
    scores[seats > 0, 1] = on_seats[seats > 0] // seats[seats > 0]
    done = np.bincount(place, weights=activities, minlength=orgs).astype(np.int64)
    return OrgFigures(scores, shares, counts, seats, done)
