"""Messages and presence samples of the last days, in sorted arrays.

Owns what `state.chat` tells from: who wrote when, and the newest sample of each server in each window. Appending is
cheap and merging amortised. Invariant: the content follows from the set of what was added and from the floor, in
whatever order it came.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import packed, unpacked
from state.cells import sum_by_key
from state.week import DAY_MS

WINDOW_MS = 600_000
"""Windows begin at whole ten minutes (UTC)."""
_SMALLEST_TAIL = 65_536
_SLOT_BITS, _LONGEST_MS = 31, 1 << 32  # slot and time of 49 days share a key of 64 bits

Numbers = NDArray[np.int64]
Hashes = NDArray[np.uint64]


class _Appended:
    """Columns in order of time, and what was added since they were."""

    def __init__(self) -> None:
        self.times = np.empty(0, np.int64)
        self._tail: list[tuple[NDArray[Any], ...]] = []
        self._tail_size = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to merge."""
        return self._tail_size > max(_SMALLEST_TAIL, len(self.times) // 4)

    def _append(self, *columns: NDArray[Any]) -> None:
        self._tail.append(columns)
        self._tail_size += len(columns[0])

    def _joined(self, *columns: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return *columns* with what was added since, in no order, and begin anew to add."""
        parts = [columns, *self._tail]
        self._tail, self._tail_size = [], 0
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


class Messages(_Appended):
    """Messages by time (ms) and slot of their author, with how many there are: 1, or less after corrections."""

    def __init__(self) -> None:
        super().__init__()
        self.slots, self.counts = (np.empty(0, np.int64) for _ in range(2))

    def add(self, times_ms: Numbers, slots: Numbers, weights: Numbers) -> None:
        """Add messages (all arrays of shape n); a weight of −1 takes one back."""
        self._append(times_ms, slots, weights)

    def merge(self, floor_ms: int) -> Numbers:
        """Bring everything in order and forget what is before *floor_ms*; return the slots that this changed."""
        if self._tail:
            times, slots, counts = self._joined(self.times, self.slots, self.counts)
            self.times, self.slots, self.counts = _summed(times, slots, counts)
        first = int(np.searchsorted(self.times, floor_ms))
        gone = self.slots[:first]
        if first:
            self.times, self.slots, self.counts = self.times[first:], self.slots[first:], self.counts[first:]
        return gone

    def hand_over(self, slot: int, heir: int) -> None:
        """Let *heir* have written the messages of *slot*; everything was merged before."""
        if len(self.times):
            self.times, self.slots, self.counts = _summed(
                self.times, np.where(self.slots == slot, heir, self.slots), self.counts
            )

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint, a segment for each day: days that are over do not change."""
        days = self.times // DAY_MS
        edges = np.concatenate(([0], np.flatnonzero(np.diff(days)) + 1, [len(days)]))
        found = {}
        for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if first < end:
                day, counts = int(days[first]), self.counts[first:end]
                since, slots = self.times[first:end] - day * DAY_MS, self.slots[first:end]
                several = counts.astype(np.int32) if (counts != 1).any() else np.empty(0, np.int32)
                found[f"messages/{day}"] = [
                    packed(column) for column in (since.astype(np.uint32), slots.astype(np.int32), several)
                ]
        return found

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        days = sorted(int(name[9:]) for name in segments if name.startswith("messages/"))
        parts = []
        for day in days:
            since, slots, several = (unpacked(column).astype(np.int64) for column in segments[f"messages/{day}"])
            parts.append((since + day * DAY_MS, slots, several if len(several) else np.ones(len(slots), np.int64)))
        if parts:
            self.times, self.slots, self.counts = (np.concatenate(part) for part in zip(*parts, strict=True))


def _summed(times: Numbers, slots: Numbers, counts: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the columns in order of time and slot, what is equal added up, and nothing that came to zero."""
    base = int(times.min())
    if int(times.max()) - base < _LONGEST_MS:
        keys, counts = sum_by_key(((times - base) << _SLOT_BITS | slots).astype(np.uint64), counts)
        whole = keys.astype(np.int64)
        times, slots = (whole >> _SLOT_BITS) + base, whole & ((1 << _SLOT_BITS) - 1)
    else:
        order = np.lexsort((slots, times))
        times, slots, counts = times[order], slots[order], counts[order]
        new = np.concatenate(([True], (times[1:] != times[:-1]) | (slots[1:] != slots[:-1])))
        counts = np.add.reduceat(counts, np.flatnonzero(new))
        times, slots = times[new], slots[new]
    kept = counts != 0
    return times[kept], slots[kept], counts[kept]


class Samples(_Appended):
    """Who is online: of each org (by slot) and server the newest sample of each window; of equally new the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.slots, self.online = (np.empty(0, np.int64) for _ in range(2))
        self.servers = np.empty(0, np.uint64)

    def add(self, times_ms: Numbers, slots: Numbers, servers: Hashes, online: Numbers) -> None:
        """Add samples (all arrays of shape n)."""
        self._append(times_ms, slots, servers, online)

    def merge(self, floor_ms: int) -> Numbers:
        """Bring everything in order and forget what is before *floor_ms*; return the org slots that this changed."""
        if self._tail:
            times, slots, servers, online = self._joined(self.times, self.slots, self.servers, self.online)
            windows = times // WINDOW_MS
            order = np.lexsort((online, times, servers, slots, windows))
            times, slots, servers, online = times[order], slots[order], servers[order], online[order]
            windows = windows[order]
            last = np.ones(len(times), bool)
            same = (windows[1:] == windows[:-1]) & (slots[1:] == slots[:-1]) & (servers[1:] == servers[:-1])
            last[:-1] = ~same
            self.times, self.slots, self.servers, self.online = times[last], slots[last], servers[last], online[last]
        first = int(np.searchsorted(self.times // WINDOW_MS, floor_ms // WINDOW_MS))
        gone = self.slots[:first]
        if first:
            self.times, self.slots = self.times[first:], self.slots[first:]
            self.servers, self.online = self.servers[first:], self.online[first:]
        return gone

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        return {"samples": [packed(column) for column in (self.times, self.slots, self.servers, self.online)]}

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        self.times, self.slots, self.servers, self.online = (unpacked(column) for column in segments["samples"])
