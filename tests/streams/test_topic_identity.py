"""A topic that was deleted and created again under its name is never taken for the former one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from kafka import KafkaAdminClient

from streams.errors import OperatorError
from streams.origins import LostOffsetError, Origins
from streams.recovery import WrongTopicError
from streams.topic_ids import Layout, RecreatedTopicError, check_note, check_same, layouts, note_of
from tests.streams import kafka_topics
from tests.streams.conftest import Place
from tests.streams.counting_job import CountingJob, eventually, running

EVENTS = [b"k%d" % (number % 7) for number in range(70)]


async def made_anew(place: Place, topic: str) -> None:
    """Delete a topic and create it again, and wait until its name is another topic's."""
    client = AIOKafkaClient(bootstrap_servers=place.bootstrap)
    await client.bootstrap()
    try:
        former = (await layouts(client, [topic]))[topic]
        assert former.id and former.partitions == place.partitions
        await kafka_topics.drop_topic(place.bootstrap, topic)
        for wanted in (0, place.partitions):
            found = former
            for _ in range(500):
                found = (await layouts(client, [topic]))[topic]
                if found.partitions == wanted:
                    break
                await asyncio.sleep(0.02)
            if not wanted:
                await kafka_topics.make_topics(place.bootstrap, [topic], place.partitions)
        assert found.id != former.id
    finally:
        await client.close()


async def committed_by_a_worker(place: Place) -> None:
    await kafka_topics.make_topics(place.bootstrap, [place.origins], place.partitions)
    for partition in range(place.partitions):
        await place.fill(partition, EVENTS)
    job = place.job(origins=True)
    async with running(job):
        await eventually(lambda: sum(job.app.transactions.committed.values()) == 2 * len(EVENTS))


async def refuses(job: CountingJob, kind: type[OperatorError], pattern: str) -> None:
    async with running(job):
        await eventually(lambda: job.app.failure is not None)
    assert isinstance(job.app.failure, kind), job.app.failure
    assert re.search(pattern, str(job.app.failure))


@pytest.mark.parametrize("which", ["source", "changelog"])
def test_a_longer_log_under_the_same_name_is_refused_and_not_read(place: Place, which: str) -> None:
    #  former log   0 ────────── 70 committed
    #  new log      0 ────────────────────── 210     offset 70 exists, and means nothing
    async def scenario() -> None:
        await committed_by_a_worker(place)
        topic = place.topic if which == "source" else place.changelog
        await made_anew(place, topic)
        for partition in range(place.partitions if which == "source" else 0):
            await place.fill(partition, EVENTS * 3)
        job = place.job(origins=True)
        await refuses(job, RecreatedTopicError, f"topic {topic} was made anew: its id was [^ ]{{22}} and is [^ ]{{22}}")
        assert job.chunks == [] and "orgpulse rebuild" in getattr(job.app.failure, "remedy", "")

    asyncio.run(scenario())


def test_offsets_that_the_group_forgot_are_not_taken_for_a_new_topic(place: Place) -> None:
    # Kafka drops the offsets of a group that was idle for a week, and those of a topic that is deleted.
    async def scenario() -> None:
        await committed_by_a_worker(place)
        await asyncio.to_thread(forget, place)
        await refuses(place.job(origins=True), LostOffsetError, "was read before, but the group has no offset")

    asyncio.run(scenario())


def test_an_offset_without_a_note_is_taken_once_and_gets_one(place: Place) -> None:
    async def scenario() -> None:
        await committed_by_a_worker(place)
        assert {place.changelog, place.origins} <= set(await noted(place))
        without = place.job()
        without.app._look_at_topics = check_only(without)  # type: ignore[method-assign]
        async with running(without):
            for partition in range(2):
                await place.fill(partition, EVENTS)
            await eventually(lambda: sum(without.app.transactions.committed.values()) == 4 * len(EVENTS))
        assert await noted(place) == {}
        job = place.job()
        async with running(job) as app:
            await place.fill(0, EVENTS)
            await eventually(lambda: sum(job.totals().values()) == 5 * len(EVENTS))
            assert app.failure is None
        assert place.changelog in await noted(place)

    asyncio.run(scenario())


