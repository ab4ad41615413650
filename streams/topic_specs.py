"""Owns the declaration of every topic: its name, partitions and configuration, once.

Invariant: no topic name is spelled anywhere else, and every topic but `control`, `suppressed`, `summaries`
and the census changelog has the same number of partitions, so that partition n of one belongs to partition n of all.
"""

from __future__ import annotations

import msgspec

from streams.lanes import LaneOf, lanes_by_number
from streams.settings import Settings

DAY_MS = 86_400_000
SOURCE_RETENTION_DAYS = 90
"""Raw messages stay this long after their arrival (records are stamped when sent, not with event time)."""
ACTIVITIES_RETENTION_DAYS = 35
"""The activities log is replayed from the last checkpoint only, minutes ago; five weeks leave room for a
worker that stood still for long and for looking into what happened."""
DEAD_LETTER_RETENTION_DAYS = 30
ALERT_RETENTION_DAYS = 365
TOMBSTONE_RETENTION_DAYS = 7
"""A reader of a compacted topic that was away for less than this still sees that a key is gone."""
COMPACTION_LAG_DAYS = 7
"""So long what was overwritten or deleted in a compacted topic may still be there, however little is written to it."""


_INTERNAL = ("unresolved", "activities", "summaries")
"""Topics that each generation has of its own, like its changelogs."""
_TOLD = ("scores", "weeks", "alerts", "dead_letters")
"""Topics for everybody; a worker that computes aside has its own of them too."""


class TopicNames(msgspec.Struct, frozen=True, kw_only=True):
    """The names of all topics, with the prefix; changelogs begin with the application instead."""

    product_events: str
    syslog_activities: str
    chat_messages: str
    transactions: str
    users: str
    orgs: str
    identities: str
    suppressed: str
    unresolved: str
    activities: str
    scores: str
    weeks: str
    alerts: str
    dead_letters: str
    control: str
    summaries: str
    shard_changelog: str
    members_changelog: str
    park_changelog: str
    ledger_changelog: str
    census_changelog: str
    origins_changelog: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The topics that producers outside write raw messages to."""
        return (self.product_events, self.syslog_activities, self.chat_messages, self.transactions)

    @property
    def directory(self) -> tuple[str, ...]:
        """The compacted topics that say who there is."""
        return (self.users, self.orgs)

    @property
    def changelogs(self) -> tuple[str, ...]:
        """The changelogs of the tables."""
        return (
            self.shard_changelog,
            self.members_changelog,
            self.park_changelog,
            self.ledger_changelog,
            self.census_changelog,
            self.origins_changelog,
        )


def lanes_of(names: TopicNames) -> LaneOf:
    """Return which partitions a worker commits together: those of one number, but for the topic of another width."""
    return lanes_by_number([names.summaries])


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one topic must be like."""

    name: str
    purpose: str
    partitions: int
    replication: int
    configs: dict[str, str]
    """Topic-level configuration: Kafka's key → value as Kafka writes it."""

    @property
    def compacted(self) -> bool:
        """Say whether the topic keeps the last record of each key for ever."""
        return self.configs["cleanup.policy"] == "compact"


def topic_names(settings: Settings) -> TopicNames:
    """Return the names of all topics under these settings.

    >>> topic_names(Settings()).product_events, topic_names(Settings()).shard_changelog
    ('product-events', 'orgpulse-shard-changelog')
    """
    suffix, prefix = generation_suffix(settings), settings.kafka.prefix
    own = {*_INTERNAL, *(_TOLD if settings.worker.aside != "no" else ())}
    found = {}
    for field in TopicNames.__struct_fields__:
        name = field.replace("_", "-")
        changelog = field.endswith("_changelog")
        found[field] = f"{group_of(settings)}-{name}" if changelog else prefix + name + (suffix if field in own else "")
    return TopicNames(**found)


def generation_suffix(settings: Settings) -> str:
    """Return what tells this generation's topics and group from others'; nothing for the first."""
    return f"-g{settings.worker.generation}" if settings.worker.generation else ""


