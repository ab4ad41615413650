"""Event ids seen within the allowed lateness.

Owns the question "was this event applied before?". Ids are 64-bit hashes (of
org and event id), kept by the period of the event's own time in open-addressed
tables of numpy arrays: 10 bytes an id in order of arrival (the id and the tick
of its period) and 4 bytes a place of the table; both grow by doubling, so an id
takes 18 to 36 bytes in all. Invariant: an event that is not late has all ids of
its own moment at hand. When the limit on ids is reached the oldest period goes,
or of the only period the older half, and the horizon (and with it what counts
as late) moves up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import grown, packed, unpacked
from state.week import HOUR_MS

Ids = NDArray[np.uint64]
Ticks = NDArray[np.uint16]
_MINUTE_MS = 60_000
PERIODS = 8  # the horizon is kept in this many whole periods and the running ones


class IdTable:
    """A set of 64-bit ids that answers and learns whole arrays at once; each has a tick of its period."""

    __slots__ = ("_count", "_ids", "_places", "_ticks")

    def __init__(self, ids: Ids | None = None, ticks: Ticks | None = None) -> None:
        self._ids, self._ticks = np.zeros(64, np.uint64), np.zeros(64, np.uint16)
        self._count = 0
        self._places = np.full(256, -1, np.int32)
        if ids is not None and len(ids):
            self.add(ids, ticks)

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> Ids:
        """The ids in order of arrival."""
        return self._ids[: self._count]

    @property
    def ticks(self) -> Ticks:
        """Each id's tick, in the same order."""
        return self._ticks[: self._count]

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        return self._ids.nbytes + self._ticks.nbytes + self._places.nbytes

    def contains(self, ids: Ids) -> NDArray[np.bool_]:
        """Return for each of *ids* (shape n) whether it is in the table."""
        mask = np.uint64(len(self._places) - 1)
        found = np.zeros(len(ids), bool)
        pending = np.arange(len(ids))
        place = ids & mask
        while len(pending):
            at = self._places[place]
            taken = at >= 0
            same = taken & (self._ids[np.where(taken, at, 0)] == ids[pending])
            found[pending[same]] = True
            going_on = taken & ~same
            pending, place = pending[going_on], (place[going_on] + np.uint64(1)) & mask
        return found

    def newest(self, most: int) -> tuple[IdTable, int]:
        """Return a table of the ids of the newest ticks, at most *most*, and the first tick it holds whole.

        The newest tick is always kept: without it nothing could be told apart.
        """
        held = np.bincount(self.ticks)
        from_newest = np.cumsum(held[::-1])
        kept = max(1, int(np.searchsorted(from_newest, most, side="right")))
        first = max(0, len(held) - kept)
        here = self.ticks >= first
        return IdTable(self.ids[here], self.ticks[here]), first

    def add(self, ids: Ids, ticks: Ticks | None = None) -> None:
        """Add *ids*, which are distinct and not in the table yet."""
        first = self._count
        self._ids, self._ticks = grown(self._ids, first + len(ids)), grown(self._ticks, first + len(ids))
        self._ids[first : first + len(ids)] = ids
        self._ticks[first : first + len(ids)] = 0 if ticks is None else ticks
        self._count += len(ids)
        if 2 * self._count > len(self._places):
            size = 1 << (2 * self._count).bit_length()
            self._places = np.full(size, -1, np.int32)
            self._settle(np.arange(self._count, dtype=np.int32))
        else:
            self._settle(np.arange(first, self._count, dtype=np.int32))

    def _settle(self, which: NDArray[np.int32]) -> None:
        mask = np.uint64(len(self._places) - 1)
        place = self._ids[which] & mask
        while len(which):
            free = self._places[place] < 0
            # Several may want one free place: the last writer has it, the others look on.
            self._places[place[free]] = which[free]
            homeless = self._places[place] != which
            which, place = which[homeless], (place[homeless] + np.uint64(1)) & mask


class Dedupe:
    """The ids of a partition, by period of event time, within *horizon_hours* and *max_ids*."""

    def __init__(self, horizon_hours: int, max_ids: int) -> None:
        self._width_ms = max(1, -(-horizon_hours // PERIODS)) * HOUR_MS
        self._tick_ms = max(_MINUTE_MS, -(-self._width_ms // (1 << 16)))
        self._horizon_ms = horizon_hours * HOUR_MS
        self._max_ids = max_ids
        self._tables: dict[int, IdTable] = {}
        self.floor_ms = 0
        """Events before this instant are late: their ids are no longer known."""

    def advance(self, watermark_ms: int) -> None:
        """Forget periods that ended before the horizon."""
        self.floor_ms = max(self.floor_ms, watermark_ms - self._horizon_ms)
        for period in [p for p in self._tables if (p + 1) * self._width_ms <= self.floor_ms]:
            del self._tables[period]

    def learn(self, ids: Ids, times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Remember *ids* (shape n); return which are new, the first of equals being the new one."""
        new = np.zeros(len(ids), bool)
        new[np.unique(ids, return_index=True)[1]] = True
        for table in self._tables.values():
            candidates = np.flatnonzero(new)
            new[candidates[table.contains(ids[candidates])]] = False
        self._place(ids[new], times_ms[new])
        self._shrink()
        return new

    def _shrink(self) -> None:
        while len(self) > self._max_ids and len(self._tables) > 1:
            oldest = min(self._tables)
            del self._tables[oldest]
            self.floor_ms = max(self.floor_ms, (oldest + 1) * self._width_ms)
        if len(self) > self._max_ids:
            # Half at once, so that it does not happen with every chunk.
            period, table = next(iter(self._tables.items()))
            self._tables[period], first = table.newest(self._max_ids // 2)
            self.floor_ms = max(self.floor_ms, period * self._width_ms + first * self._tick_ms)

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables.values())

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(table.size_bytes for table in self._tables.values())

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint: one segment a period and the floor."""
        found: dict[str, Any] = {}
        for period, table in sorted(self._tables.items()):
            found[f"ids/{period}"] = packed(table.ids)
            found[f"id-ticks/{period}"] = packed(table.ticks)
        found["ids-floor"] = self.floor_ms
        found["ids-width"] = [self._width_ms, self._tick_ms]
        return found

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned, with another horizon too; no id is forgotten early by that."""
        self.floor_ms = segments.get("ids-floor", 0)
        width_ms, tick_ms = segments.get("ids-width", [self._width_ms, self._tick_ms])
        for name, value in segments.items():
            if not name.startswith("ids/"):
                continue
            period, ids, ticks = int(name[4:]), unpacked(value), unpacked(segments[f"id-ticks/{name[4:]}"])
            if width_ms == self._width_ms:
                self._tables[period] = IdTable(ids, ticks)
            else:
                # Only the tick of an event's time is known: its end, so that the id is kept at least as long.
                ends_ms = period * width_ms + (ticks.astype(np.int64) + 1) * tick_ms - 1
                self._place(ids, np.minimum(ends_ms, (period + 1) * width_ms - 1))

    def _place(self, ids: Ids, times_ms: NDArray[np.int64]) -> None:
        """Add *ids*, distinct and new, to the periods of their times (both of shape n)."""
        periods = times_ms // self._width_ms
        for period in np.unique(periods).tolist():
            here = periods == period
            ticks = (times_ms[here] - period * self._width_ms) // self._tick_ms
            self._tables.setdefault(period, IdTable()).add(ids[here], ticks.astype(np.uint16))
