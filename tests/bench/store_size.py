"""Counts the bytes of a shard by part: every array and every Python object that it alone holds.

Invariant: each object counts once, for the part that is looked at first; what all shards share (the model, classes,
functions) counts for none. Rows that an array has room for count like rows in use.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from state.shard import Shard

_NOBODYS = (type, FunctionType, MethodType, ModuleType)
PARTS = (
    "subjects", "week", "history", "dedupe", "latency", "replies", "chat", "board", "closing", "alerts", "folder",
    "shadow",
)  # fmt: skip


def sizes(shard: Shard) -> Counter[str]:
    """Return how many bytes each part's attributes take: "part.attribute" → bytes; what is in no part is "rest"."""
    seen: set[int] = {id(shard)}
    for shared in (shard.model, shard._limits):
        _size(shared, seen)
    parts = [getattr(shard, name) for name in PARTS if getattr(shard, name, None) is not None]
    seen |= {id(part) for part in parts}
    found: Counter[str] = Counter()
    for name in PARTS:
        for attribute, value in _attributes(getattr(shard, name, None)):
            found[f"{name}.{attribute}"] += _size(value, seen)
    found["rest"] += sum(_size(value, seen) for _, value in _attributes(shard))
    return found


def by_part(found: Mapping[str, int]) -> Counter[str]:
    """Return the sums of `sizes` by part.

    >>> by_part({"week.counts": 3, "week.sums": 2, "rest": 1})
    Counter({'week': 5, 'rest': 1})
    """
    parts: Counter[str] = Counter()
    for name, size in found.items():
        parts[name.partition(".")[0]] += size
    return parts


def _attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and values of what *owner* holds."""
    yield from getattr(owner, "__dict__", {}).items()
    for kind in type(owner).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(owner, name):
                yield name, getattr(owner, name)


def _size(start: Any, seen: set[int]) -> int:
    """Return the bytes of *start* and of all that it holds and that was not *seen* before."""
    total, waiting = 0, [start]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or each is None or isinstance(each, _NOBODYS) or callable(each):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        if isinstance(each, np.ndarray):
            if each.base is not None:
                waiting.append(each.base)  # a view: its own size is that of its head
        elif isinstance(each, Mapping):
            waiting += each.keys()
            waiting += each.values()
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
        elif not isinstance(each, str | bytes | int | float):
            waiting += (value for _, value in _attributes(each))
    return total
