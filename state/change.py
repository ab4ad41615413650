"""Why a score is another one than at the last week's close: what its causes changed, and which users moved an org.

Owns the split of a change. Invariant: the four parts add up to the change exactly, because one of them is what the
others leave.

    population      others moved the cut points: what each new set of them changed, added up when it came
    configuration   another model was loaded: what that changed, when it was loaded
    membership      of a user: they came into another peer group; of an org also: other users are active, or belong to
                    it; the rest
    own             what the same users did otherwise; of a user: the rest
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray

from state.health import Matrix

OWN, POPULATION, MEMBERSHIP, CONFIGURATION = range(4)
CAUSES = ("own", "population", "membership", "configuration")
MOST_MOVERS = 3
"""Users named in each direction."""


def split_of_user(change: int, population: int, configuration: int, regrouped: int = 0) -> list[int]:
    """Return the parts (basis points, in the order of CAUSES) of a user's *change*.

    >>> split_of_user(500, -200, 0)
    [700, -200, 0, 0]
    """
    return [change - population - configuration - regrouped, population, regrouped, configuration]


@dataclass(frozen=True, slots=True)
class Members:
    """Users of k orgs, by columns of shape (n,); scores are basis points."""

    place: Matrix
    """Which org each belongs to: 0 … k−1."""
    score: Matrix
    previous: Matrix
    """The score at the last week's close; who had none then (0 or less) came since."""
    active: NDArray[np.bool_]


def splits_of_orgs(
    change: Matrix, users: Members, population: Matrix, configuration: Matrix, regrouped: Matrix
) -> Matrix:
    """Return the parts (basis points, in the order of CAUSES) of *change*, of shape (k, 4).

    Args:
        change: Of the mean over active users of each org, shape (k,).
        users: Of these orgs; only the active ones matter.
        population: What new cut points changed of each user's score since then, shape (n,).
        configuration: What another model changed of it since then.
        regrouped: What another peer group changed of it since then.
    """
    orgs, place = len(change), users.place[users.active]
    previous, moved, loaded, regrouped = (
        column[users.active] for column in (users.previous, population, configuration, regrouped)
    )
    n = np.maximum(_total(place, np.ones(len(place), np.int64), orgs), 1)
    own = np.where(previous > 0, users.score[users.active] - previous - moved - loaded - regrouped, 0)
    parts = [_total(place, column, orgs) // n for column in (own, moved, loaded)]
    return np.stack([parts[0], parts[1], change - parts[0] - parts[1] - parts[2], parts[2]], axis=1)


def effects_of_users(orgs: int, users: Members) -> Matrix:
    """Return what each user did to the mean of its org over active users since the last week's close.

    It is the mean as it is, less the mean as it would be had this user alone stayed as at the close: with the former
    score, not active where there was none, and still active where there was one. Whole basis points, rounded down
    like the mean itself. Shape (n,).

    Args:
        orgs: How many there are (k).
        users: All of theirs.
    """
    place, active = users.place, users.active.astype(np.int64)
    total, count = _total(place, users.score * active, orgs), _total(place, active, orgs)
    had = users.previous > 0
    other_total = total[place] - users.score * active + np.where(had, users.previous, 0)
    other_count = count[place] - active + had
    mean = total // np.maximum(count, 1)
    return mean[place] - np.where(other_count > 0, other_total // np.maximum(other_count, 1), 0)


def _total(place: Matrix, values: Matrix, orgs: int) -> Matrix:
    # As floats sums are exact here: far below 2⁵³.
    return np.bincount(place, weights=values, minlength=orgs).astype(np.int64)


def movers(users: Sequence[int], effects: Sequence[int]) -> list[tuple[int, int]]:
    """Return who moved the mean most, (user, basis points): up to MOST_MOVERS upwards, then as many downwards.

    Of equals the one known for longer comes first.

    >>> movers([7, 8, 9], [-5, 0, 12])
    [(9, 12), (7, -5)]
    """
    found = [(effect, user) for user, effect in zip(users, effects, strict=True) if effect]
    up = nsmallest(MOST_MOVERS, [(-effect, user) for effect, user in found if effect > 0])
    down = nsmallest(MOST_MOVERS, [(effect, user) for effect, user in found if effect < 0])
    return [(user, -effect) for effect, user in up] + [(user, effect) for effect, user in down]
