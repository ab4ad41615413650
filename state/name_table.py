"""Names by number, and numbers by name, without a Python object for each.

Owns the names of a partition's subjects: their bytes one after the other, where each ends, a hash of each, and an
open-addressed table of numbers: about 19 bytes a name besides its own. The newest names wait in a dict and move over
many at once. Invariant: a name has one number, in the order in which names came; a number is found by the whole name,
hashes only say where to look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from state.arrays import grown

Numbers = NDArray[np.int64]
_MOST_NEW = 4096
_FEW = 24
"""Up to so many names are looked up one by one: arrays would cost more than they save."""
_END = "\n"  # no name has one: ids hold no control characters but the separator
_LOW = (1 << 32) - 1


class NameTable:
    """Distinct names, numbered from 0 on."""

    def __init__(self) -> None:
        self._bytes = np.zeros(0, np.uint8)
        self._ends = np.zeros(0, np.int64)  # of the names in `_bytes`
        self._hashes = np.zeros(0, np.uint32)
        self._settled = 0
        self._places = np.full(64, -1, np.int32)  # numbers by hash
        self._new: dict[str, int] = {}

    def __len__(self) -> int:
        return self._settled + len(self._new)

    def add(self, name: str) -> int:
        """Return the number of a *name* that is new."""
        number = len(self)
        self._new[name] = number
        if len(self._new) >= _MOST_NEW:
            self._settle()
        return number

    def add_all(self, names: Sequence[str]) -> None:
        """Give numbers to *names*, distinct and new, in their order."""
        first = len(self)
        self._new.update(zip(names, range(first, first + len(names)), strict=True))
        self._settle()

    def renamed(self, number: int, name: str) -> NameTable:
        """Return the table with another *name*, a new one, for *number*; nothing of the former is in it."""
        names, found = self.names(), NameTable()
        names[number] = name
        found.add_all(names)
        return found

    def name(self, number: int) -> str:
        """Return the name of a number."""
        if number >= self._settled:
            self._settle()
        start = int(self._ends[number - 1]) if number else 0
        return self._bytes[start : int(self._ends[number])].tobytes().decode()

    def names_of(self, numbers: Numbers) -> list[str]:
        """Return the names of *numbers* (n,)."""
        self._settle()
        ends, raw = self._ends[numbers].tolist(), self._bytes.data
        starts = np.where(numbers > 0, self._ends[numbers - 1], 0).tolist()
        return [str(raw[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]

    def names(self) -> list[str]:
        """Return all names by number."""
        ends = self._ends[: self._settled].tolist()
        raw = self._bytes[: ends[-1] if ends else 0].tobytes()
        return [raw[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)] + list(self._new)

    def find(self, name: str) -> int | None:
        """Return the number of *name*, None if it has none."""
        found = self._new.get(name)
        if found is not None or not self._settled:
            return found
        hashed, spelled = hash(name) & _LOW, name.encode()
        place = hashed * len(self._places) >> 32
        while (number := int(self._places[place])) >= 0:
            if self._hashes[number] == hashed:
                start = int(self._ends[number - 1]) if number else 0
                if self._bytes[start : int(self._ends[number])].tobytes() == spelled:
                    return number
            place = (place + 1) % len(self._places)
        return None

    def find_all(self, names: Sequence[str]) -> Numbers:
        """Return the numbers of *names*, shape (n,), −1 for those that have none.

        >>> table = NameTable()
        >>> [table.add(name) for name in ("a", "b")], table.find_all(["b", "c"]).tolist()
        ([0, 1], [1, -1])
        """
        if len(names) <= _FEW or not self._settled:
            return np.array([-1 if (n := self.find(name)) is None else n for name in names], np.int64)
        found = self._among_settled(names)
        if self._new:
            new = self._new
            for at in np.flatnonzero(found < 0).tolist():
                found[at] = new.get(names[at], -1)
        return found

    def _among_settled(self, names: Sequence[str]) -> Numbers:
        hashes, (spelled, ends) = _hashes(names), _spelled(names)
        starts = np.concatenate(([0], ends[:-1] + 1))
        found, size = np.full(len(names), -1, np.int64), len(self._places)
        waiting = np.arange(len(names))
        places = (hashes.astype(np.uint64) * np.uint64(size) >> np.uint64(32)).astype(np.int64)
        while len(waiting):
            numbers = self._places[places]
            taken = numbers >= 0
            same = taken & (self._hashes[numbers] == hashes[waiting])
            found[waiting[same]] = numbers[same]
            going_on = taken & ~same
            waiting, places = waiting[going_on], (places[going_on] + 1) % size
        likely = np.flatnonzero(found >= 0)
        others = likely[~self._are_spelled(found[likely], spelled, starts[likely], ends[likely])]
        for at in others.tolist():  # another name of the same hash
            number = self.find(names[at])
            found[at] = -1 if number is None else number
        return found

    def _are_spelled(
        self, numbers: Numbers, spelled: NDArray[np.uint8], starts: Numbers, ends: Numbers
    ) -> NDArray[np.bool_]:
        """Return of which *numbers* (n,) the name is *spelled* from *starts* to *ends*."""
        lasts = self._ends[numbers]
        firsts = np.where(numbers > 0, self._ends[numbers - 1], 0)
        lengths = ends - starts
        same = lasts - firsts == lengths
        kept = np.flatnonzero(same)
        if not len(kept):
            return np.asarray(same)
        lengths = lengths[kept]
        stops = np.cumsum(lengths)
        within = np.arange(int(stops[-1])) - np.repeat(stops - lengths, lengths)
        mine = self._bytes[within + np.repeat(firsts[kept], lengths)]
        differ = mine != spelled[within + np.repeat(starts[kept], lengths)]
        same[kept] = np.add.reduceat(differ, stops - lengths) == 0
        return np.asarray(same)

    def _settle(self) -> None:
        """Move the newest names to the others."""
        if not self._new:
            return
        names, first = list(self._new), self._settled
        self._new, self._settled = {}, first + len(names)
        raw = np.frombuffer("".join(names).encode(), np.uint8)
        held = int(self._ends[first - 1]) if first else 0
        self._bytes = grown(self._bytes, held + len(raw))
        self._bytes[held : held + len(raw)] = raw
        self._ends, self._hashes = grown(self._ends, self._settled), grown(self._hashes, self._settled)
        self._ends[first : self._settled] = held + np.cumsum([len(name.encode()) for name in names])
        self._hashes[first : self._settled] = _hashes(names)
        if 5 * self._settled > 3 * len(self._places):
            self._places = np.full(self._settled * 2, -1, np.int32)
            first = 0
        self._house(np.arange(first, self._settled, dtype=np.int32))

    def _house(self, numbers: NDArray[np.int32]) -> None:
        """Give each of *numbers* a place in the table."""
        size = len(self._places)
        places = (self._hashes[numbers].astype(np.uint64) * np.uint64(size) >> np.uint64(32)).astype(np.int64)
        while len(numbers):
            free = self._places[places] < 0
            # Several may want one free place: the last writer has it, the others look on.
            self._places[places[free]] = numbers[free]
            homeless = self._places[places] != numbers
            numbers, places = numbers[homeless], (places[homeless] + 1) % size


def _hashes(names: Sequence[str]) -> NDArray[np.uint32]:
    return np.fromiter(map(hash, names), np.int64, len(names)).astype(np.uint32)


def _spelled(names: Sequence[str]) -> tuple[NDArray[np.uint8], Numbers]:
    """Return the bytes of *names*, each with an end mark, and where the marks are."""
    raw = np.frombuffer((_END.join(names) + _END).encode(), np.uint8)
    return raw, np.flatnonzero(raw == ord(_END))
