"""Event ids seen within the allowed lateness.

Owns the question "was this event applied before?". Ids are 64-bit hashes (of org and event id). They stand in one
sorted array, with 2 bytes for the tick of their period (of the event's own time) and 2 for their block: 12 bytes an id,
and nothing for looking them up. What is new waits in a small sorted tail. A block holds ids of one period in the order
of arrival, BLOCK of them, and is then complete: checkpoints keep them by block, so what is written once stays as it is.

Invariant: an event that is not late has all ids of its own moment at hand. When the limit on ids is reached the oldest
period goes, and the horizon (and with it what counts as late) moves up; when one period holds them all, periods become
narrower first, and wider again when there are many of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.arrays import distinct, packed, unpacked
from state.week import HOUR_MS

Ids = NDArray[np.uint64]
Shorts = NDArray[np.uint16]
_MINUTE_MS = 60_000
PERIODS = 8  # the horizon is kept in this many whole periods and the running ones
_MOST_PERIODS = 4 * PERIODS
BLOCK = 1 << 15
"""Ids of a block: 256 KiB, the size of a checkpoint's parts."""
_SMALLEST_TAIL = 32_768
_TAIL_SHARE = 16  # the tail holds at most this part of all


class _Rows(NamedTuple):
    """Ids, ascending and distinct, each with its tick and block, all of shape (n,)."""

    ids: Ids
    ticks: Shorts
    blocks: Shorts

    def contain(self, wanted: Ids) -> NDArray[np.bool_]:
        """Return for each of *wanted* (ascending, shape m) whether it is there."""
        if not len(self.ids):
            return np.zeros(len(wanted), bool)
        at = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        return np.asarray(self.ids[at] == wanted)

    def merged(self, other: _Rows) -> _Rows:
        """Return these and *other*, which has no id in common with them."""
        if not len(self.ids):
            return other
        at = np.searchsorted(self.ids, other.ids) + np.arange(len(other.ids))
        mine = np.ones(len(self.ids) + len(other.ids), bool)
        mine[at] = False

        def both(own: NDArray[Any], its: NDArray[Any]) -> NDArray[Any]:
            column = np.empty(len(mine), own.dtype)
            column[mine], column[at] = own, its
            return column

        return _Rows(both(self.ids, other.ids), both(self.ticks, other.ticks), both(self.blocks, other.blocks))

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(column.nbytes for column in self)


_NOTHING = _Rows(np.zeros(0, np.uint64), np.zeros(0, np.uint16), np.zeros(0, np.uint16))


