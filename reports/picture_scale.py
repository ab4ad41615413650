"""From a figure to its colour, and the ticks of the scale: the same for every picture.

Invariant: every scale can be read with every kind of colour vision (cividis; purple and orange for changes, white in
the middle at no change), and text upon a colour is black or white, whichever stands out more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import AsinhNorm, Colormap, LogNorm, Normalize

from reports.short_text import round_duration, short_count
from reports.week_map import ANSWERED, EVENTS
from state.week_grid import Ratios

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0),
    *(_MINUTE * n for n in (1, 2, 5, 10, 20, 30)),
    *(_HOUR * n for n in (1, 2, 4, 8, 12)),
    *(_DAY * n for n in (1, 2, 4, 7, 14, 30, 60, 120, 240, 365.25, 730.5, 1826.25, 3652.5)),
)
_MOST_TICKS = 9
_LEAST_SECONDS = 0.01  # what is shorter has the colour of this


@dataclass(frozen=True)
class Scale:
    """How figures become colours.

    Attributes:
        ticks: Figures that the colour bar names.
        write: How a tick is written.
    """

    colours: Colormap
    norm: Normalize
    ticks: list[float]
    write: Callable[[float], str]
    label: str

    def colour(self, value: float) -> tuple[float, float, float]:
        """Return red, green and blue, each 0–1, of a figure."""
        red, green, blue, _ = self.colours(float(self.norm(value)))
        return float(red), float(green), float(blue)


def ink_on(colour: tuple[float, float, float]) -> str:
    """Return black or white, whichever has more contrast upon *colour* (by WCAG 2).

    >>> ink_on((1.0, 1.0, 0.4)), ink_on((0.0, 0.1, 0.3))
    ('#000000', '#ffffff')
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


def scale_of(values: Ratios, show: str) -> Scale:
    """Return the scale of a map or of several: *values* (shape n) are all figures that are drawn by it."""
    if show == EVENTS:
        top = float(values.max()) if len(values) else 1.0
        norm = Normalize(0, top)
        return Scale(_cividis(), norm, _count_ticks(top), lambda v: short_count(round(v)), "in that hour, all together")
    if show == ANSWERED:
        ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
        return Scale(_cividis(), Normalize(0, 1, clip=True), ticks, lambda v: f"{v:.0%}", "share answered")
    known = np.maximum(values, _LEAST_SECONDS) if len(values) else np.array([1.0, 60.0])
    low, high = float(known.min()), float(known.max())
    if high < low * 2:  # a week of nearly one figure has the middle of the scale
        low, high = low / 1.5, high * 1.5
    ticks = _thinned([step for step in _STEPS if low <= step <= high]) or [low, high]
    return Scale(_cividis(), LogNorm(low, high, clip=True), ticks, round_duration, "dark is fast, bright is slow")


def change_scale(seconds: Ratios) -> Scale:
    """Return the scale of changes (shape n, in seconds): even on both sides of none."""
    size = np.abs(seconds)
    top = max(float(size.max()), 1.0) if len(size) else 1.0
    linear = min(max(float(np.median(size)) / 2, top / 200) if len(size) else 1.0, top)
    norm = AsinhNorm(linear, -top, top)
    steps = [step for step in _STEPS if linear / 2 <= step <= top]
    steps = [s for s in _thinned(steps, 4) if float(norm(s)) > 0.57]
    ticks = [-step for step in reversed(steps)] + [0.0, *steps]
    return Scale(matplotlib.colormaps["PuOr_r"], norm, ticks, _signed, "purple is faster, orange is slower")


def _signed(seconds: float) -> str:
    return f"{'−' if seconds < 0 else '+' if seconds else '±'}{round_duration(abs(seconds)) if seconds else 0}"


def _cividis() -> Colormap:
    return matplotlib.colormaps["cividis"]


def _count_ticks(top: float) -> list[float]:
    step = 10 ** np.floor(np.log10(max(top, 1) / 2))
    step = next(float(step * n) for n in (1, 2, 5, 10) if top / (step * n) <= 6)
    return [step * n for n in range(int(top / step) + 1)]


def _thinned(ticks: list[float], most: int = _MOST_TICKS) -> list[float]:
    every = -(-len(ticks) // most)
    return ticks[::-1][:: every or 1][::-1]
