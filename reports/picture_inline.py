"""Pictures inside a document: colours from its style sheet, names that no other picture has.

Invariant: what is drawn in one of the five inks takes its colour from the page, so one picture is right in light and
dark; equal figures give equal text.
"""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.picture_files import svg
from reports.pictures import drawing

INK, SOFT, LINE, BLUE, ORANGE = "#0a0b0c", "#0b0c0d", "#0c0d0e", "#0d0e0f", "#0e0f10"
"""Stand for the page's colours: text, quiet text, grid lines, first and second series (told apart with every kind of
colour vision, and by shape or hatching too)."""
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", BLUE: "--first", ORANGE: "--second"}
_INKS = re.compile("|".join(_VARIABLES))
_OPENING = re.compile(r"<\?xml[^>]*\?>\s*|<!DOCTYPE[^>]*>\s*")
_NAMES = re.compile(r'(\bid="|="#|url\(#)(?=[A-Za-z_])')
_LABELS = re.compile(r'aria-labelledby="([^"]*)"')
WIDTH = 8.6
"""Inches."""


def sheet(height: float, panels: int = 1, widths: tuple[float, ...] | None = None) -> tuple[Figure, list[Axes]]:
    """Return a figure without ground and its axes side by side; call it, and all drawing, within `drawing()`."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    found: Any = figure.subplots(1, panels, squeeze=False, width_ratios=widths)
    for axes in found[0]:
        dress(axes)
    return figure, list(found[0])


def dress(axes: Axes) -> None:
    """Give *axes* the looks of all: quiet lines, texts in the page's colours."""
    axes.patch.set_alpha(0.0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=SOFT, which="both", labelsize=9)
    axes.grid(color=LINE, linewidth=0.6)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(SOFT)
        text.set_fontsize(9)
    axes.title.set_color(INK)


def headline(axes: Axes, text: str) -> None:
    """Write what *axes* show above them."""
    axes.set_title(text, loc="left", fontsize=10, color=INK)


def key(axes: Axes, **options: Any) -> None:
    """Draw the legend."""
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, **options)


def document(figure: Figure, title: str, description: str) -> str:
    """Return the figure as an SVG document in the inks; `inline` makes it a part of a page."""
    with drawing():
        return svg(figure, title, description)


def inline(document_text: str, name: str) -> str:
    """Return an SVG document as an element of a page, all of its names beginning with *name*."""
    text = _OPENING.sub("", document_text)
    text = _INKS.sub(lambda ink: f"var({_VARIABLES[ink[0]]})", text)
    text = _NAMES.sub(lambda found: f"{found[1]}{name}-", text)
    return _LABELS.sub(lambda found: f'aria-labelledby="{_prefixed(found[1], name)}"', text)


def _prefixed(names: str, prefix: str) -> str:
    return " ".join(f"{prefix}-{one}" for one in names.split())


def named(document_text: str, title: str) -> str:
    """Return an SVG document that tells its *title* to those who can't see it, if it says nothing of itself yet."""
    if 'role="img"' in document_text:
        return document_text
    return document_text.replace("<svg ", f'<svg role="img" aria-label="{escape(title, {chr(34): "&quot;"})}" ', 1)
