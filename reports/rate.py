"""How fast messages come: the derivative of a smoothing spline through the cumulative curve.

    messages so far                        messages per minute
             ╭───  natural cubic spline,          ╭╮
         ╭───╯     knots at the windows'   ──►   ╭╯╰╮
    ─────╯         edges                   ──────╯  ╰───

Owns that spline. The penalty on its bending is fixed, in units of windows, so the rate at one moment depends on the
windows around it alone: a swing of an hour keeps half of its height, one of three hours 98 %, one of eight hours
all but a thousandth. Fitting the penalty to the data (cross-validation) would not do: the errors of a cumulative curve
are not independent. Beside a lone burst the slope would be a little negative; it is cut off at zero, so such a burst
seems up to 8 % larger. Invariant: a rate is never negative, and the same windows give the same rates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 600
FEWEST_POINTS = 5
"""With fewer edges of windows there is no spline: the rate is the plain difference, window by window."""
PENALTY = 1.0
"""λ: of a swing of period p windows, 1 / (1 + λ (2π/p)⁴) is left."""
REACH_WINDOWS = 36
"""Windows further away change a rate by less than a millionth of their messages."""
_WINDOW_MINUTES = WINDOW_SECONDS / 60

Floats = NDArray[np.float64]


class CumulativeCurve:
    """The messages of windows, added up, and how fast they come."""

    def __init__(self, windows: Sequence[tuple[int, int]]) -> None:
        """Take windows as (number of ten minutes since the epoch, messages); those between that are not named are 0.

        Raises:
            ValueError: If a window is named twice.
        """
        counts = dict(windows)
        if len(counts) < len(windows):
            raise ValueError("a window is there twice")
        self._first = min(counts, default=0)
        size = max(counts) + 1 - self._first if counts else 0
        per_window = np.zeros(size)
        for window, messages in counts.items():
            per_window[window - self._first] = messages
        self._per_window = per_window
        self._total = np.concatenate(([0.0], np.cumsum(per_window)))
        self.smoothed = size + 1 >= FEWEST_POINTS
        """Whether there are points enough for a spline."""
        self._spline, self.slope = self._fitted() if self.smoothed else (self._line, self._difference)

    @property
    def edges(self) -> Floats:
        """Return the edges of the windows (seconds since the epoch), shape (windows + 1,)."""
        return (self._first + np.arange(len(self._total), dtype=np.float64)) * WINDOW_SECONDS

    @property
    def totals(self) -> Floats:
        """Return the messages until each of the edges."""
        return self._total

    def messages(self, times: Floats) -> Floats:
        """Return the smooth cumulative curve at *times* (seconds since the epoch); flat outside of the windows."""
        places = np.clip(self._places(times), 0.0, float(len(self._per_window)))
        return self._spline(places) if len(self._per_window) else np.zeros(len(places))

    def per_minute(self, times: Floats) -> Floats:
        """Return messages per minute at *times* (seconds since the epoch); 0 outside of the windows."""
        places = self._places(times)
        inside = (places >= 0) & (places <= len(self._per_window)) & (len(self._per_window) > 0)
        found = np.zeros(len(places))
        found[inside] = np.maximum(self.slope(places[inside]), 0.0) / _WINDOW_MINUTES
        return found

    def _places(self, times: Floats) -> Floats:
        return np.asarray(times, np.float64) / WINDOW_SECONDS - self._first

    def _fitted(self) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
        # SciPy takes longer to load than all else together; who reads no rates should not wait for it.
        from scipy.interpolate import make_smoothing_spline

        spline = make_smoothing_spline(np.arange(len(self._total), dtype=np.float64), self._total, lam=PENALTY)
        return spline, spline.derivative()

    def _line(self, places: Floats) -> Floats:
        return np.interp(places, np.arange(len(self._total)), self._total)

    def _difference(self, places: Floats) -> Floats:
        last = len(self._per_window) - 1
        return self._per_window[np.clip(np.ceil(places).astype(np.int64) - 1, 0, last)]


def latest_rate(windows: Iterable[tuple[int, int]], whole: int) -> float:
    """Return messages per minute at the end of the last whole window, to three decimals.

    Args:
        windows: Number of ten minutes since the epoch, and messages; those that are not named are 0.
        whole: The number of the last whole window.

    >>> latest_rate([(n, 30) for n in range(50)], 49), latest_rate([], 49)
    (3.0, 0.0)
    """
    weights, first = _latest_weights(), whole - REACH_WINDOWS + 1
    slope = sum(weights[window - first] * messages for window, messages in windows if first <= window <= whole)
    return round(max(slope, 0.0) / _WINDOW_MINUTES, 3)


@lru_cache(maxsize=1)
def _latest_weights() -> list[float]:
    """Return what one message in each of the last windows gives to the slope at their end: the spline is linear.

    By Reinsch's equations, so that a worker need not load SciPy; tests hold the two together.
    """
    size = REACH_WINDOWS + 1
    second = np.zeros((size, size - 2))  # second differences of the values
    for place in range(size - 2):
        second[place : place + 3, place] = (1.0, -2.0, 1.0)
    bends = np.diag(np.full(size - 2, 2 / 3)) + sum(np.diag(np.full(size - 3, 1 / 6), side) for side in (-1, 1))
    to_bends = np.linalg.solve(bends, second.T)  # from values to second derivatives
    smooth = np.linalg.inv(np.eye(size) + PENALTY * second @ to_bends)
    at_end = smooth[-1] - smooth[-2] + (to_bends @ smooth)[-1] / 6
    found: list[float] = np.cumsum(at_end[:0:-1])[::-1].tolist()  # a message counts in all edges after it
    return found
