"""What a shard took in, told from its log alone: which activities were late, and which had come before.

Owns the same two steps that `state.reception` makes, for those who read a log beside it. Invariant: after the same
records both know the same ids and the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.activity import Correction, Rows, Tick
from state.dedupe import Dedupe
from state.limits import Limits
from state.packing import Columns, unpack

Mask = NDArray[np.bool_]


class Taken(NamedTuple):
    """A packed chunk, and which of its activities were on time, and which of these new (shape n each)."""

    rows: Rows
    columns: Columns
    on_time: Mask
    new: Mask


class Intake:
    """Ids and time as of the last record that was given."""

    def __init__(self, limits: Limits) -> None:
        self._dedupe = Dedupe(limits.allowed_lateness_hours, limits.max_ids)
        self.watermark_ms = 0

    @property
    def floor_ms(self) -> int:
        """Before this an activity is late."""
        return self._dedupe.floor_ms

    def pass_time(self, tick: Tick) -> None:
        """Take in a tick; before the first activity there is nothing that could age."""
        if tick.time_ms and self.watermark_ms:
            self._advance(tick.time_ms)

    def correct(self, record: Correction) -> None:
        """Take in a correction."""
        self._dedupe.learn(
            np.array([id_ for id_, _ in record.ids], np.uint64), np.array([at for _, at in record.ids], np.int64)
        )
        self._advance(record.span_ms[1])

    def take(self, bundle: Sequence[Rows]) -> list[Taken]:
        """Take in packed chunks that came as one record; return each with what became of its activities."""
        parts = [unpack(rows) for rows in bundle]
        times, ids = (np.concatenate([getattr(part, name) for part in parts]) for name in ("time_ms", "id"))
        on_time = times >= self._dedupe.floor_ms
        new = np.zeros(len(on_time), bool)
        new[on_time] = self._dedupe.learn(ids[on_time], times[on_time])
        if new.any():
            self._advance(int(times[new].max()))
        cuts = np.cumsum([len(part.at) for part in parts])[:-1]
        masks = zip(np.split(on_time, cuts), np.split(new, cuts), strict=True)
        return [Taken(rows, part, *mask) for rows, part, mask in zip(bundle, parts, masks, strict=True)]

    def _advance(self, time_ms: int) -> None:
        self.watermark_ms = max(self.watermark_ms, time_ms)
        self._dedupe.advance(self.watermark_ms)
