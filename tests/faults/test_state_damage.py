"""State that was damaged in Kafka is mended, set aside or refused, never taken for a state; every figure is right."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.manifest import KEY
from reports.collect import read_metrics
from streams.topic_specs import topic_names
from tests.faults import proof
from tests.faults.extent import long_form
from tests.faults.system import Size, System
from tests.streams import kafka_topics

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]


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


def test_damaged_state_is_mended_or_set_aside_and_a_cut_changelog_refused(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(25, 150, 2)) as system:
        system.play(4.0)
        system.rest()
        for number in (0, 1):
            system.workers.stop(number)
        damaged, poisoned = damage(system)
        system.workers.start(0)
        system.wait_recovered(workers=1)
        assert counted(system, "orgpulse_state_damaged") == damaged > 1
        assert counted(system, "orgpulse_state_quarantined") == poisoned
        system.workers.start(1)
        system.wait_recovered(workers=2)
        assert counted(system, "orgpulse_state_quarantined") == poisoned  # not again
        system.rest()
        assert not proof.differences(system)
        for number in (0, 1):
            system.workers.stop(number)
        names = topic_names(system.settings)
        asyncio.run(kafka_topics.let_cut(kafka.bootstrap, names.members_changelog))
        asyncio.run(kafka_topics.cut(kafka.bootstrap, names.members_changelog, 0, 1))
        system.workers.start(0)
        assert system.workers.code_of(0, timeout=60.0) == 1
        assert "are gone" in system.workers.tail(0) and "orgpulse rebuild" in system.workers.tail(0)
