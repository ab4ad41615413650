"""What a shard took in, told from its log alone: which activities were late, and which had come before.

Owns the same two steps that `state.shard` makes, for those who read a log beside it. Invariant: after the same records
both know the same ids and the same time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from state.activity import Columns, Correction, Tick
from state.dedupe import Dedupe
from state.limits import Limits

Mask = NDArray[np.bool_]


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

    def take(self, columns: Columns) -> tuple[Mask, Mask]:
        """Take in activities; return which were on time, and which of these are new (shape n each)."""
        on_time = columns.time_ms >= self._dedupe.floor_ms
        new = np.zeros(len(on_time), bool)
        new[on_time] = self._dedupe.learn(columns.id[on_time], columns.time_ms[on_time])
        if new.any():
            self._advance(int(columns.time_ms[new].max()))
        return on_time, new

    def _advance(self, time_ms: int) -> None:
        self.watermark_ms = max(self.watermark_ms, time_ms)
        self._dedupe.advance(self.watermark_ms)
