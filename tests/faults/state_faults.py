"""What is done to the state in Kafka, behind the backs of workers that do not run.

Invariant: every damage is of committed records, as a mistaken operator or a torn disk could leave them.
"""

from __future__ import annotations

import asyncio

from agents.manifest import KEY
from reports.collect import read_metrics
from streams.topic_specs import topic_names
from tests.faults.system import System
from tests.streams import kafka_topics


def damage(system: System) -> tuple[int, int]:
    """Overwrite a part of each shard's checkpoint, or remove one; add rows that nobody can read.

    Returns:
        How many checkpoints are damaged, and how many rows are poisoned.
    """
    kafka, names = system.settings.kafka, topic_names(system.settings)
    damaged = 0
    for partition, records in enumerate(
        asyncio.run(kafka_topics.read_all(kafka.brokers, names.shard_changelog, kafka.partitions))
    ):
        last = {key: value for _, key, value in records if key and key != KEY}
        parts = sorted(key for key, value in last.items() if value)
        if parts:
            victim = system.chance.choice(parts)
            poison = [b"not what was there", None][partition % 2]
            asyncio.run(kafka_topics.put(kafka.brokers, names.shard_changelog, partition, victim, poison))
            damaged += 1
    rows = [(names.members_changelog, b"u:nobody"), (names.park_changelog, b"k:no"), (names.park_changelog, b"p:no")]
    for topic, key in rows:
        partition = system.chance.randrange(kafka.partitions)
        asyncio.run(kafka_topics.put(kafka.brokers, topic, partition, key, b"\xc1 poison"))
    return damaged, len(rows)


def counted(system: System, name: str) -> float:
    """Return a counter of all running workers together."""
    return sum(sum(read_metrics(url, (name,)).get(name + "_total", {}).values()) for url in system.workers.urls)
