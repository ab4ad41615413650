"""Carries over to the next generation what its sources can't tell it.

Owns the rows of people: `users` is compacted, so it has forgotten where they were before, and who claimed an alias
first. Invariant: only a table that nobody has written to in the next generation yet is written.
"""

from __future__ import annotations

import msgspec
from aiokafka import AIOKafkaProducer

from agents.members import CARRIED, ROW_OF_USER, decode_user
from streams.log_state import content_of, ends_of
from streams.settings import Settings
from streams.topic_specs import topic_names


async def carry_people(live: Settings, aside: Settings) -> int:
    """Write what *live* knows of people into the table of *aside*, if that is empty; return how many they are."""
    source, target = topic_names(live).members_changelog, topic_names(aside).members_changelog
    if any((await ends_of(aside.kafka.brokers, [target])).values()):
        return 0
    rows: list[tuple[int, bytes, bytes]] = []
    for partition, content in enumerate(await content_of(live.kafka.brokers, source)):
        for key, raw in content.items():
            if key.startswith(ROW_OF_USER):
                carried = msgspec.structs.replace(decode_user(raw), offset=CARRIED)
                rows.append((partition, key, msgspec.msgpack.encode(carried)))
    producer = AIOKafkaProducer(bootstrap_servers=aside.kafka.brokers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for partition, key, value in rows:
            await producer.send(target, value, key=key, partition=partition)
    finally:
        await producer.stop()  # waits for every acknowledgement
    return len(rows)
