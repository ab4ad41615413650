"""Merges the partitions' summaries into cut points and the overall latency.

Owns the handler of `summaries`, which has one partition, so that one worker
counts for all. Invariant: a calibration leaves for all partitions in the same
transaction in which it is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agents.documents import Documents
from agents.latency_figures import week_latency
from agents.shadow import ShadowCensus
from state.activity import encode_record
from state.census import Census
from state.effects import LatencyMap, LatencyMonth, Summary
from state.latency import ALL_ORGS
from state.periods import month_name
from state.telling import decode_summary
from streams.chunks import Outcome
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.redis_sink import RedisSink
from streams.tables import ChunkTable
from streams.transactions import Outgoing
from streams.transport import Chunk

PARTITION = 0
_SUMMARY, _MONTH, _CALIBRATION, _REFERENCE = b"s:", b"m:", b"c", b"r"


@dataclass(frozen=True, slots=True)
class MapSettings:
    """What the overall map shows."""

    rolling_months: int
    quantile: float
    target_ms: int


class CountPeople:
    """The handler of `summaries`."""

    def __init__(
        self,
        new_census: Callable[[], Census],
        table: ChunkTable,
        documents: Documents,
        metrics: Metrics,
        activities_topic: str,
        partitions: int,
        shown: MapSettings,
    ) -> None:
        self._new_census, self._table, self._documents, self._metrics = new_census, table, documents, metrics
        self._activities_topic, self._partitions, self._shown = activities_topic, partitions, shown
        self.census = new_census()
        self.shadow: ShadowCensus | None = None
        self.sink: RedisSink | None = None
        self._position = 0

    def restore(self, position: int) -> None:
        """Take over the table's content as of *position* in the log, and show it."""
        self.census = self._new_census()
        content = dict(self._table.items(PARTITION))
        calibration, reference = content.pop(_CALIBRATION, None), content.pop(_REFERENCE, None)
        if self.shadow is not None:
            self.shadow.restore(content)
        for key in [key for key in content if key.startswith(_MONTH)]:
            self.census.restore_month(*_month_of(key), content[key])
        self.census.restore([raw for key, raw in content.items() if key.startswith(_SUMMARY)], calibration, reference)
        if self.census.summaries:
            self._publish(position)

    def documents(self) -> list[Write]:
        """Return the current totals and overall latency, for an empty or changed Redis."""
        if not self.census.summaries:
            return []
        return [*self._totals(self._overall()), *self._months(self.census.months())]

    def _totals(self, overall: LatencyMap) -> list[Write]:
        return [
            self._documents.totals(
                self.census.totals(), self.census.as_of_ms(), self._position, self.census.by_group_type()
            ),
            self._documents.latency(overall, self._position, -1),
        ]

    def _overall(self) -> LatencyMap:
        return self.census.overall(self._shown.rolling_months, self._shown.quantile, self._shown.target_ms)

    def _months(self, months: Iterable[int]) -> list[Write]:
        """Return months of all orgs together."""
        return [
            self._documents.latency_month(
                LatencyMonth(ALL_ORGS, month_name(month), self.census.month(month)), self._position, -1
            )
            for month in sorted(months)
        ]

    def drop(self) -> None:
        """Forget everything: another worker counts now."""
        self.census = self._new_census()
        self._metrics.drop_partition(-1)
        self._metrics.population_users.drop()
        self._metrics.population_drift.drop()
        self._metrics.set_groups({})

    def handle(self, chunk: Chunk) -> Outcome:
        """Return the calibration that the summaries in *chunk* lead to, if it is a new one."""
        census = self.census
        touched, months = set(), set()
        shadows: list[Summary] = []
        for record in chunk.records:
            assert record.value is not None, "only orgpulse writes to summaries"
            summary = decode_summary(record.value)
            if summary.model:
                shadows.append(summary)
                continue
            census.learn(summary)
            touched.add(summary.partition)
            months |= {(summary.partition, month) for month in summary.grids}
        out = [
            self._table.stage(PARTITION, _SUMMARY + str(partition).encode(), census.dump(partition))
            for partition in sorted(touched)
        ]
        out += [self._table.stage(PARTITION, _month_key(p, m), census.dump_month(p, m)) for p, m in sorted(months)]
        if self.shadow is not None:
            out += self.shadow.handle(shadows, PARTITION)
        calibration = census.calibrate() if touched else None
        if calibration is not None:
            raw = encode_record(calibration)
            out += [Outgoing(self._activities_topic, p, None, raw) for p in range(self._partitions)]
            out.append(self._table.stage(PARTITION, _CALIBRATION, census.dump_calibration()))
        if touched and census.keep_reference():
            out.append(self._table.stage(PARTITION, _REFERENCE, census.dump_reference()))
        changed = {month for _, month in months}
        return Outcome(out, chunk.next_offset, lambda: self._publish(chunk.next_offset, changed))

    def _publish(self, position: int, months: Iterable[int] | None = None) -> None:
        """Show everything, of the months of latency only *months* (None = all)."""
        self._position = position
        overall = self._overall()
        if self.sink is not None:
            told = self.census.months() if months is None else months
            self.sink.put([*self._totals(overall), *self._months(told)])
        self._metrics.orgs.set_latency(-1, overall.org, week_latency(overall))
        self._metrics.population_users.set(self.census.users_active)
        self._metrics.set_groups(self.census.by_group_type())
        for attribute, moved in self.census.drift().items():
            self._metrics.population_drift.set(moved / 10_000, attribute)


def _month_key(partition: int, month: int) -> bytes:
    return _MONTH + f"{partition}:{month}".encode()


def _month_of(key: bytes) -> tuple[int, int]:
    partition, month = key.removeprefix(_MONTH).split(b":")
    return int(partition), int(month)
