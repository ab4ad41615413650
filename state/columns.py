"""Whole numbers by row and column, each column as narrow as its own numbers are.

Owns the totals of the rolling week: most measures are never seen, and most counts of a week fit into a byte. Invariant:
what is read is what was added, exactly; how wide a column is depends on nothing but that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import grown

Numbers = NDArray[np.int64]
_KINDS = ((np.int8, 1), (np.int16, 2), (np.int32, 4), (np.int64, 8))


class NarrowColumns:
    """A table of integers, at most 256 columns, zero at first; a column takes room when something is added to it."""

    def __init__(self, columns: int) -> None:
        self._columns: list[NDArray[Any]] = [np.zeros(0, np.int8) for _ in range(columns)]
        self._rows = 0
        self._nothing = np.zeros(0, np.int8)  # zeros that share one byte

    def grow(self, rows: int) -> None:
        """Make room for *rows* rows."""
        if rows <= self._rows:
            return
        self._rows, self._nothing = rows, np.broadcast_to(np.zeros(1, np.int8), rows)
        for i, column in enumerate(self._columns):
            if len(column):
                self._columns[i] = grown(column, rows)

    def add(self, rows: Numbers, columns: Numbers, values: Numbers) -> None:
        """Add *values* at (row, column), distinct pairs, all of shape n.

        >>> table = NarrowColumns(3)
        >>> table.grow(2)
        >>> table.add(np.array([0, 1]), np.array([2, 2]), np.array([5, 300]))
        >>> table.take(np.array([1, 0])).tolist()
        [[0, 0, 300], [0, 0, 5]]
        """
        if not len(rows):
            return
        order = np.argsort(columns.astype(np.uint8), kind="stable")  # of bytes a sort is one pass
        rows, columns, values = rows[order], columns[order], values[order]
        edges = np.flatnonzero(np.diff(columns, prepend=-1)).tolist()
        for first, end in zip(edges, [*edges[1:], len(columns)], strict=True):
            number, here = int(columns[first]), rows[first:end]
            column = self._columns[number]
            if not len(column):
                column = grown(column, self._rows)
            sums = column[here].astype(np.int64) + values[first:end]
            self._columns[number] = column = _wide_enough(column, int(sums.min()), int(sums.max()))
            column[here] = sums

    def clear(self, row: int) -> None:
        """Let *row* be zero in every column."""
        for column in self._columns:
            if len(column):
                column[row] = 0

    def take(self, rows: Numbers) -> NDArray[Any]:
        """Return the numbers of *rows*, shape (n, columns), whole columns together in memory."""
        wide = any(column.itemsize > 4 for column in self._columns)
        found = np.zeros((len(rows), len(self._columns)), np.int64 if wide else np.int32, order="F")
        for i, column in enumerate(self._columns):
            if len(column):
                found[:, i] = column[rows]
        return found

    def sums(self, rows: Numbers, of: NDArray[np.bool_]) -> Numbers:
        """Return the sum over the columns where *of* is true of each of *rows*, shape (n,)."""
        found = np.zeros(len(rows), np.int64)
        for column, wanted in zip(self._columns, of.tolist(), strict=True):
            if wanted and len(column):
                found += column[rows]
        return found

    def column(self, number: int) -> NDArray[Any]:
        """Return one column, at least as long as there are rows; it is only to be read."""
        found = self._columns[number]
        return found if len(found) else self._nothing

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(column.nbytes for column in self._columns)


def _wide_enough(column: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    """Return *column* in the narrowest type, but none narrower than its own, that holds *low* and *high*."""
    for kind, width in _KINDS:
        if width >= column.itemsize and -(1 << 8 * width - 1) <= low and high < 1 << 8 * width - 1:
            return column if width == column.itemsize else column.astype(kind)
    raise OverflowError(f"{low} or {high} is beyond 64 bits")
