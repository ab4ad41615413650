"""Why a score is another one than at the last week's close: what its causes changed, and which users moved an org.

Owns the split of a change. Invariant: the four parts add up to the change exactly, because one of them is what the
others leave.

    population      others moved the cut points: what each new set of them changed, added up when it came
    configuration   another model was loaded: what that changed, when it was loaded
    membership      of an org: other users are active, or belong to it; the rest
    own             what the same users did otherwise; of a user: the rest
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from state.health import Matrix

OWN, POPULATION, MEMBERSHIP, CONFIGURATION = range(4)
CAUSES = ("own", "population", "membership", "configuration")
MOST_MOVERS = 3
"""Users named in each direction."""


def split_of_user(change: int, population: int, configuration: int) -> list[int]:
    """Return the parts (basis points, in the order of CAUSES) of a user's *change*.

    >>> split_of_user(500, -200, 0)
    [700, -200, 0, 0]
    """
    return [change - population - configuration, population, 0, configuration]


def split_of_org(change: int, score: Matrix, previous: Matrix, population: Matrix, configuration: Matrix) -> list[int]:
    """Return the parts (basis points, in the order of CAUSES) of the *change* of an org's mean over active users.

    Args:
        change: Of the mean, basis points.
        score: Of the users active now, shape (n,).
        previous: Theirs at the last week's close; who had none then (0 or less) came since.
        population: What new cut points changed of each since then.
        configuration: What another model changed of each since then.
    """
    n = max(1, len(score))
    stayed = previous > 0
    own = int((score - previous - population - configuration)[stayed].sum()) // n
    moved, loaded = int(population.sum()) // n, int(configuration.sum()) // n
    return [own, moved, change - own - moved - loaded, loaded]


def effects_of_users(score: Matrix, previous: Matrix, active: NDArray[np.bool_]) -> Matrix:
    """Return what each of an org's users did to its mean over active users since the last week's close.

    It is the mean as it is, less the mean as it would be had this user alone stayed as at the close: with the former
    score, not active where there was none, and still active where there was one. Whole basis points, rounded down
    like the mean itself. Shape (n,), as all arguments; *previous* is 0 or less where there was no score.
    """
    total, count = int(score[active].sum()), int(active.sum())
    had = previous > 0
    other_total = total - np.where(active, score, 0) + np.where(had, previous, 0)
    other_count = count - active + had
    mean = total // count if count else 0
    return mean - np.where(other_count > 0, other_total // np.maximum(other_count, 1), 0)


def movers(users: Sequence[int], effects: Matrix) -> list[tuple[int, int]]:
    """Return who moved the mean most, (user, basis points): up to MOST_MOVERS upwards, then as many downwards.

    Of equals the one known for longer comes first.

    >>> movers([7, 8, 9], np.array([-5, 0, 12]))
    [(9, 12), (7, -5)]
    """
    order = np.argsort(-effects, kind="stable").tolist()
    up = [at for at in order[:MOST_MOVERS] if effects[at] > 0]
    down = [at for at in np.argsort(effects, kind="stable").tolist()[:MOST_MOVERS] if effects[at] < 0]
    return [(users[at], int(effects[at])) for at in (*up, *down)]