def check_only(job: CountingJob) -> Callable[[], Awaitable[None]]:
    """Stand in for an older version, which wrote no notes."""
    look = job.app._look_at_topics

    async def as_before() -> None:
        await look()
        job.app.transactions.notes = {}

    return as_before


async def noted(place: Place) -> dict[str, str]:
    """Return the logs named in the notes of the group's offsets."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(place.app_id)
        notes = [msgspec.json.decode(offset.metadata) for offset in offsets.values() if offset.metadata]
        return {name: topic_id for note in notes for name, topic_id in note["logs"].items()}
    finally:
        await admin.close()


def forget(place: Place) -> None:
    """Delete the group, as its expiry does."""
    admin = KafkaAdminClient(bootstrap_servers=place.bootstrap)
    try:
        admin.delete_groups([place.app_id])
    finally:
        admin.close()


def test_a_topic_made_anew_under_a_running_worker_stops_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.topic_watch.LOOK_SECONDS", 0.5)

    async def scenario() -> None:
        job = place.job()
        async with running(job):
            await made_anew(place, place.topic)
            await eventually(lambda: job.app.failure is not None)
        assert isinstance(job.app.failure, OperatorError)

    asyncio.run(scenario())


def test_a_topic_made_anew_before_a_rebalance_is_told_by_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # The rebalance looks at the topics anew; it must not take the new one for what it has always read.
    monkeypatch.setattr("streams.topic_watch.LOOK_SECONDS", 600.0)

    async def scenario() -> None:
        job = place.job()
        async with running(job):
            await made_anew(place, place.topic)
            assert job.app.failure is None or isinstance(job.app.failure, OperatorError)
            second = place.job()
            async with running(second):
                await eventually(lambda: job.app.failure is not None)
        assert isinstance(job.app.failure, RecreatedTopicError | WrongTopicError), job.app.failure

    asyncio.run(scenario())


def test_a_topic_made_anew_that_is_not_assigned_is_told_all_the_same() -> None:
    class Rows:
        def items(self, partition: int) -> list[tuple[bytes, bytes]]:
            return [(b"a", b"A1"), (b"b", b"?"), (b"gone", b"G1")] if partition == 1 else []

    table: Any = Rows()
    now = {"a": Layout("A1", 2), "b": Layout("B2", 2)}
    Origins(table).check_topics([0, 1], now)
    with pytest.raises(RecreatedTopicError, match="its id was A1 and is A2"):
        Origins(table).check_topics([0, 1], now | {"a": Layout("A2", 2)})


def test_a_topic_widened_under_a_running_worker_stops_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # Keys move to other partitions: what is known of them would lie in the former ones.
    monkeypatch.setattr("streams.topic_watch.LOOK_SECONDS", 0.5)

    async def scenario() -> None:
        job = place.job()
        async with running(job):
            admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
            await admin.start()
            await admin.create_partitions({place.topic: NewPartitions(3)})
            await admin.close()
            await eventually(lambda: job.app.failure is not None)
        assert isinstance(job.app.failure, WrongTopicError)
        assert "has 3 partitions instead of 2" in str(job.app.failure)

    asyncio.run(scenario())


def test_only_ids_that_are_known_on_both_sides_are_compared() -> None:
    now: dict[str, Any] = {"a": Layout("A2", 1), "b": Layout("", 1)}
    for text in (None, "", "plain text", '{"topic":"","logs":{"b":"B1","gone":"G1"}}', '{"topic":"A2"}'):
        check_note("a", text, now)
    for text in ('{"topic":"A1"}', '{"topic":"A2","logs":{"a":"A1"}}'):
        with pytest.raises(RecreatedTopicError, match="A1 and is A2"):
            check_note("a" if "logs" not in text else "c", text, now)
    assert note_of("b", [], now) == ""
    check_same({"b": Layout("B1", 1)}, now)
    with pytest.raises(RecreatedTopicError):
        check_same({"a": Layout("A1", 1)}, now)
