"""Brings figures of the transport into the metrics: lag, commits, partitions, recovery.

Owns what was seen last, so that sums grow by what came since. Invariant: a partition's commit is told at the look
after it and only then, whatever other partitions do; what is another worker's now is shown no longer than to the look
after it went.
"""

from __future__ import annotations

from faust.types import TP

from streams.faust_app import ChunkApp
from streams.held_back import HeldBack
from streams.metrics import Metrics


class TransportFigures:
    """One worker's; `bring` looks and sets."""

    def __init__(self, app: ChunkApp, metrics: Metrics, activities_topic: str) -> None:
        self._app, self._metrics, self._activities_topic = app, metrics, activities_topic
        self._rebalances, self._retries = 0, 0
        self._committed: dict[TP, int] = {}
        self._live: frozenset[TP] = frozenset()
        self._held_seconds = 0.0

    def bring(self, now: float) -> None:
        """Set the metrics as of *now* (seconds since the epoch)."""
        app, metrics = self._app, self._metrics
        live = app.live
        for tp in self._live - live:  # a look while they were being given up may have set them again
            metrics.drop_source(tp.topic, tp.partition)
        self._live = live
        for tp, position in app.positions().items():
            metrics.lag.set(position.lag, tp.topic, tp.partition)
        metrics.partitions.set(app.partitions)
        metrics.partitions_owned.set(sum(tp.topic == self._activities_topic for tp in app.transactions.owned))
        metrics.recovering.set(int(app.recovering))
        metrics.recovery_duration.set(app.recovery_seconds)
        metrics.rebalances.add(app.rebalances - self._rebalances)
        self._rebalances = app.rebalances
        retries = app.transactions.retries
        if retries != self._retries:
            metrics.kafka_retries.add(retries - self._retries, "transaction")
        self._retries = retries
        if (held := app.held_back) is not None:
            self._bring_quota(held)
        else:
            metrics.quota_held.set(0)
        committed = dict(app.transactions.committed)
        for tp in live:
            if committed.get(tp) != self._committed.get(tp):
                metrics.last_commit.set(now, tp.topic, tp.partition)
        self._committed = committed

    def _bring_quota(self, held: HeldBack) -> None:
        metrics, seconds = self._metrics, held.held_seconds
        for level, rate in (
            (metrics.quota_events, held.events_per_second), (metrics.quota_bytes, held.bytes_per_second),
        ):  # fmt: skip
            if rate:
                level.set(rate)
            else:
                level.drop()
        metrics.quota_held.set(int(held.holding))
        metrics.quota_held_seconds.add(max(0.0, seconds - self._held_seconds))
        self._held_seconds = seconds
