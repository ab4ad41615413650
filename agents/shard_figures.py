"""What the metrics show of a shard: its orgs, bands, alerts and horizons.

Owns which effects lead to which gauges. Invariant: whatever was set of a partition goes with `drop`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from agents.chat_documents import figures_of
from agents.latency_figures import WeekReplies, week_latency
from state.effects import ChatCounts, Effect, LatencyMap, OrgScore
from state.score_telling import org_scores
from state.shard import Shard
from streams.metrics import Metrics


class ShardFigures:
    """Sets the metrics of the partitions that this worker has."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._week_replies = metrics, WeekReplies(metrics.orgs)

    def drop(self, partition: int) -> None:
        """Forget a partition that another worker owns now."""
        self._week_replies.drop(partition)
        self._metrics.drop_partition(partition)

    def show(self, shard: Shard, effects: Iterable[Effect]) -> None:
        """Show what a tick said, and how the shard is."""
        metrics, partition = self._metrics, shard.partition
        mapped = []
        for effect in effects:
            if isinstance(effect, OrgScore):
                metrics.set_org_size(partition, effect.org, effect.active_users, effect.activities)
                metrics.orgs.set_alert(partition, effect.org, effect.alert_since_ms)
                for kind in ("active", "licensed", "median"):
                    score = getattr(effect, f"score_{kind}")
                    metrics.set_org(partition, effect.org, kind, None if score is None else score / 10_000)
            elif isinstance(effect, LatencyMap):
                self.show_map(shard, effect)
                mapped.append(effect.org)
            elif isinstance(effect, ChatCounts):
                metrics.orgs.set_chat(partition, effect.org, figures_of(effect) if effect.windows else None)
        self._show_shard(shard, mapped)

    def show_all(self, shard: Shard) -> None:
        """Show everything of a restored shard, but maps only of orgs that have series: each costs a millisecond."""
        numbers = np.arange(len(shard.subjects.orgs))
        self.show(shard, org_scores(shard.board, numbers, shard.watermark_ms))
        for counts in shard.chat.pieces(lambda: shard.watermark_ms):
            for each in counts:
                self._metrics.orgs.set_chat(shard.partition, each.org, figures_of(each))
        for org in self._metrics.orgs.shown():
            if shard.has_latency(org):
                self.show_map(shard, shard.map_of(org))
        self._week_replies.show(shard, shard.latency.orgs())

    def show_map(self, shard: Shard, found: LatencyMap) -> None:
        """Show an org's latency by the hour of the week."""
        self._metrics.orgs.set_latency(shard.partition, found.org, week_latency(found))

    def _show_shard(self, shard: Shard, mapped: Iterable[str]) -> None:
        metrics, partition = self._metrics, shard.partition
        self._week_replies.show(shard, mapped)
        metrics.set_bands(partition, shard.board.bands())
        metrics.alerts_open.set(shard.alerts.open_count, partition)
        metrics.alerts_held.set(int(bool(shard.alerts.held)), partition)
        for topic, share in shard.alerts.inflow.missing().items():
            metrics.input_missing.set(share / 10_000, topic, partition)
        metrics.watermark.set(shard.watermark_ms / 1000, partition)
        metrics.open_messages.set(len(shard.replies), partition)
        metrics.open_messages_given_up.set(shard.replies.given_up, partition)
        for kind, replies in shard.folder.apart.items():
            metrics.replies_apart.set(replies, partition, kind)
        metrics.dedupe_ids.set(len(shard.dedupe), partition)
        metrics.dedupe_horizon.set(max(0, shard.watermark_ms - shard.dedupe.floor_ms) / 1000, partition)
        metrics.calibration_generation.set(shard.board.calibration)