def _tick_of(width_ms: int) -> int:
    """Return how exactly (ms) the time of an id is kept in a period of *width_ms*."""
    return max(_MINUTE_MS, -(-width_ms // (1 << 16)))


class Dedupe:
    """The ids of a partition, by period of event time, within *horizon_hours* and *max_ids*."""

    def __init__(self, horizon_hours: int, max_ids: int) -> None:
        self._widest_ms = max(1, -(-horizon_hours // PERIODS)) * HOUR_MS
        self._horizon_ms = horizon_hours * HOUR_MS
        self._max_ids = max_ids
        self.floor_ms = 0
        """Events before this instant are late: their ids are no longer known."""
        self._begin(self._widest_ms)

    def _begin(self, width_ms: int) -> None:
        self._width_ms, self._tick_ms = width_ms, _tick_of(width_ms)
        self._base, self._tail = _NOTHING, _NOTHING
        self._period_of = np.zeros(0, np.int64)  # by block
        self._open: dict[int, tuple[int, int]] = {}  # period → its last block, and how many ids that holds

    def advance(self, watermark_ms: int) -> None:
        """Forget periods that ended before the horizon."""
        self.floor_ms = max(self.floor_ms, watermark_ms - self._horizon_ms)
        self._drop([p for p in self._open if (p + 1) * self._width_ms <= self.floor_ms])

    def learn(self, ids: Ids, times_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Remember *ids* (shape n); return which are new, the first of equals being the new one."""
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        new = np.ones(len(ids), bool)
        new[1:] = ordered[1:] != ordered[:-1]
        for rows in (self._base, self._tail):
            new &= ~rows.contain(ordered)
        found = np.zeros(len(ids), bool)
        found[order[new]] = True
        self._place(ids[found], times_ms[found])
        self._shrink()
        return found

    def _shrink(self) -> None:
        while len(self) > self._max_ids:
            if len(self._open) > 1:
                oldest = min(self._open)
                self._drop([oldest])
                self.floor_ms = max(self.floor_ms, (oldest + 1) * self._width_ms)
            elif self._width_ms > self._tick_ms:
                ticks = self._settled().ticks
                span = int(ticks.max()) - int(ticks.min()) + 1
                self._cut(max(1, span // PERIODS) * self._tick_ms)
            else:
                break  # the newest tick is always kept: without it nothing could be told apart
        if len(self._open) > _MOST_PERIODS and self._width_ms < self._widest_ms:
            self._cut(min(self._widest_ms, self._width_ms * (_MOST_PERIODS // PERIODS)))

    def __len__(self) -> int:
        return len(self._base.ids) + len(self._tail.ids)

    @property
    def size_bytes(self) -> int:
        """Memory held, in bytes."""
        return self._base.size_bytes + self._tail.size_bytes

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint: one segment a period, block after block, and the floor."""
        found: dict[str, Any] = {}
        ids, ticks, periods = self._in_order()
        for period in sorted(self._open):
            here = periods == period
            found[f"ids/{period}"] = packed(ids[here])
            found[f"id-ticks/{period}"] = packed(ticks[here])
        found["ids-floor"] = self.floor_ms
        found["ids-width"] = [self._width_ms, self._tick_ms]
        found["ids-widest"] = self._widest_ms
        return found

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned, with another horizon too; no id is forgotten early by that."""
        self.floor_ms = segments.get("ids-floor", 0)
        width_ms, tick_ms = segments.get("ids-width", [self._width_ms, self._tick_ms])
        numbers = sorted(int(name[4:]) for name in segments if name.startswith("ids/"))
        ids = [unpacked(segments[f"ids/{period}"]) for period in numbers]
        ticks = [unpacked(segments[f"id-ticks/{period}"]) for period in numbers]
        periods = np.repeat(np.array(numbers, np.int64), np.array([len(some) for some in ids], np.int64))
        same = segments.get("ids-widest", width_ms) == self._widest_ms
        self._begin(width_ms if same else self._widest_ms)
        if numbers:
            ends_ms = _ends_ms(np.concatenate(ticks), periods, width_ms, tick_ms)
            self._place(np.concatenate(ids), ends_ms)

    def _in_order(self) -> tuple[Ids, Shorts, NDArray[np.int64]]:
        """Return all ids with their ticks and periods, block after block, in a block by tick and then by id."""
        ids, ticks, blocks = self._settled()
        # One sort of whole numbers is far quicker than two of places: block, tick, place in the order of ids.
        keys = blocks.astype(np.uint64) << np.uint64(48) | ticks.astype(np.uint64) << np.uint64(32)
        keys |= np.arange(len(ids), dtype=np.uint64)
        keys.sort()
        order = (keys & np.uint64((1 << 32) - 1)).astype(np.int64)
        return ids[order], ticks[order], self._period_of[blocks[order]]

    def _settled(self) -> _Rows:
        """Return all rows, once the tail is among them."""
        self._base, self._tail = self._base.merged(self._tail), _NOTHING
        return self._base

    def _place(self, ids: Ids, times_ms: NDArray[np.int64]) -> None:
        """Add *ids*, distinct and new, to the periods of their times (both of shape n)."""
        periods = times_ms // self._width_ms
        blocks = np.empty(len(ids), np.uint16)
        for period in distinct(periods).tolist():
            here = np.flatnonzero(periods == period)
            blocks[here] = self._blocks(period, len(here))
        ticks = ((times_ms - periods * self._width_ms) // self._tick_ms).astype(np.uint16)
        order = np.argsort(ids)
        self._tail = self._tail.merged(_Rows(ids[order], ticks[order], blocks[order]))
        if len(self._tail.ids) > max(_SMALLEST_TAIL, len(self._base.ids) // _TAIL_SHARE):
            self._settled()

    def _blocks(self, period: int, number: int) -> NDArray[np.int64]:
        """Return the blocks of *number* more ids of *period*, opening new ones where the last one is full."""
        last, used = self._open.get(period, (-1, BLOCK))
        beyond, first = (used + np.arange(number)) // BLOCK, len(self._period_of)
        found = np.where(beyond == 0, last, first + beyond - 1)
        self._period_of = np.append(self._period_of, np.full(int(beyond[-1]), period, np.int64))
        assert len(self._period_of) <= 1 << 16, "more blocks than two bytes can tell apart"
        self._open[period] = (int(found[-1]), (used + number - 1) % BLOCK + 1)
        return found

    def _drop(self, periods: list[int]) -> None:
        """Forget *periods*."""
        if not periods:
            return
        stays = ~np.isin(self._period_of, periods)
        number = np.cumsum(stays) - 1
        for name in ("_base", "_tail"):
            ids, ticks, blocks = getattr(self, name)
            kept = stays[blocks]
            setattr(self, name, _Rows(ids[kept], ticks[kept], number[blocks[kept]].astype(np.uint16)))
        self._period_of = self._period_of[stays]
        self._open = {p: (int(number[last]), used) for p, (last, used) in self._open.items() if p not in periods}

    def _cut(self, width_ms: int) -> None:
        """Keep all ids in periods of another width."""
        ids, ticks, periods = self._in_order()
        ends_ms = _ends_ms(ticks, periods, self._width_ms, self._tick_ms)
        self._begin(width_ms)
        self._place(ids, ends_ms)


def _ends_ms(ticks: Shorts, periods: NDArray[np.int64], width_ms: int, tick_ms: int) -> NDArray[np.int64]:
    """Return the last moment (ms) of each tick: only that is known of an id's time, and none is forgotten early."""
    ends_ms = periods * width_ms + (ticks.astype(np.int64) + 1) * tick_ms - 1
    found: NDArray[np.int64] = np.minimum(ends_ms, (periods + 1) * width_ms - 1)
    return found
