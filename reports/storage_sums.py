"""Adds up and lists by place: what each user, node or wallet has.

Invariant: a sum is exact, or refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from reports.storage_tables import StorageError

Ints = NDArray[np.int64]


def places_of(values: pd.Series, among: pd.Index) -> Ints:
    """Return where each of *values* (categories) stands in *among*; −1 = nowhere, or it is nothing.

    >>> places_of(pd.Series(["b", None, "x"], dtype="category"), pd.Index(["a", "b"])).tolist()
    [1, -1, -1]
    """
    at = np.append(among.get_indexer(pd.Index(values.cat.categories, dtype="str")), -1)
    found: Ints = at[values.cat.codes.to_numpy()].astype(np.int64)
    return found


def exact_sums(places: Ints, values: Ints, size: int) -> Ints:
    """Return the sum of *values* (each below 2^60 in size) at each of *size* places, exactly.

    Raises:
        StorageError: If a sum might not fit into 64 bits.

    >>> exact_sums(np.array([0, 0, 2]), np.array([2**59, 1, 7]), 3).tolist() == [2**59 + 1, 0, 7]
    True
    """
    sums, high = np.zeros(size, np.int64), np.zeros(size, np.int64)
    np.add.at(sums, places, values)
    # The upper halves can't overflow; what they leave out is less than one each.
    np.add.at(high, places, values >> 32)
    count: Any = np.bincount(places, minlength=size)
    _check((np.abs(high) + count) < 1 << 30)
    return sums


def added(sums: Ints) -> Ints:
    """Return sums along the last axis, exactly."""
    _check((np.abs(sums) >> 32).sum(axis=-1) + sums.shape[-1] < 1 << 30)
    found: Ints = sums.sum(axis=-1)
    return found


def _check(fits: Any) -> None:
    if not np.all(fits):
        raise StorageError(
            "bytes or amounts of one user, node or wallet add up to more than 2^62",
            "The export is damaged: look for rows with huge numbers, and export them again",
        )


def lists_of(places: Any, values: Ints, size: int, kind: Any, *, every_one: bool = False) -> Any:
    """Return a list for each of *size* places: its values in order, each once unless *every_one* is wanted."""
    order = np.lexsort((values, places))
    places, values = places[order], values[order]
    if not every_one and len(values):
        new = np.concatenate([[True], (np.diff(places) != 0) | (np.diff(values) != 0)])
        places, values = places[new], values[new]
    offsets: Any = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=size))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.int64()).cast(kind))
