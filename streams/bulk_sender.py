"""Owns sending very many small records at once, in whole batches: a history, a directory.

Invariant: within a partition the order is that of the input, and topics advance together: a block is handed to Kafka
whole, and the next but one waits until it is acknowledged. The plain `Sender` takes 100 µs a record, this takes 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from types import TracebackType

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.kafka_access import Brokers, aiokafka_options, shown
from streams.kafka_trouble import refusal_in, why_shut
from streams.sender import SendError, partition_of_key

BLOCK_RECORDS = 4_000
BATCH_BYTES = 900_000  # uncompressed; below Kafka's default max.message.bytes

Record = tuple[str, bytes | None, bytes | None]
"""Topic, key, value."""
Placed = tuple[str, int | None, bytes | None, bytes | None, int | None]
"""Topic, partition (None = the key's), key, value, time stamp (ms; None = when it is sent)."""
_Deliveries = list["asyncio.Future[object]"]


class BulkSender:
    """An asynchronous context: connected inside it.

    Raises:
        SendError: On entering, if no broker answers.
    """

    def __init__(
        self, brokers: Brokers, client_id: str = "orgpulse-bulk-sender", batch_bytes: int = BATCH_BYTES
    ) -> None:
        """Prepare, without connecting; *brokers* is where Kafka is and how one gets in.

        *batch_bytes* is what a batch, so also a record, may have at most, uncompressed.
        """
        self._brokers, self._client_id, self._batch_bytes = brokers, client_id, batch_bytes
        self._partitions: dict[str, int] = {}
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> BulkSender:
        producer = AIOKafkaProducer(
            **aiokafka_options(self._brokers), client_id=self._client_id, acks="all", enable_idempotence=True,
            compression_type="lz4", max_batch_size=self._batch_bytes, max_request_size=self._batch_bytes + 100_000,
        )  # fmt: skip
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            trouble = await why_shut(self._brokers)
            if trouble is not None and not trouble.away:
                raise SendError(trouble.text) from error
            raise SendError(f"no Kafka broker answers at {shown(self._brokers)}: {error!r}") from error
        self._producer = producer
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        assert self._producer is not None
        await self._producer.stop()

    async def send(self, records: Iterable[Record], progress: Callable[[int], None] = lambda sent: None) -> int:
        """Send *records* and wait for Kafka; returns how many.

        Args:
            records: What to send; taken block by block, so a generator may stop early.
            progress: Called with the number handed over so far, after each block.

        Raises:
            SendError: If Kafka did not take them all, or a topic does not exist.
        """
        return await self.send_placed(((topic, None, key, value, None) for topic, key, value in records), progress)

    async def send_placed(self, records: Iterable[Placed], progress: Callable[[int], None] = lambda sent: None) -> int:
        """Send *records* like `send`, each to its partition and with its time stamp."""
        left, sent = iter(records), 0
        before: _Deliveries = []
        try:
            while block := list(islice(left, BLOCK_RECORDS)):
                now = await self._hand_over(block)
                await asyncio.gather(*before)
                before = now
                sent += len(block)
                progress(sent)
            await asyncio.gather(*before)
        except KafkaError as error:
            refusal = refusal_in(error)
            raise SendError(refusal.text if refusal else f"Kafka did not take a batch: {error!r}") from error
        return sent

    async def _hand_over(self, block: list[Placed]) -> _Deliveries:
        assert self._producer is not None
        batches: dict[tuple[str, int], BatchBuilder] = {}
        deliveries: _Deliveries = []
        for topic, partition, key, value, stamp in block:
            if partition is None:
                partition = partition_of_key(key, self._partitions.get(topic) or await self._count(topic))
            place = (topic, partition)
            batch = batches.get(place)
            if batch is None:
                batch = batches[place] = self._producer.create_batch()
            if batch.append(key=key, value=value, timestamp=stamp) is None:
                deliveries.append(await self._producer.send_batch(batch, topic, partition=place[1]))
                batch = batches[place] = self._producer.create_batch()
                if batch.append(key=key, value=value, timestamp=stamp) is None:
                    raise SendError(f"a record of {len(value or b'')} bytes; the limit is {self._batch_bytes}")
        for (topic, partition), batch in batches.items():
            deliveries.append(await self._producer.send_batch(batch, topic, partition=partition))
        return deliveries

    async def _count(self, topic: str) -> int:
        """Return how many partitions *topic* has."""
        assert self._producer is not None
        self._partitions[topic] = count = len(await self._producer.partitions_for(topic))
        return count
