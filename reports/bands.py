"""Bands of values.

Invariant: bands are half-open, open below and closed above, and cover every value from 0 on, so each value belongs to
exactly one; for whole numbers they are what their names say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bands:
    """Bands up to each of *tops*, included, and one over the last.

    >>> ACTIVITY.of([1, 10.0, 10.01, 50, 51]).tolist()
    [0, 0, 1, 4, 5]
    """

    names: tuple[str, ...]
    tops: tuple[int, ...]

    def of(self, values: Any) -> NDArray[np.int64]:
        """Return the number of the band of each of *values* (shape n)."""
        return np.searchsorted(np.array(self.tops, np.float64), np.asarray(values, np.float64), side="left").astype(
            np.int64
        )


ACTIVITY = Bands(("1–10", "11–20", "21–30", "31–40", "41–50", "over 50"), (10, 20, 30, 40, 50))
"""Activities: of a user in all, or the mean of a user's weeks (10.0 is in the first, 10.5 in the second)."""
ACTIVE_USERS = Bands(("0–1", "2–4", "5–7", "8–10", "11+"), (1, 4, 7, 10))
