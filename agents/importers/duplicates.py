"""Owns finding ids that come more than once, in bounded memory.

Invariant: at most `most` ids are held. Up to that many the counts are exact; beyond, only every second, fourth, eighth
… id (by its hash, so all occurrences of one id or none) is watched, and the counts are multiplied: an estimate, said.
"""

from __future__ import annotations

import xxhash

MOST_IDS = 500_000  # about 50 MB


class Duplicates:
    """Count ids that were seen before.

    >>> found = Duplicates()
    >>> for id in ("a", "b", "a", "a"): found.note(id, "row")
    >>> found.count, found.watched
    (2, 1.0)
    """

    def __init__(self, most: int = MOST_IDS) -> None:
        self._most = most
        self._limit = 1 << 64  # hashes below it are watched
        self._seen: set[int] = set()
        self._again: dict[int, int] = {}
        self.first = ""

    def note(self, id_: str, place: str) -> None:
        """Take in the id of the row at *place*."""
        hashed = xxhash.xxh3_64_intdigest(id_.encode("utf-8", "replace"))
        if hashed >= self._limit:
            return
        if hashed in self._seen:
            self._again[hashed] = self._again.get(hashed, 0) + 1
            self.first = self.first or f"{place}: {id_[1:81].partition(chr(10))[0]}"
            return
        self._seen.add(hashed)
        if len(self._seen) > self._most:
            self._limit >>= 1
            self._seen = {one for one in self._seen if one < self._limit}
            self._again = {one: times for one, times in self._again.items() if one < self._limit}

    @property
    def watched(self) -> float:
        """The share of ids that is watched; 1.0 = the count is exact."""
        return self._limit / (1 << 64)

    @property
    def count(self) -> int:
        """How many rows had an id that an earlier row had."""
        return round(sum(self._again.values()) / self.watched)
