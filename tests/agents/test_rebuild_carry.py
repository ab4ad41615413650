"""What the next generation is given of people, since its sources have forgotten it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents.members import CARRIED, ROW_OF_USER, decode_user
from agents.rebuild_carry import carry_people
from state.identity import UserRecord
from state.membership import FOREVER_MS
from streams.log_state import content_of
from streams.plain_sender import send_all
from streams.settings import Settings, override
from streams.topic_specs import group_of, topic_names
from streams.topics import create_topics
from streams.transactions import Outgoing

MOVED = [(0, 5, "a"), (5, FOREVER_MS, "b")]
ANN = UserRecord("ann", "b", ["ann"], "", True, False, memberships=MOVED, offset=7, claimed_ms=[3])


def row(settings: Settings, user: str, record: UserRecord) -> Outgoing:
    return Outgoing(
        topic_names(settings).members_changelog, 0, ROW_OF_USER + user.encode(), msgspec.msgpack.encode(record)
    )


async def begin_to_read(settings: Settings) -> None:
    """Commit a place in `users`, as the first worker of a generation does with what it writes."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.brokers, group_id=group_of(settings))
    await consumer.start()
    try:
        place = TopicPartition(topic_names(settings).users, 0)
        consumer.assign([place])
        await consumer.commit({place: 1})
    finally:
        await consumer.stop()


@pytest.mark.kafka
def test_people_are_carried_over_whole_even_if_that_was_interrupted_but_never_over_what_was_read(
    settings: Settings,
) -> None:
    aside = override(settings, {"worker.generation": 1, "worker.aside": "everything"})
    create_topics(aside)
    asyncio.run(send_all(settings, [row(settings, user, ANN) for user in ("ann", "bob")]))
    asyncio.run(send_all(aside, [row(aside, "ann", ANN)]))  # an earlier run came so far
    assert asyncio.run(carry_people(settings, aside)) == 2
    content = asyncio.run(content_of(aside.kafka.brokers, topic_names(aside).members_changelog))[0]
    found = {key: decode_user(raw) for key, raw in content.items()}
    assert found == dict.fromkeys((b"u:ann", b"u:bob"), msgspec.structs.replace(ANN, offset=CARRIED))

    asyncio.run(begin_to_read(aside))
    assert asyncio.run(carry_people(settings, aside)) == 0
