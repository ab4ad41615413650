"""Brokers of a cluster of three are stopped, killed and frozen under load: the workers go on, nothing is lost.

Three copies of everything, a write needs two; so one broker may always be away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.kafka_cluster import LocalKafkaCluster
from streams.topic_specs import topic_names
from tests.faults import proof
from tests.faults.extent import N, long_form, times
from tests.faults.system import System, wait_until
from tests.faults.test_kafka_away import figure, said_to_be_back

SECONDS_A_BOUNCE = 20.0
MOVED_SECONDS = 60.0

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600 + 300 * N), long_form]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafkaCluster]:
    """Three brokers."""
    with LocalKafkaCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def system(cluster: LocalKafkaCluster, redis_server: Any, tmp_path: Path) -> Iterator[System]:
    """An installation with three copies of everything."""
    changes = {"kafka.replication": 3, "kafka.transaction_timeout_seconds": 10.0, "kafka.session_timeout_seconds": 10.0}
    with System(cluster.bootstrap, redis_server.url, tmp_path, changes=changes) as system:
        yield system


def settled(system: System, cluster: LocalKafkaCluster) -> None:
    """Wait until copies are in sync and both workers are ready, then compare everything."""
    cluster.wait_in_sync()
    wait_until(lambda: said_to_be_back(system), 120.0)
    names = ("orgpulse_restarts_total", "orgpulse_kafka_outages_total", "orgpulse_kafka_retries_total")
    print({name: figure(system, name) for name in names}, dict(system.workers.done))
    assert len(system.workers.running) == 2
    system.rest()
    assert not proof.differences(system)


def led_by(cluster: LocalKafkaCluster, system: System) -> set[int | None]:
    """Return who leads the partitions of the activities."""
    activities = topic_names(system.settings).activities
    return {cluster.leader_of(activities, number) for number in range(system.settings.kafka.partitions)}


def moved_away(cluster: LocalKafkaCluster, system: System, node: int) -> str:
    """Return what is missing until no partition of the activities is led by *node*."""
    leaders = led_by(cluster, system)
    return f"led by {leaders}" if node in leaders or None in leaders else ""


def test_restarting_all_brokers_one_after_the_other_costs_nothing(cluster: LocalKafkaCluster, system: System) -> None:
    bounces = 0
    player = system.play(times(1) * 3 * SECONDS_A_BOUNCE)
    for _ in range(times(1)):
        for node, broker in cluster.brokers.items():
            before = broker.pid
            cluster.stop(node)
            assert not broker.running
            wait_until(lambda node=node: moved_away(cluster, system, node), MOVED_SECONDS)
            cluster.start(node)
            cluster.wait_in_sync()
            bounces += broker.pid != before
    assert bounces == 3 * times(1)
    print(f"{bounces} brokers bounced, {player.acknowledged} of {player.total} messages sent meanwhile")
    settled(system, cluster)


@pytest.mark.parametrize("role", ["leader", "group coordinator", "transaction coordinator"])
def test_killing_the_broker_that_a_worker_needs_most_costs_nothing(
    cluster: LocalKafkaCluster, system: System, role: str
) -> None:
    names, group = topic_names(system.settings), system.settings.kafka.application
    find = {
        "leader": lambda: cluster.leader_of(names.activities, 0),
        "group coordinator": lambda: cluster.coordinator_of(group),
        "transaction coordinator": lambda: cluster.transaction_coordinator_of(f"{group}-{names.activities}-0"),
    }[role]
    player = system.play(times(1) * SECONDS_A_BOUNCE)
    for _ in range(times(1)):
        player.join(timeout=system.chance.uniform(1.0, 4.0))  # a random moment
        victim = find()
        assert victim is not None
        cluster.kill(victim)
        wait_until(lambda gone=victim: "" if find() not in (gone, None) else f"{role} is still {gone}", MOVED_SECONDS)
        wait_until(lambda: said_to_be_back(system), MOVED_SECONDS)  # without the broker that is away
        assert not cluster.brokers[victim].running
        cluster.start(victim)
        cluster.wait_in_sync()
    settled(system, cluster)


def test_a_frozen_broker_that_wakes_up_again_costs_nothing(cluster: LocalKafkaCluster, system: System) -> None:
    player = system.play(times(1) * SECONDS_A_BOUNCE)
    for _ in range(times(1)):
        player.join(timeout=system.chance.uniform(1.0, 4.0))
        victim = cluster.leader_of(topic_names(system.settings).activities, 0)
        assert victim is not None
        cluster.freeze(victim)
        try:
            wait_until(lambda node=victim: moved_away(cluster, system, node), MOVED_SECONDS)
            player.join(timeout=5.0)
        finally:
            cluster.thaw(victim)
        cluster.wait_in_sync()
    settled(system, cluster)