def group_of(settings: Settings) -> str:
    """Return the name of the consumer group, which changelogs and transactions begin with.

    >>> group_of(Settings())
    'orgpulse'
    """
    return settings.kafka.application + generation_suffix(settings)


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """Return what every topic must be like, in the order in which data passes through them."""
    names = topic_names(settings)
    return (
        _kept(settings, names.product_events, "what people do in the product", SOURCE_RETENTION_DAYS),
        _kept(settings, names.syslog_activities, "what systems log about people", SOURCE_RETENTION_DAYS),
        _kept(settings, names.chat_messages, "chat and mail messages, presence", SOURCE_RETENTION_DAYS),
        _kept(settings, names.transactions, "payments", SOURCE_RETENTION_DAYS),
        _compacted(settings, names.users, "directory of users"),
        _compacted(settings, names.orgs, "directory of orgs"),
        _compacted(settings, names.identities, "what operators and events said of aliases"),
        _compacted(settings, names.suppressed, "who was forgotten, as keyed hashes", partitions=1),
        _kept(settings, names.unresolved, "messages that wait for the directory", SOURCE_RETENTION_DAYS),
        _kept(settings, names.activities, "the log that state is folded from", ACTIVITIES_RETENTION_DAYS),
        _compacted(settings, names.scores, "health scores of users and orgs"),
        _compacted(settings, names.weeks, "history: one calendar week of one subject"),
        _kept(settings, names.alerts, "score drops and their ends", ALERT_RETENTION_DAYS),
        _kept(settings, names.dead_letters, "messages that can't be used, and why", DEAD_LETTER_RETENTION_DAYS),
        _compacted(settings, names.control, "which generation of the state is live", partitions=1),
        _compacted(settings, names.summaries, "summaries of partitions, for calibration", partitions=1),
        _changelog(settings, names.shard_changelog, "checkpoints of shards"),
        _changelog(settings, names.members_changelog, "directory as ingest knows it"),
        _changelog(settings, names.park_changelog, "parked messages"),
        _changelog(settings, names.ledger_changelog, "what became of every message, by source partition"),
        _changelog(settings, names.census_changelog, "population that cut points come from", partitions=1),
        _changelog(settings, names.origins_changelog, "which logs the state comes from"),
    )


def needed_copies(settings: Settings) -> int:
    """Return how many in-sync copies a write takes: with 3 copies 2 of them, so that one broker may be away."""
    return max(1, settings.kafka.replication - 1)


def _spec(settings: Settings, name: str, purpose: str, configs: dict[str, str], partitions: int | None) -> TopicSpec:
    """Return a spec with what all topics share."""
    kafka = settings.kafka
    return TopicSpec(
        name=name,
        purpose=purpose,
        partitions=partitions or kafka.partitions,
        replication=kafka.replication,
        configs={
            **configs,
            "max.message.bytes": str(kafka.max_message_bytes),
            "message.timestamp.type": "CreateTime",
            "min.insync.replicas": str(needed_copies(settings)),
        },
    )


def _kept(settings: Settings, name: str, purpose: str, days: int) -> TopicSpec:
    """Return the spec of a topic whose records go after *days*."""
    return _spec(settings, name, purpose, {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}, None)


def _compacted(settings: Settings, name: str, purpose: str, *, partitions: int | None = None) -> TopicSpec:
    """Return the spec of a topic that keeps the last record of every key."""
    configs = {
        "cleanup.policy": "compact",
        "retention.ms": "-1",
        "delete.retention.ms": str(TOMBSTONE_RETENTION_DAYS * DAY_MS),
        "max.compaction.lag.ms": str(COMPACTION_LAG_DAYS * DAY_MS),
    }
    return _spec(settings, name, purpose, configs, partitions)


def _changelog(settings: Settings, name: str, purpose: str, *, partitions: int | None = None) -> TopicSpec:
    """Return the spec of a table's changelog: compacted, in small segments.

    Kafka never compacts the segment that is being written (1 GiB as shipped), and recovery reads all of it.
    """
    spec = _compacted(settings, name, purpose, partitions=partitions)
    segment_bytes = max(64 * 1024 * 1024, settings.kafka.max_message_bytes)
    return msgspec.structs.replace(spec, configs={**spec.configs, "segment.bytes": str(segment_bytes)})


_SOURCE_FIELDS = ("product_events", "syslog_activities", "chat_messages", "transactions", "users", "orgs")


def source_topics(names: TopicNames) -> dict[str, str]:
    """Return the name in a letter → the topic with prefix, of the topics that producers outside write."""
    return {field.replace("_", "-"): getattr(names, field) for field in _SOURCE_FIELDS}
