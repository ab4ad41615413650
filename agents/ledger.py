"""Keeps and shows each agent's part of the ledger.

Owns the table `ledger`: in partition n the counts of ingest and members for partition n of their topics (key: the
topic), and the shares of park and fold that partition n of theirs did (keys `park` and `shard`). So the ledger of a
whole installation can be read from one small compacted topic. Invariant: a count leaves in the transaction of the
messages it counts, and the metrics show what this worker's partitions of the table hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from state.ledger import PARK_OUTCOMES, SHARD_OUTCOMES, Shares, SourceLedger, SourcePlace, dump_shares, load_shares
from streams.metrics import Metrics
from streams.tables import ChunkTable
from streams.transactions import Outgoing

PARK, SHARD = "park", "shard"
OUTCOMES_OF = {PARK: PARK_OUTCOMES, SHARD: SHARD_OUTCOMES}
_SOURCE_FIGURES = ("consumed", "forwarded", "dead_lettered", "parked", "apart")
_Series = tuple[str, int, str]  # source topic, source partition, outcome


class Ledger:
    """The ledger of the owned partitions; `show` what was committed."""

    def __init__(self, table: ChunkTable, metrics: Metrics) -> None:
        self._table, self._metrics = table, metrics
        self._shown: dict[tuple[int, str], dict[_Series, int]] = {}

    def source(self, partition: int, topic: str) -> SourceLedger:
        """Return the counts of one source partition."""
        return SourceLedger.load(self._table.read(partition, topic.encode()))

    def keep_source(self, partition: int, topic: str, counts: SourceLedger) -> Outgoing:
        """Set the counts of a source partition; return the record for the commit."""
        return self._table.stage(partition, topic.encode(), counts.dump())

    def shares(self, partition: int, agent: str) -> Shares:
        """Return what partition *partition* of *agent* (PARK or SHARD) did with the messages of each source."""
        return load_shares(self._table.read(partition, agent.encode()), OUTCOMES_OF[agent])

    def keep_shares(self, partition: int, agent: str, shares: Shares) -> list[Outgoing]:
        """Set them; return the record for the commit, none if nothing changed."""
        raw = dump_shares(shares)
        if not shares or raw == self._table.read(partition, agent.encode()):
            return []
        return [self._table.stage(partition, agent.encode(), raw)]

    def show_all(self, partition: int) -> None:
        """Show everything the table holds of *partition*, as after a recovery."""
        for key, _ in self._table.items(partition):
            self.show(partition, key.decode())

    def show(self, partition: int, kept_by: str) -> None:
        """Set the metrics of what *kept_by* (a source topic, PARK or SHARD) holds in *partition*."""
        former = self._shown.get((partition, kept_by), {})
        figures = self._shown[partition, kept_by] = self._figures(partition, kept_by)
        self._add_up(series for series, number in figures.items() if former.get(series) != number)

    def drop(self, partition: int) -> None:
        """Show nothing of *partition* any more: another worker owns it."""
        gone = [kept for kept in self._shown if kept[0] == partition]
        self._add_up({series for kept in gone for series in self._shown.pop(kept)})

    def _figures(self, partition: int, kept_by: str) -> dict[_Series, int]:
        if kept_by not in OUTCOMES_OF:
            counts = self.source(partition, kept_by)
            return {(kept_by, partition, name): getattr(counts, name) for name in _SOURCE_FIGURES}
        return {
            (*source, name): number
            for source, numbers in self.shares(partition, kept_by).items()
            for name, number in zip(OUTCOMES_OF[kept_by], numbers, strict=True)
        }

    def _add_up(self, changed: Iterable[_Series]) -> None:
        """Set or remove the series in *changed*: several owned partitions may hold a share of each."""
        gaps: set[SourcePlace] = set()
        for series in changed:
            topic, number, outcome = series
            shares = [found[series] for found in self._shown.values() if series in found]
            if outcome in ("lost", "twice"):
                gaps.add((topic, number))
            elif shares:
                self._metrics.ledger.set(sum(shares), *series)
            else:
                self._metrics.ledger.drop(topic=topic, partition=number, outcome=outcome)
        for topic, number in gaps:
            both = [(topic, number, "lost"), (topic, number, "twice")]
            shares = [found[series] for found in self._shown.values() for series in both if series in found]
            if shares:
                self._metrics.ledger_gap.set(sum(shares), topic, number)
            else:
                self._metrics.ledger_gap.drop(topic=topic, partition=number)
