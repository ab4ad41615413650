"""What pictures of tables have in common: labels, short numbers, scales by powers of ten, words for what they show."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from reports.picture_inline import SOFT
from reports.report_table import value_text

_MOST_LABELS = 12
_NOTHING = "There is nothing to show."


def unless_empty(axes: Axes, count: int) -> bool:
    """Return whether there is something to draw; otherwise say that there is not."""
    if count:
        return True
    axes.set_axis_off()
    axes.text(0.5, 0.5, _NOTHING, transform=axes.transAxes, ha="center", color=SOFT)
    return False


def label_rows(axes: Axes, names: Any) -> None:
    """Name the rows, the first one on top."""
    axes.set_yticks(np.arange(len(names)), [str(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def scale_log(axes: Axes, axis: str) -> None:
    """Give *axis* (x or y) a scale by powers of ten."""
    scaled = axes.xaxis if axis == "x" else axes.yaxis
    getattr(axes, f"set_{axis}scale")("log")
    scaled.set_major_formatter(short_numbers())
    if axis == "x":
        axes.margins(x=0.12)


def short_numbers() -> FuncFormatter:
    """Return what writes the numbers beside an axis."""
    return FuncFormatter(lambda value, _: short_number(value))


def short_number(value: float) -> str:
    """Return a number in about four characters.

    >>> [short_number(v) for v in (0.034, 7, 12.3, 999, 1500, 18382, 4.9e8)]
    ['0.034', '7', '12', '999', '1.5k', '18k', '490M']
    """
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 9.95 * scale:
            return f"{value / scale:.0f}{unit}"
        if value >= scale:
            return f"{value / scale:.1f}".removesuffix(".0") + unit
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.2g}"


def box(corner: tuple[float, float], size: tuple[float, float], colour: str, alpha: float) -> Rectangle:
    """Return a filled rectangle, given its lower left corner, width and height."""
    return Rectangle(corner, *size, facecolor=colour, alpha=alpha, linewidth=0)


def spoken(names: Any, values: Any, what: str = "") -> str:
    """Return the first values in words, for those who can't see the picture."""
    pairs = [f"{name} {what}{value_text(float(v), 'number')}" for name, v in zip(names, values, strict=True)]
    more = f", and {len(pairs) - _MOST_LABELS} more" if len(pairs) > _MOST_LABELS else ""
    return ", ".join(pairs[:_MOST_LABELS]) + more or _NOTHING
