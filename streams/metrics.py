"""Every metric of orgpulse, each declared once with its comment and unit.

Invariant: no user label, ever, and a bounded number of orgs: an allow-list, or the most active of those this worker
owns. What a partition set goes when `drop_partition` says that this worker owns it no longer.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from prometheus_client.core import Metric

from state.effects import GroupTotal
from streams.metric_kinds import Count, Level, Spread
from streams.org_metrics import OrgMetrics
from streams.tenant_label import registry_of

EVENT_TO_SCORE_BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
CHUNK_BOUNDS_RECORDS = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 50_000)


class Metrics:
    """The worker's figures: plain attributes to add to and set, read by Prometheus through `registry`."""

    def __init__(
        self, allowed_orgs: Collection[str] = (), org_limit: int = 20, version: str = "0.1.0",
        series_limit: int = 100_000, tenant: str = "",
    ) -> None:  # fmt: skip
        """Start with nothing counted.

        Args:
            allowed_orgs: The orgs that get series of their own; empty = the *org_limit* most active ones.
            org_limit: How many orgs get series of their own at most.
            version: The application's, for ``orgpulse_build_info``.
            series_limit: How many series of one worker Prometheus takes (its `sample_limit`).
            tenant: Whose figures these are: a label of every series.
        """
        self._declare_ledger()
        self._declare_progress()
        self._declare_kafka()
        self._declare_redis()
        self._declare_model()
        self.build_info = Level("orgpulse_build_info", "What runs here; always 1.", ("version", "python"))
        self.build_info.set(1, version, platform.python_version())
        self.started = Level("orgpulse_start_timestamp_seconds", "When this process (re)started, seconds since epoch.")
        self.series_limit = Level(
            "orgpulse_series_limit", "Series of one worker that Prometheus takes, as `[metrics] series_limit` says."
        )
        self.series_limit.set(series_limit)
        self.orgs = OrgMetrics(tuple(allowed_orgs), org_limit)
        self.registry = registry_of(tenant)
        self.others: list[Any] = []
        """Further collectors of the registry: their series count, too."""
        self.registry.register(self)

    def _declare_ledger(self) -> None:
        self.events = Count(
            "orgpulse_events",
            "Messages by what became of them; at rest consumed + released = accepted + duplicate + late + dead_lettered"
            " + parked + ghost + system + bot + directory + identity.",
            ("topic", "outcome"),
        )
        self.ledger = Level(
            "orgpulse_ledger_messages",
            "Messages of a source partition by what became of them, since ever; summed over workers"
            " forwarded + released = accepted + duplicate + late once nothing is on its way.",
            ("topic", "partition", "outcome"),
        )
        self.ledger_gap = Level(
            "orgpulse_ledger_gap_messages",
            "Activities of a source partition that were lost on the way to their shard or came twice; 0 = none ever.",
            ("topic", "partition"),
        )
        self.dead_letters = Count(
            "orgpulse_dead_letters", "Messages that could not be used, by reason.", ("topic", "reason")
        )

    def _declare_progress(self) -> None:
        self.watermark = Level(
            "orgpulse_watermark_timestamp_seconds", "Event time reached, seconds since epoch.", ("partition",)
        )
        self.lag = Level("orgpulse_lag_messages", "Messages in the log and not yet committed.", ("topic", "partition"))
        self.last_commit = Level(
            "orgpulse_last_commit_timestamp_seconds",
            "When a transaction of the partition was last committed here, seconds since epoch.",
            ("topic", "partition"),
        )
        self.event_to_score = Spread(
            "orgpulse_event_to_score_seconds",
            "From a message's arrival in Kafka to its score's commit, seconds.",
            EVENT_TO_SCORE_BOUNDS_SECONDS,
        )
        self.quota_events = Level(
            "orgpulse_quota_events_per_second", "Raw messages a second that this worker takes at most."
        )
        self.quota_bytes = Level("orgpulse_quota_bytes_per_second", "The same in bytes.")
        self.quota_held = Level("orgpulse_quota_held", "1 while raw messages wait for the quota, else 0.")
        self.quota_held_seconds = Count(
            "orgpulse_quota_held_seconds", "How long raw messages waited for the quota, seconds."
        )
        self.chunk_records = Spread("orgpulse_chunk_records", "Records per fetched chunk.", CHUNK_BOUNDS_RECORDS)
        self.recovery_duration = Level(
            "orgpulse_recovery_duration_seconds", "How long the last recovery took, seconds."
        )
        self.recovering = Level("orgpulse_recovering", "1 while this worker recovers what was assigned to it, else 0.")
        self.partitions = Level("orgpulse_partitions", "Partitions of `activities`, as configured.")
        self.partitions_owned = Level(
            "orgpulse_partitions_owned", "Partitions of `activities` that are this worker's, recovered or not yet."
        )
        self.rebalances = Count("orgpulse_rebalances", "Changes of the partitions this worker owns.")
        self.backlog = Level("orgpulse_backlog", "1 while input waits longer than it should, else 0.")
        self.checkpoint_bytes = Count("orgpulse_checkpoint_bytes", "Bytes of state written to the changelog.")
        self.identity_links = Count(
            "orgpulse_identity_links",
            "Events that say that two aliases are one person, by what became of that: made, known, unknown (neither is"
            " known), merge (both are, and differ), too_many (aliases), unlinked (by an operator).",
            ("outcome",),
        )
        self.state_damaged = Count(
            "orgpulse_state_damaged", "Checkpoints that were not whole; the shard was folded anew from its log."
        )
        self.state_quarantined = Count(
            "orgpulse_state_quarantined", "Records of tables that could not be read and were set aside.", ("table",)
        )

    def _declare_kafka(self) -> None:
        self.kafka_up = Level("orgpulse_kafka_up", "1 while Kafka answers and takes writes, else 0.")
        self.kafka_brokers = Level("orgpulse_kafka_brokers", "Brokers that are there, as the cluster says.")
        self.kafka_outages = Count("orgpulse_kafka_outages", "Times Kafka was found away or unable to take writes.")
        self.kafka_retries = Count(
            "orgpulse_kafka_retries",
            "What was tried again: look (is Kafka there?) or transaction (aborted and begun again).",
            ("what",),
        )
        self.restarts = Count("orgpulse_restarts", "Times this process began anew by itself after a failure.")

    def _declare_redis(self) -> None:
        self.redis_up = Level("orgpulse_redis_up", "1 while Redis takes writes, else 0.")
        self.redis_pending = Level("orgpulse_redis_pending_writes", "Writes that wait for Redis.")
        self.redis_fenced = Count("orgpulse_redis_fenced_writes", "Writes refused because a newer one was there.")
        self.redis_resync_ratio = Level(
            "orgpulse_redis_resync_ratio", "How much of what is due Redis was told again, 0-1; 1 = nothing is due."
        )
        self.redis_resyncs = Count("orgpulse_redis_resyncs", "Times everything owned was emitted again.")
        self.redis_writes = Count(
            "orgpulse_redis_writes", "Writes sent: applied, repeated (equal fence) or spoiled.", ("outcome",)
        )
        self.redis_dropped = Count("orgpulse_redis_dropped_writes", "Writes dropped at the limit; a resync follows.")
        self.redis_last_write = Level(
            "orgpulse_redis_last_write_timestamp_seconds", "When Redis last took writes, seconds since epoch."
        )
        self.redis_errors = Count("orgpulse_redis_errors", "Failed attempts to write, by kind.", ("kind",))

    def _declare_model(self) -> None:
        self.open_messages = Level(
            "orgpulse_open_messages",
            "Messages, replies and deletions kept so that replies find their messages.",
            ("partition",),
        )
        self.open_messages_given_up = Level(
            "orgpulse_open_messages_given_up",
            "Messages, replies and deletions let go before their time, because `[latency] max_open_messages` was"
            " reached.",
            ("partition",),
        )
        self.replies_apart = Level(
            "orgpulse_replies_apart",
            "Replies and durations that measure no waiting: to oneself, before their parent, negative.",
            ("partition", "kind"),
        )
        self.dedupe_ids = Level("orgpulse_dedupe_ids", "Event ids remembered to find duplicates.", ("partition",))
        self.dedupe_horizon = Level(
            "orgpulse_dedupe_horizon_seconds", "How far back duplicates are found, seconds.", ("partition",)
        )
        self.directory_users = Level(
            "orgpulse_directory_users", "Users that this worker's copy of the directory knows."
        )
        self.population_users = Level("orgpulse_population_users", "Active users the cut points were taken from.")
        self.population_drift = Level(
            "orgpulse_population_drift_ratio",
            "Mean distance of decile ranks by the present cut points from those of one to two weeks ago, 0-0.9.",
            ("attribute",),
        )
        self.group_health = Level(
            "orgpulse_group_health_ratio",
            "Mean score of the users of all orgs of a group type, 0-1; kind is active or licensed.",
            ("group_type", "kind"),
        )
        self.group_users = Level(
            "orgpulse_group_users",
            "Users of all orgs of a group type; kind is active or licensed.",
            ("group_type", "kind"),
        )
        self.calibration_generation = Level(
            "orgpulse_calibration_generation", "Generation of the cut points in use; 0 = the shipped ones."
        )
        self.shadow_users = Level(
            "orgpulse_shadow_users", "Active users by band under the shadow model.", ("partition", "band")
        )
        self.shadow_difference = Level(
            "orgpulse_shadow_score_difference_ratio",
            "Mean of shadow less live score over active users, -1 to 1.",
            ("partition",),
        )
        self.shadow_band_changes = Level(
            "orgpulse_shadow_band_changes_users", "Active users in another band under the shadow model.", ("partition",)
        )
        self.shadow_calibration = Level(
            "orgpulse_shadow_calibration_generation",
            "Generation of the shadow model's cut points; 0 = the shipped ones.",
        )
        self.alerts_open = Level("orgpulse_alerts_open", "Orgs with an open alert.", ("partition",))
        self.alerts_held = Level(
            "orgpulse_alerts_held",
            "1 while alerts are neither raised nor resolved: a source is missing or a backlog worked off, else 0.",
            ("partition",),
        )
        self.input_missing = Level(
            "orgpulse_input_missing_ratio",
            "Share of the activities of the week before that did not come in the last one, by hours gone silent, 0-1.",
            ("topic", "partition"),
        )
        self.churn_threshold = Level("orgpulse_churn_threshold_ratio", "Score below which an org is at risk, 0-1.")

    def set_org(self, partition: int, org: str, kind: str, ratio: float | None) -> None:
        """Set an org's score (0-1) of one *kind* (active, licensed, median); None = it has none."""
        self.orgs.set_org(partition, org, kind, ratio)

    def set_org_size(self, partition: int, org: str, active_users: int, activities: int) -> None:
        """Set an org's active users and activities of the rolling week; the activities rank it."""
        self.orgs.set_org_size(partition, org, active_users, activities)

    def set_bands(self, partition: int, users: Mapping[str, int]) -> None:
        """Replace the number of users by band (healthy, watch, at_risk) of one partition."""
        self.orgs.set_bands(partition, users)

    def set_groups(self, totals: Mapping[str, GroupTotal]) -> None:
        """Replace what is said by group type, of which there is a bounded number (`state.group_scores`)."""
        self.group_health.drop()
        self.group_users.drop()
        for group, total in totals.items():
            for kind, users, points in (
                ("active", total.active_users, total.active_points),
                ("licensed", total.licensed_users, total.licensed_points),
            ):
                self.group_users.set(users, group, kind)
                if users:
                    self.group_health.set(points / users / 10_000, group, kind)

    def drop_org(self, partition: int, org: str) -> None:
        """Remove everything said about *org*: it is gone."""
        self.orgs.drop_org(partition, org)

    def drop_partition(self, partition: int) -> None:
        """Remove everything the activities partition had set; it is another worker's now."""
        self.orgs.drop_partition(partition)
        levels = (
            self.watermark, self.open_messages, self.open_messages_given_up, self.replies_apart,
            self.dedupe_ids, self.dedupe_horizon, self.alerts_open, self.alerts_held, self.input_missing,
        )  # fmt: skip
        for level in (*levels, self.shadow_users, self.shadow_difference, self.shadow_band_changes):
            level.drop(partition=partition)

    def drop_source(self, topic: str, partition: int) -> None:
        """Remove the levels of one input partition; sums stay, for they were counted here."""
        for level in (self.lag, self.last_commit):
            level.drop(topic=topic, partition=partition)

    def collect(self) -> Iterable[Metric]:
        """Yield every metric as of now (what the registry calls on a scrape), and how many series these are."""
        shown = 1 + sum(len(family.samples) for other in self.others for family in other.collect())
        for family in self._families():
            shown += len(family.samples)
            yield family
        series = Level("orgpulse_series", "Series that this worker shows, all families together.")
        series.set(shown)
        yield series.family()

    def _families(self) -> Iterable[Metric]:
        for value in vars(self).values():
            if isinstance(value, (Count, Level, Spread)):
                yield value.family()
        yield from self.orgs.families()

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are checked when scraped, not when registered."""
        return ()
