"""The whole population, from every partition's summary.

Owns the merge of summaries into decile cut points and the overall latency.
Invariant: its outcome depends only on the latest summary of each partition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import msgspec
import numpy as np

from state.activity import Calibration
from state.cells import sum_by_key
from state.effects import GroupTotal, LatencyMap, Summary
from state.group_scores import merged_totals
from state.health import DECILES, FULL, Matrix
from state.latency import ALL_ORGS
from state.lines import LOCAL, REPLIES, OverallLines
from state.peers import MAX_PEER_GROUPS
from state.periods import month_name, months_up_to
from state.records import record_of
from state.scoring import cut_points
from state.telling import cells_of, decode_summary, encode_summary, span_name
from state.week import HOUR_MS, WEEK_HOURS, month_of
from state.week_grid import WeekGrid

_DatedCuts = tuple[int, dict[str, list[int]]]  # as of when (ms), attribute → cut points
_lines = msgspec.msgpack.Decoder(dict[str, bytes])
_reference = msgspec.msgpack.Decoder(tuple[_DatedCuts, _DatedCuts])


class Census:
    """Latest summaries by partition, and the last calibration made of them."""

    def __init__(self, min_population: int, peers: str = "") -> None:
        """Count nobody yet; *peers* is what makes users peers (see `state.population`), empty = nothing does."""
        self._min_population, self._peers = min_population, peers
        self.summaries: dict[int, Summary] = {}
        self.grids: dict[int, dict[int, dict[str, bytes]]] = {}
        """Latency by partition, month and line."""
        self.calibration = Calibration(0, 0, {})
        self._reference: _DatedCuts = (0, {})
        self._next: _DatedCuts = (0, {})
        # What the summaries amount to, once it was asked for: by peer group (empty = everybody) and attribute.
        self._merged: dict[tuple[str, str], tuple[Matrix, Matrix]] = {}

    def learn(self, summary: Summary) -> None:
        """Take in a summary; it replaces the partition's former one, and the months of latency that it tells."""
        self.summaries[summary.partition] = summary
        months = self.grids.setdefault(summary.partition, {})
        months |= summary.grids
        for month in [month for month, lines in months.items() if not lines]:
            del months[month]
        self._merged.clear()

    @property
    def users_active(self) -> int:
        """Active users over all partitions."""
        return sum(s.users_active for s in self.summaries.values())

    def calibrate(self) -> Calibration | None:
        """Return a new calibration if the population is large enough and its cut points moved."""
        if self.users_active < self._min_population:
            return None
        cuts, groups = self._cuts(), {group: self._cuts(group) for group in self._groups()}
        former = self.calibration
        if (cuts, groups, self._peers) == (former.cuts, former.groups, former.peers):
            return None
        self.calibration = Calibration(former.generation + 1, self.users_active, cuts, peers=self._peers, groups=groups)
        return self.calibration

    def _cuts(self, group: str = "") -> dict[str, list[int]]:
        """Return the cut points of everybody, or of a peer group."""
        names = next(iter(self.summaries.values())).values
        return {name: cut_points(*self._population(name, group)) for name in names}

    def _groups(self) -> list[str]:
        """Return the peer groups that are large enough for cut points of their own, at most MAX_PEER_GROUPS."""
        users: Counter[str] = Counter()
        for summary in self._grouped():
            users.update({group: size for group, (size, _) in summary.groups.items()})
        large = [group for group, size in users.items() if size >= self._min_population]
        return sorted(sorted(large, key=lambda group: (-users[group], group))[:MAX_PEER_GROUPS])

    def _grouped(self) -> list[Summary]:
        """Return the summaries with the groups of these peers: those of another model are told anew soon."""
        return [s for s in self.summaries.values() if s.peers == self._peers]

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

    def _population(self, name: str, group: str = "") -> tuple[Matrix, Matrix]:
        """Return an attribute's distinct values over all partitions, ascending, and how many users have each."""
        if (group, name) not in self._merged:
            self._merged[group, name] = self._merge(name, group)
        return self._merged[group, name]

    def _merge(self, name: str, group: str) -> tuple[Matrix, Matrix]:
        found = (
            [s.groups[group][1] for s in self._grouped() if group in s.groups]
            if group
            else [s.values for s in self.summaries.values()]
        )
        pairs = [values[name] for values in found if name in values]
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

    def by_group_type(self) -> dict[str, GroupTotal]:
        """Return orgs, users and sums of scores by group type, of orgs that are left out of the population too."""
        return merged_totals([summary.by_group_type for summary in self.summaries.values()])

    def as_of_ms(self) -> int | None:
        """Return up to when every partition with an org had counted; None = there is none, or one does not say.

        Where nothing ever happened there is no time: such a partition, of a directory alone, holds nothing up.
        """
        marks = [s.watermark_ms for s in self.summaries.values() if s.orgs + s.orgs_left_out and s.watermark_ms]
        return max(0, min(marks, default=0)) or None

    def overall(self, rolling_months: int, quantile: float, target_ms: int) -> LatencyMap:
        """Return the latency map over all orgs: of the last *rolling_months* up to the newest time (UTC).

        Where nothing ever happened it is of no period.
        """
        newest = max((s.watermark_ms for s in self.summaries.values()), default=0)
        if newest <= 0:
            return LatencyMap(ALL_ORGS, LOCAL, "", quantile, {}, target_ms)
        months = months_up_to(month_of(newest, "UTC"), rolling_months)
        grid = self._lines(months).grid(REPLIES, months)
        cells, whole = cells_of(grid, quantile, target_ms)
        known = [month_name(month) for month in self.months()]
        names = sorted({line for months in self.grids.values() for lines in months.values() for line in lines})
        return LatencyMap(ALL_ORGS, LOCAL, span_name(months), quantile, cells, target_ms, names, known, whole)

    def _lines(self, wanted: Collection[int]) -> OverallLines:
        """Return the latency of all orgs together, by month and line, of the months *wanted*."""
        found: dict[int, dict[str, list[WeekGrid]]] = {}
        for months in self.grids.values():
            for month in months.keys() & set(wanted):
                for line, raw in months[month].items():
                    found.setdefault(month, {}).setdefault(line, []).append(WeekGrid.load(raw))
        return OverallLines(
            {m: {name: WeekGrid.merged(parts).bounded() for name, parts in x.items()} for m, x in found.items()}
        )

    def months(self) -> list[int]:
        """Return the months of which there is any latency, ascending."""
        return sorted({month for months in self.grids.values() for month in months})

    def month(self, month: int) -> dict[str, bytes]:
        """Return one month of all orgs together, by line."""
        return {line: grid.dump() for line, grid in self._lines([month]).months.get(month, {}).items()}

    def dump_month(self, partition: int, month: int) -> bytes | None:
        """Return what must be kept of one month of a partition's latency; None = nothing."""
        lines = self.grids[partition].get(month)
        return msgspec.msgpack.encode(lines) if lines else None

    def restore_month(self, partition: int, month: int, raw: bytes) -> None:
        """Take over what `dump_month` returned.

        Raises:
            msgspec.DecodeError: If *raw* is something else.
        """
        self.grids.setdefault(partition, {})[month] = read_month(raw)

    def dump(self, partition: int) -> bytes:
        """Return what must be kept of one partition's summary, besides its months of latency."""
        return encode_summary(msgspec.structs.replace(self.summaries[partition], grids={}))

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


def read_month(raw: bytes) -> dict[str, bytes]:
    """Return what `Census.dump_month` returned.

    Raises:
        ValueError: If *raw* is none.
    """
    lines = record_of(_lines, raw)
    for grid in lines.values():
        WeekGrid.load(grid)
    return lines


def read_reference(raw: bytes) -> tuple[_DatedCuts, _DatedCuts]:
    """Return what `Census.dump_reference` returned.

    Raises:
        msgspec.DecodeError: If *raw* is none.
    """
    return record_of(_reference, raw)
