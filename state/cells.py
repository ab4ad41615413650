"""Sparse counters: (subject slot, measure) → integer, in sorted arrays.

Owns one bucket of counts (an hour, a week). Appending is cheap and merging is
amortised: additions wait in a tail that is merged into the sorted base when it
has grown as large as the base. A bucket that is over is squeezed: its base is
kept compressed until somebody looks into it. Invariant: a bucket's content is
the sum of all that was added, whatever the order.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import decode, encode, packed, unpacked

Keys = NDArray[np.uint64]
Counts = NDArray[np.int64]

_EDGES = ((np.int8, 1 << 7), (np.int16, 1 << 15), (np.int32, 1 << 31))
_SMALLEST_TAIL = 4096
_LEVEL = 1  # of zlib: a third of the time of the usual one, and few per cent larger
_MOST_PIECES = 128  # of the tail: each array costs a hundred bytes besides what it holds


def sum_by_key(keys: Keys, values: Counts) -> tuple[Keys, Counts]:
    """Return the distinct *keys*, ascending, and the sum of their *values*."""
    if len(keys) < 2:
        return keys, values
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(values, starts)


class Cells:
    """One bucket: key (uint64, slot × measures + measure) → count or sum (int64)."""

    __slots__ = ("_keys", "_size", "_squeezed", "_tail", "_tail_size", "_values")
    _KIND: type[np.uint32] | type[np.uint64] = np.uint32

    def __init__(self, keys: NDArray[Any] | None = None, values: Counts | None = None) -> None:
        # Kept narrow: 4 bytes a key, and as many bytes a value as the largest needs.
        self._keys: NDArray[Any] = np.empty(0, self._KIND) if keys is None else keys.astype(self._KIND)
        self._values = narrow(np.empty(0, np.int64) if values is None else values)
        self._size = len(self._keys)
        self._squeezed: bytes | None = None  # keys and values, while `_keys` and `_values` are empty
        self._tail: list[tuple[NDArray[Any], NDArray[np.int64]]] = []
        self._tail_size = 0

    def add(self, keys: Keys, values: Counts) -> None:
        """Add *values* (int64) at *keys*, both of shape n."""
        self._tail.append((keys.astype(self._KIND), narrow(values)))
        self._tail_size += len(keys)
        if self._tail_size > max(_SMALLEST_TAIL, self._size):
            self.merge()
        elif len(self._tail) > _MOST_PIECES:
            keys, values = self._summed([])
            self._tail, self._tail_size = [(keys.astype(self._KIND), narrow(values))], len(keys)

    def merge(self) -> None:
        """Sort the tail into the base; cells that came to zero vanish."""
        if self._squeezed is not None:
            (self._keys, self._values), self._squeezed = self._base(), None
        if not self._tail:
            return
        merged, sums = self._summed([(self._keys, self._values)])
        kept = sums != 0
        self._keys, self._values = merged[kept].astype(self._KIND), narrow(sums[kept])
        self._size = len(self._keys)
        self._tail, self._tail_size = [], 0

    def squeeze(self) -> None:
        """Keep everything compressed until it is changed or looked into; harmless when it is already."""
        if self._squeezed is not None and not self._tail:
            return
        self.merge()
        if self._size:
            steps = np.diff(self._keys.astype(np.int64), prepend=0)
            raw = encode([packed(_narrowest(steps)), packed(self._values)])
            self._squeezed = zlib.compress(raw, _LEVEL)
            self._keys, self._values = self._keys[:0].copy(), self._values[:0].copy()

    def columns(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return keys (ascending) and values of all non-zero cells, both as narrow as they are kept."""
        if self._tail or self._squeezed is None:
            self.merge()
        return self._base()

    def read(self) -> tuple[Keys, Counts]:
        """Return keys (ascending) and values of all non-zero cells."""
        keys, values = self.columns()
        return keys.astype(np.uint64), values.astype(np.int64)

    def _base(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return keys and values of the base, squeezed or not."""
        if self._squeezed is None:
            return self._keys, self._values
        steps, values = (unpacked(each) for each in decode(zlib.decompress(self._squeezed)))
        return np.cumsum(steps, dtype=np.int64).astype(self._KIND), values

    def _summed(self, base: list[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[Keys, Counts]:
        """Return the distinct keys of *base* and the tail, ascending, and the sums of their values."""
        keys, values = zip(*base, *self._tail, strict=True)
        return sum_by_key(
            np.concatenate(keys).astype(np.uint64), np.concatenate([some.astype(np.int64) for some in values])
        )

    def find(self, keys: Keys) -> Counts:
        """Return the values at *keys* (shape n), 0 where there is no cell."""
        self.merge()
        if not len(self._keys):
            return np.zeros(len(keys), np.int64)
        at = np.minimum(np.searchsorted(self._keys, keys.astype(self._KIND)), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._values[at], 0).astype(np.int64)

    def between(self, starts: Counts, stops: Counts) -> tuple[Counts, Counts, Counts]:
        """Return the cells of n ranges of keys: which range each is in (0 … n−1), its key and its value.

        A range holds its start and not its stop. Looking up a few ranges does not touch the rest.
        """
        self.merge()
        first, last = (np.searchsorted(self._keys, edges.astype(self._KIND)) for edges in (starts, stops))
        sizes = last - first
        at = np.arange(int(sizes.sum())) + np.repeat(first - np.cumsum(sizes) + sizes, sizes)
        where = np.repeat(np.arange(len(starts)), sizes)
        return where, self._keys[at].astype(np.int64), self._values[at].astype(np.int64)

    def take(self, start: int, stop: int) -> tuple[Keys, Counts]:
        """Remove the cells with keys from *start* to before *stop*; return their keys (ascending) and values."""
        self.merge()
        keys, values = self.read()
        here = (keys >= np.uint64(start)) & (keys < np.uint64(stop))
        if here.any():
            self._keys, self._values = keys[~here].astype(self._KIND), narrow(values[~here])
            self._size = len(self._keys)
        return keys[here], values[here]

    def __len__(self) -> int:
        return self._size + self._tail_size

    @property
    def size_bytes(self) -> int:
        """Memory held by the arrays, in bytes."""
        tail = sum(k.nbytes + v.nbytes for k, v in self._tail)
        return self._keys.nbytes + self._values.nbytes + len(self._squeezed or b"") + tail


def _narrowest(steps: NDArray[Any]) -> NDArray[Any]:
    """Return *steps*, none below zero, in the narrowest unsigned type that holds them all."""
    return steps.astype(np.min_scalar_type(int(steps.max(initial=0))))


class WideCells(Cells):
    """The same with keys of 8 bytes."""

    __slots__ = ()
    _KIND = np.uint64


def narrow(values: Counts) -> NDArray[np.int64]:
    """Return *values* in the narrowest signed type that holds them all (typed as int64 for callers)."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for kind, edge in _EDGES:
        if -edge <= low and high < edge:
            return values.astype(kind)
    return values.astype(np.int64)
