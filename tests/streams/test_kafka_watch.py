"""What is said about Kafka, and how often it is asked, while it is away or only half there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import PartitionMetadata

from streams.clock import FixedClock
from streams.kafka_watch import SLOW_COMMIT_SECONDS, KafkaWatch, unwritable
from streams.metrics import Metrics
from streams.patient_client import PatientSender, patient
from streams.transactions import Transactions
from tests.streams.counting_job import eventually

TOPICS = frozenset({"events", "scores"})


def cluster(*parts: tuple[str, int, int, list[int]]) -> ClusterMetadata:
    """Return a cluster's description from (topic, partition, leader, in-sync copies)."""
    found: dict[str, dict[int, PartitionMetadata]] = {}
    for topic, number, leader, copies in parts:
        found.setdefault(topic, {})[number] = PartitionMetadata(topic, number, leader, [1, 2, 3], copies, 0)
    described = ClusterMetadata()
    described._partitions = found
    return described


def watch(brokers: str, clock: FixedClock) -> tuple[KafkaWatch, Metrics, Transactions]:
    metrics, transactions = Metrics(), Transactions(brokers, "group")
    return KafkaWatch(brokers, TOPICS, 2, transactions, clock, metrics), metrics, transactions


def test_a_partition_without_leader_or_with_too_few_copies_is_named() -> None:
    well = ("events", 0, 1, [1, 2, 3])
    assert unwritable(cluster(well, ("scores", 0, 2, [2, 3])), TOPICS, 2) == ""
    said = unwritable(cluster(well, ("scores", 0, 2, [2])), TOPICS, 2)
    assert said == "1 partitions have fewer than 2 copies in sync: scores-0"
    said = unwritable(cluster(("events", 3, -1, [1, 2]), ("scores", 0, 2, [2])), TOPICS, 2)
    assert said == "1 partitions have no leader: events-3"


def test_other_peoples_topics_are_not_our_trouble() -> None:
    assert unwritable(cluster(("theirs", 0, -1, [])), TOPICS, 2) == ""


def test_an_absent_kafka_is_named_with_the_time_since_when_and_counted() -> None:
    async def scenario() -> None:
        looking, metrics, _ = watch("127.0.0.1:1", FixedClock(86_400.0))
        starting = asyncio.create_task(looking.start())
        await eventually(lambda: metrics.kafka_retries.value("look") >= 2)
        name, well, detail = looking.check()
        assert (name, well) == ("kafka", False)
        assert detail.startswith("no broker answers at 127.0.0.1:1 (KafkaConnectionError), since 1970-01-02T00:00:00+")
        assert (metrics.kafka_up.value(), metrics.kafka_outages.value()) == (0, 1)
        assert not starting.done()
        await looking.stop()
        starting.cancel()

    asyncio.run(scenario())


def test_a_kafka_that_answers_is_well_unless_a_commit_hangs(kafka: Any) -> None:
    async def scenario() -> None:
        looking, metrics, transactions = watch(kafka.bootstrap, FixedClock(0.0))
        await looking.start()
        assert looking.check() == ("kafka", True, "1 brokers answer")
        assert (metrics.kafka_up.value(), metrics.kafka_brokers.value()) == (1, 1)
        transactions._began["events-0"] = time.monotonic() - 2 * SLOW_COMMIT_SECONDS
        assert looking.check() == ("kafka", False, "the commit of events-0 takes 10 s by now")
        await looking.stop()

    asyncio.run(scenario())


def test_a_client_that_reaches_nobody_asks_ever_more_slowly() -> None:
    async def scenario() -> None:
        producer: Any = patient(AIOKafkaProducer(bootstrap_servers="127.0.0.1:1"))
        tries, end = 0, time.monotonic() + 1.0
        while time.monotonic() < end:
            assert not await producer.client._metadata_update(producer.client.cluster, [])
            assert not await producer.client.ready(7)
            tries += 2
        assert 4 <= tries <= 22  # impatient, it is thousands
        await producer.stop()

    asyncio.run(scenario())


def test_a_transaction_tries_again_at_once_at_first_and_slower_with_its_age() -> None:
    sender: Any = PatientSender.__new__(PatientSender)
    pauses = []
    for age_seconds in (0.0, 1.0, 2.0, 60.0):
        sender.began = time.monotonic() - age_seconds
        pauses.append(sender._retry_backoff)
    assert pauses == pytest.approx([0.005, 0.05, 0.1, 0.25], abs=0.004)
