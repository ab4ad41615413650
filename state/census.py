"""The whole population, from every partition's summary.

Owns the merge of summaries into decile cut points and the overall latency.
Invariant: its outcome depends only on the latest summary of each partition.
"""

from __future__ import annotations

import msgspec
import numpy as np

from state.activity import Calibration
from state.cells import sum_by_key
from state.effects import LatencyMap, Summary
from state.health import DECILES, FULL, Matrix
from state.latency import ALL_ORGS, Grid, load_grid, merge_grid
from state.records import record_of
from state.scoring import cut_points
from state.telling import cells_of, decode_summary, encode_summary
from state.week import HOUR_MS, WEEK_HOURS

_DatedCuts = tuple[int, dict[str, list[int]]]  # as of when (ms), attribute → cut points
_reference = msgspec.msgpack.Decoder(tuple[_DatedCuts, _DatedCuts])


class Census:
    """Latest summaries by partition, and the last calibration made of them."""

    def __init__(self, min_population: int) -> None:
        self._min_population = min_population
        self.summaries: dict[int, Summary] = {}
        self.calibration = Calibration(0, 0, {})
        self._reference: _DatedCuts = (0, {})
        self._next: _DatedCuts = (0, {})
        self._merged: dict[str, tuple[Matrix, Matrix]] = {}  # what the summaries amount to, once it was asked for

    def learn(self, summary: Summary) -> None:
        """Take in a summary; it replaces the partition's former one."""
        self.summaries[summary.partition] = summary
        self._merged.clear()

    @property
    def users_active(self) -> int:
        """Active users over all partitions."""
        return sum(s.users_active for s in self.summaries.values())

    def calibrate(self) -> Calibration | None:
        """Return a new calibration if the population is large enough and its cut points moved."""
        if self.users_active < self._min_population:
            return None
        cuts = {name: cut_points(*self._population(name)) for name in next(iter(self.summaries.values())).values}
        if cuts == self.calibration.cuts:
            return None
        self.calibration = Calibration(self.calibration.generation + 1, self.users_active, cuts)
        return self.calibration

    def keep_reference(self) -> bool:
        """Once a week keep the cut points that `drift` compares with; say whether they changed."""
        now = self.as_of_ms() or 0
        if not self.calibration.generation or now - self._next[0] < WEEK_HOURS * HOUR_MS:
            return False
        self._reference, self._next = self._next, (now, self.calibration.cuts)
        return True

    def drift(self) -> dict[str, int]:
        """Return by attribute how far the population has moved since one to two weeks ago.

        It is the mean distance between everybody's decile rank by the present cut points and by those of then, in
        basis points (0 to 9,000). Empty while there is nothing to compare with.
        """
        found = {}
        for name, former in self._reference[1].items():
            if name not in self.calibration.cuts:
                continue
            values, counts = self._population(name)
            # Nothing has no rank (see `scoring.score_users`), but for what is better when lower: that is negative.
            counts = counts if (values < 0).any() else np.where(values == 0, 0, counts)
            ranks = [np.searchsorted(np.array(cuts), values, "right") for cuts in (former, self.calibration.cuts[name])]
            moved = int((np.abs(ranks[1] - ranks[0]) * counts).sum()) * (FULL // DECILES)
            found[name] = moved // max(1, self.users_active)
        return found

    def _population(self, name: str) -> tuple[Matrix, Matrix]:
        """Return an attribute's distinct values over all partitions, ascending, and how many users have each."""
        if name not in self._merged:
            self._merged[name] = self._merge(name)
        return self._merged[name]

    def _merge(self, name: str) -> tuple[Matrix, Matrix]:
        pairs = [s.values[name] for s in self.summaries.values() if name in s.values]
        if not pairs:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        values = np.concatenate([np.array(v, np.int64) for v, _ in pairs])
        counts = np.concatenate([np.array(c, np.int64) for _, c in pairs])
        # Keys are unsigned; values may be negative (lower is better): shift them up.
        lowest = int(values.min()) if len(values) else 0
        keys, sums = sum_by_key((values - lowest).astype(np.uint64), counts)
        return keys.astype(np.int64) + lowest, sums

    def totals(self) -> dict[str, int]:
        """Return orgs, active users and users by band over all partitions."""
        totals = {"orgs": 0, "users_active": self.users_active}
        for summary in self.summaries.values():
            totals["orgs"] += summary.orgs
            for band, users in summary.users_by_band.items():
                totals[band] = totals.get(band, 0) + users
        return totals

    def as_of_ms(self) -> int | None:
        """Return up to when every partition with an org had counted; None = there is none, or one does not say.

        Where nothing ever happened there is no time: such a partition, of a directory alone, holds nothing up.
        """
        marks = [s.watermark_ms for s in self.summaries.values() if s.orgs and s.watermark_ms]
        return max(0, min(marks, default=0)) or None

    def overall(self, period: str, quantile: float) -> LatencyMap:
        """Return the latency map over all orgs."""
        merged: Grid = {}
        for summary in self.summaries.values():
            merge_grid(merged, load_grid(summary.grid))
        return LatencyMap(ALL_ORGS, "local", period, quantile, cells_of(merged, quantile))

    def dump(self, partition: int) -> bytes:
        """Return what must be kept of one partition's summary."""
        return encode_summary(self.summaries[partition])

    def dump_calibration(self) -> bytes:
        """Return what must be kept of the last calibration."""
        return msgspec.msgpack.encode(self.calibration)

    def dump_reference(self) -> bytes:
        """Return what must be kept of the cut points that `drift` compares with."""
        return msgspec.msgpack.encode((self._reference, self._next))

    def restore(self, summaries: list[bytes], calibration: bytes | None, reference: bytes | None = None) -> None:
        """Take over what was kept."""
        if reference is not None:
            self._reference, self._next = read_reference(reference)
        for raw in summaries:
            self.learn(decode_summary(raw))
        if calibration is not None:
            self.calibration = msgspec.msgpack.decode(calibration, type=Calibration)


def read_reference(raw: bytes) -> tuple[_DatedCuts, _DatedCuts]:
    """Return what `Census.dump_reference` returned.

    Raises:
        msgspec.DecodeError: If *raw* is none.
    """
    return record_of(_reference, raw)
