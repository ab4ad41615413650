"""Tables of a report: a frame, what it means, and how its cells are written.

Owns the spelling of figures. Invariant: what is not known is a dash, never "nan" and never zero; frames keep full
precision, only texts are rounded.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

UNKNOWN = "–"
TEXT, WHOLE, NUMBER, CENTS, RATIO, SHARE, BY_UNIT = "text", "whole", "number", "cents", "ratio", "share", "by_unit"
"""How a column is written: as it is; 1,234; 1,234.57; cents as 1,234.57; 0.123; as a percentage; by the row's
`unit`."""

Draw = Callable[[], str]
"""Returns a picture as an SVG document."""


@dataclass(frozen=True)
class Column:
    """A column as it is shown.

    Attributes:
        name: Of the frame's column.
        title: Above it.
        kind: How its values are written.
        upper: The frame's column with the other end, if this is an interval.
    """

    name: str
    title: str
    kind: str = TEXT
    upper: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it is set to the right."""
        return self.kind != TEXT


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: Of its files and its place in the document: letters, digits and `-`.
        definition: What it says and how it is computed.
        frame: All of it, at full precision; every column has its unit in its name or its definition.
        columns: Those that are shown.
        notes: What must be known of these figures in particular, such as why there are none.
        shown: How many rows the document shows; None = all. The files have all.
        pictures: Drawn when the document is made.
    """

    name: str
    title: str
    definition: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    shown: int | None = None
    pictures: tuple[Draw, ...] = ()

    @property
    def head(self) -> pd.DataFrame:
        """The rows that are shown."""
        return self.frame if self.shown is None else self.frame.head(self.shown)

    def texts(self, rows: int | None = None) -> list[list[str]]:
        """Return the cells of the shown rows (at most *rows*) as texts."""
        head = self.head if rows is None else self.head.head(rows)
        return [[cell_text(row, column) for column in self.columns] for row in head.to_dict("records")]


def drawn_by(place: str, *values: Any) -> Draw:
    """Return what draws *values* by `module.function` of `reports`; the module, with Matplotlib, loads only then."""
    return partial(_draw, place, *values)


def _draw(place: str, *values: Any) -> str:
    module, _, function = place.partition(".")
    return str(getattr(importlib.import_module(f"reports.{module}"), function)(*values))


@dataclass(frozen=True)
class Section:
    """Tables that belong together."""

    name: str
    title: str
    lead: str
    tables: tuple[Table, ...]


def cell_text(row: dict[Any, Any], column: Column) -> str:
    """Return the cell of a row.

    >>> cell_text({"low": -0.5, "high": 0.25}, Column("low", "95 %", RATIO, "high"))
    '-0.500 to 0.250'
    >>> cell_text({"low": float("nan"), "high": 1.0}, Column("low", "95 %", RATIO, "high"))
    '–'
    """
    kind = row["unit"] if column.kind == BY_UNIT else column.kind
    if not column.upper:
        return value_text(row[column.name], kind)
    ends = [value_text(row[name], kind) for name in (column.name, column.upper)]
    return UNKNOWN if UNKNOWN in ends else " to ".join(ends)


def value_text(value: Any, kind: str) -> str:
    """Return a value as it is written.

    >>> [value_text(v, k) for v, k in ((1234, WHOLE), (1234.5, NUMBER), (-5, CENTS), (0.5, SHARE), (None, RATIO))]
    ['1,234', '1,234.50', '-0.05', '50.0 %', '–']
    """
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    if kind == TEXT:
        return str(value)
    if kind == WHOLE:
        return f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
    if kind == CENTS and not isinstance(value, float):
        units, cents = divmod(abs(int(value)), 100)  # whole cents exactly, however many
        return f"{'-' if value < 0 else ''}{units:,}.{cents:02d}"
    if kind == CENTS:
        return _signless(f"{value / 100:,.2f}")
    if kind == SHARE:
        return f"{100 * value:.1f} %"
    return _signless(f"{value:,.2f}" if kind == NUMBER else f"{value:.3f}")


def _signless(text: str) -> str:
    """Return a number without the sign of a rounded zero."""
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text


def empty(columns: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return a frame without rows, with (name, dtype) columns."""
    return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in columns})
