"""Looks whether a backfill has room: partitions and disk on the brokers.

Owns the refusals. Invariant: nothing was created yet when one of them is raised; what a broker does not say is not
guessed.
"""

from __future__ import annotations

from kafka.errors import KafkaError

from agents.save_topics import MESSAGES, topic_of
from streams.errors import OperatorError
from streams.settings import Settings
from streams.topic_specs import topic_specs
from streams.topics import connected_admin

MOST_PARTITIONS = 4_000
"""Replicas that one broker should carry: what Kafka's own documentation of ZooKeeper-less clusters counts with."""
_COPIES = 2
"""What comes in is there as a raw message, and as activities, state and rows: about as much again at most."""


class NoRoomError(OperatorError):
    """The cluster has no room for a backfill."""


def check_room(live: Settings, aside: Settings, raw_bytes: int) -> None:
    """See that the brokers can take what *aside* will write; *raw_bytes* = 0: as much as the live topics have.

    Raises:
        NoRoomError: If not.
        BrokerError: If no broker answers.
    """
    with connected_admin(live, wait_seconds=10.0) as admin:
        described = {found["name"]: found for found in admin.describe_topics()}
        for source in MESSAGES:
            width = len(described.get(topic_of(live, source), {}).get("partitions", ()))
            if width != live.kafka.partitions:
                raise NoRoomError(
                    f"topic {topic_of(live, source)} has {width} partitions, the settings say {live.kafka.partitions}",
                    f"Set [kafka] partitions = {width} (ORGPULSE_KAFKA_PARTITIONS)." if width
                    else "Check [kafka] prefix, and run `orgpulse topics create`.",
                )  # fmt: skip
        brokers = {
            node for topic in described.values() for part in topic["partitions"] for node in part["replica_nodes"]
        }
        there = sum(len(part["replica_nodes"]) for topic in described.values() for part in topic["partitions"])
        wanted = sum(spec.partitions * spec.replication for spec in topic_specs(aside) if spec.name not in described)
        most = MOST_PARTITIONS * max(1, len(brokers))
        if there + wanted > most:
            raise NoRoomError(
                f"a backfill needs {wanted} partitions (copies included), there are {there}, and {most} are what "
                f"{max(1, len(brokers))} brokers carry",
                "Drop what is not needed: `orgpulse backfill list`, `orgpulse rebuild --drop-old`.",
            )
        _check_disk(admin, live, raw_bytes)


def _check_disk(admin: object, live: Settings, raw_bytes: int) -> None:
    """See that every broker has the room on disk, where they tell (Kafka 3.3 and newer)."""
    try:
        told = admin.describe_log_dirs()  # type: ignore[attr-defined]  # kafka-python is untyped here
    except KafkaError:
        return
    sources, size, usable = {topic_of(live, source) for source in MESSAGES}, 0, dict[int, int]()
    for each in told:
        for folder in each["log_dirs"]:
            room = folder.get("usable_bytes", -1)
            if room is not None and room >= 0:
                usable[each["broker"]] = usable.get(each["broker"], 0) + room
            for topic in folder.get("topics", ()):
                if topic["name"] in sources:
                    size += sum(part["partition_size"] for part in topic["partitions"])
    if not usable:
        return
    needed = _COPIES * (raw_bytes * live.kafka.replication or size)
    if needed > sum(usable.values()):
        raise NoRoomError(
            f"a backfill of this may take {needed / 1e9:.1f} GB, and the brokers have "
            f"{sum(usable.values()) / 1e9:.1f} GB left",
            "Make room on the brokers, drop other backfills (`orgpulse backfill list`), or take fewer weeks.",
        )
