"""Carries over to the next generation what its sources can't tell it.

Owns the rows of people: `users` is compacted, so it has forgotten where they were before, and who claimed an alias
first. Invariant: it is written whole before the next generation reads anything, and never over what that has written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agents.members import CARRIED, ROW_OF_USER, decode_user
from streams.log_state import committed_of, content_of
from streams.plain_sender import send_all
from streams.settings import Settings
from streams.topic_specs import group_of, topic_names
from streams.transactions import Outgoing


async def carry_people(live: Settings, aside: Settings) -> int:
    """Write what *live* knows of people into the table of *aside*, unless that is in use; return how many they are.

    Raises:
        KafkaError: If a record was not taken; then nobody may begin to read yet.
    """
    brokers, names = aside.kafka, topic_names(aside)
    if any(tp.topic == names.users for tp in await committed_of(brokers, group_of(aside))):
        return 0
    return await carry_rows(await content_of(brokers, topic_names(live).members_changelog), aside)


async def carry_rows(content: Sequence[Mapping[bytes, bytes]], aside: Settings) -> int:
    """Write the rows of people in *content* (key → row, by partition) into the table of *aside*; return how many.

    Raises:
        KafkaError: If a record was not taken.
    """
    topic, rows = topic_names(aside).members_changelog, list[Outgoing]()
    for partition, table in enumerate(content):
        for key, raw in table.items():
            if key.startswith(ROW_OF_USER):
                carried = msgspec.structs.replace(decode_user(raw), offset=CARRIED)
                rows.append(Outgoing(topic, partition, key, msgspec.msgpack.encode(carried)))
    await send_all(aside, rows)
    return len(rows)
