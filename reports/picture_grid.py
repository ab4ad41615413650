"""The parts of a picture: the paper, the cells, the lines of text around them, the colour bar.

Owns sizes and places. Invariant: every cell of every map is a rectangle named `cell-…`, and what is written in it is a
text named `text-…`; so a picture can be read back by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from reports.picture_scale import Scale, ink_on
from reports.week_map import WEEKDAYS
from state.week import cell_name

INK, FAINT, HATCH = "#1a1a1a", "#555555", "#9a9a9a"
NO_DATA_HATCH, BEFORE_HATCH, AFTER_HATCH = "////", "....", "++"
HEAD_INCHES, FOOT_INCHES, LEFT_INCHES, RIGHT_INCHES = 1.62, 1.05, 0.85, 0.3
_LETTER_INCHES = 0.088  # an average letter of the legend, with some room


@dataclass(frozen=True)
class Cell:
    """One rectangle of a map.

    Attributes:
        value: What its colour is of; None = hatched.
        lines: What is written in it, the main thing first.
        marked: Whether it has a frame.
    """

    value: float | None
    lines: tuple[str, ...] = ()
    marked: bool = False
    hatch: str = NO_DATA_HATCH


@dataclass(frozen=True)
class Layout:
    """Where cells lie: hours run to the right, or, `upright`, downwards."""

    upright: bool = False
    name: str = ""
    big: float = 13.0
    small: float = 8.0

    def place(self, hour: int) -> tuple[int, int]:
        """Return column and row of an hour of the week."""
        day, clock = divmod(hour, 24)
        return (day, clock) if self.upright else (clock, day)

    def gid(self, kind: str, hour: int) -> str:
        """Return the name of a part of a cell."""
        return "-".join(part for part in (kind, self.name, cell_name(hour)) if part)


def paper(width: float, height: float) -> Figure:
    """Return an empty white sheet, in inches."""
    return Figure(figsize=(width, height), facecolor="white")


def add_axes(figure: Figure, left: float, width: float, head: float = HEAD_INCHES) -> Axes:
    """Return the space for a map, *left* and *width* in inches, as high as *head* and foot leave."""
    total_width, total_height = figure.get_size_inches()
    height = total_height - head - FOOT_INCHES
    place = (left / total_width, FOOT_INCHES / total_height, width / total_width, height / total_height)
    return figure.add_axes(place)


def draw_cells(axes: Axes, cells: Sequence[Cell], scale: Scale, layout: Layout) -> None:
    """Draw 168 cells and the names of days and hours."""
    _frame(axes, layout)
    for hour, cell in enumerate(cells):
        column, row = layout.place(hour)
        look: dict[str, Any] = {"facecolor": "white", "edgecolor": HATCH, "hatch": cell.hatch, "linewidth": 0}
        ink = INK
        if cell.value is not None:
            colour = scale.colour(cell.value)
            ink, look = ink_on(colour), {"facecolor": colour, "edgecolor": "white", "linewidth": 0.8}
        box = Rectangle((column, row), 1, 1, **look)
        box.set_gid(layout.gid("cell" if cell.value is not None else "hatched", hour))
        axes.add_patch(box)
        if cell.marked:
            _mark(axes, column, row, ink, layout.gid("mark", hour))
        _write(axes, cell, (column, row), ink, layout, hour)


def _frame(axes: Axes, layout: Layout) -> None:
    across, down = (7, 24) if layout.upright else (24, 7)
    axes.set_xlim(0, across)
    axes.set_ylim(down, 0)
    days, hours = list(WEEKDAYS), [f"{hour:02d}" for hour in range(24)]
    axes.set_xticks(np.arange(across) + 0.5, days if layout.upright else hours, fontsize=11.5, color=INK)
    axes.set_yticks(np.arange(down) + 0.5, hours if layout.upright else days, fontsize=11.5, color=INK)
    axes.tick_params(length=0, pad=5, labeltop=True, labelbottom=False, top=False, bottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _mark(axes: Axes, column: int, row: int, ink: str, gid: str) -> None:
    frame = Rectangle((column + 0.045, row + 0.045), 0.91, 0.91, fill=False, edgecolor=ink, linewidth=1.8)
    frame.set_gid(gid)
    axes.add_patch(frame)


def _write(axes: Axes, cell: Cell, place: tuple[int, int], ink: str, layout: Layout, hour: int) -> None:
    spread = 0.22 if sum(map(bool, cell.lines)) > 1 else 0.0
    for number, line in enumerate(cell.lines):
        if not line:
            continue
        kind = "text" if number == 0 else "count"
        main = number == 0 and cell.value is not None
        size = layout.big if main else layout.small
        below = spread * (1 if number else -0.55)
        text = axes.text(place[0] + 0.5, place[1] + 0.5 + below, line, fontsize=size, color=ink)
        text.set(ha="center", va="center_baseline", weight="bold" if main and cell.marked else "normal")
        text.set_gid(layout.gid(kind, hour))
        if cell.value is None:  # hatching behind letters would make them hard to read
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.2})


def draw_head(figure: Figure, name: str, lines: Sequence[str]) -> None:
    """Write the title: a *name* of its own line, so that its direction of writing touches nothing, and *lines*."""
    width, height = figure.get_size_inches()
    size = _fitting(name, 22, width - 0.6, "bold")
    title = figure.text(0.3 / width, 1 - 0.45 / height, name, fontsize=size, weight="bold", color=INK)
    title.set_gid("title")
    for number, line in enumerate(lines):
        size = _fitting(line, 13, width - 0.6)
        text = figure.text(0.3 / width, 1 - (0.76 + 0.28 * number) / height, line, fontsize=size, color=INK)
        text.set_gid(f"subtitle-{number + 1}")


def _fitting(line: str, size: float, inches: float, weight: str = "normal") -> float:
    """Return a size of letters, at most *size*, by which a line is no longer than *inches*, with some room."""
    letters = FontProperties(family=["DejaVu Sans"], weight=weight)
    length = float(TextPath((0, 0), line, size=size, prop=letters).get_extents().width) / 72 if line.strip() else 0.0
    return size if length <= 0.94 * inches else size * 0.94 * inches / length


def draw_bar(figure: Figure, scale: Scale, left: float) -> None:
    """Draw the colour bar, *left* in inches."""
    width, height = figure.get_size_inches()
    size = min(5.6, width - left - 0.6)
    bar = figure.add_axes((left / width, 0.48 / height, size / width, 0.2 / height))
    drawn = figure.colorbar(ScalarMappable(scale.norm, scale.colours), cax=bar, orientation="horizontal")
    drawn.set_ticks(scale.ticks, labels=[scale.write(tick) for tick in scale.ticks], minor=False)
    bar.minorticks_off()
    bar.tick_params(length=3, labelsize=10.5, labelcolor=INK)
    for spine in drawn.ax.spines.values():
        spine.set_visible(False)
    figure.text(left / width, 0.76 / height, scale.label, fontsize=10.5, color=FAINT)


@dataclass(frozen=True)
class Sign:
    """An entry of the legend: a hatched or framed box, and what it says."""

    text: str
    hatch: str = ""
    framed: bool = False

    @property
    def is_boxed(self) -> bool:
        """Whether a box stands before the text."""
        return self.framed or bool(self.hatch)


def draw_legend(figure: Figure, signs: Sequence[Sign]) -> None:
    """Draw the legend at the left of the foot, two entries in a column."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, FOOT_INCHES / height))
    axes.set(xlim=(0, width), ylim=(0, FOOT_INCHES))
    axes.set_axis_off()
    left = LEFT_INCHES
    for number in range(0, len(signs), 2):
        pair = signs[number : number + 2]
        boxed = 0.54 if any(sign.is_boxed for sign in pair) else 0.0
        for row, sign in enumerate(pair):
            _draw_sign(axes, sign, (left, 0.6 - 0.4 * row))
        left += boxed + 0.3 + _LETTER_INCHES * max(len(sign.text) for sign in pair)


def _draw_sign(axes: Axes, sign: Sign, place: tuple[float, float]) -> None:
    if sign.is_boxed:
        edge = INK if sign.framed else HATCH
        box = Rectangle(place, 0.42, 0.27, facecolor="white", edgecolor=edge, hatch=sign.hatch or None)
        box.set_linewidth(1.8 if sign.framed else 0.6)
        axes.add_patch(box)
    left = place[0] + (0.54 if sign.is_boxed else 0)
    axes.text(left, place[1] + 0.135, sign.text, fontsize=10.5, va="center", color=INK)
