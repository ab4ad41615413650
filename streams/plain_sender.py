"""Owns sending records from a command outside of transactions, each to its partition.

Invariant: what was sent was taken: every acknowledgement is waited for, because a flush alone would hide a refused one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from streams.kafka_access import aiokafka_options
from streams.settings import Settings
from streams.transactions import Outgoing

_SENT_TOGETHER = 5_000
"""Records that are on their way at a time."""


async def send_all(settings: Settings, records: Sequence[Outgoing]) -> None:
    """Send *records* and wait until Kafka has taken them.

    Raises:
        KafkaError: If one was not taken.
    """
    kafka = settings.kafka
    producer = AIOKafkaProducer(
        **aiokafka_options(kafka), acks="all", enable_idempotence=True, compression_type="lz4", linger_ms=20,
        max_request_size=2 * kafka.max_message_bytes,
    )  # fmt: skip
    await producer.start()
    try:
        for begin in range(0, len(records), _SENT_TOGETHER):
            some = records[begin : begin + _SENT_TOGETHER]
            acks = [await producer.send(r.topic, key=r.key, value=r.value, partition=r.partition) for r in some]
            await asyncio.gather(*acks)
    finally:
        await producer.stop()
