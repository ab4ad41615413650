"""Owns writing to Kafka from outside the workers: importers, the simulator, tests.

Invariant: `acknowledged` counts the longest prefix, in the order of `send`, that Kafka has on all in-sync replicas, so
a caller who remembers a position at that count loses nothing; after one failed record nothing more is sent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.partitioner import murmur2

from streams.kafka_access import Brokers, kafka_python_options, shown
from streams.kafka_trouble import refusal_in, trouble_with
from streams.settings_wire import KafkaSettings

MAX_IN_FLIGHT = 50_000  # records; kafka-python's own buffer has no bound
MAX_RECORD_BYTES = 1_000_000  # below Kafka's default max.message.bytes of 1,048,588 with room for the envelope
_REAP_EVERY = 1_024  # sends between two looks at the acknowledgements
_BATCH_BYTES = 131_072
_METADATA_WAIT_SECONDS = 10.0
_BACKOFF_SECONDS = (0.25, 5.0)  # first and longest pause while no broker answers


class SendError(RuntimeError):
    """A record did not reach Kafka, or no broker answers; the text says what to do."""


class RecordTooLargeError(SendError):
    """One record is larger than Kafka takes; nothing was sent and the sender stays usable."""


def _told(brokers: Brokers, error: Exception, patience_seconds: float) -> str:
    """Say why there is no connection."""
    trouble = trouble_with(brokers)
    if trouble is not None and not trouble.away:
        return trouble.text
    return f"no Kafka broker answers at {shown(brokers)} (tried for {patience_seconds:g} s): {error}"


@lru_cache(maxsize=65_536)
def _key_hash(key: bytes) -> int:
    """Return what Kafka's default partitioner takes modulo the partitions (cached: kafka-python's is pure Python)."""
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_of_key(key: bytes | None, partitions: int) -> int:
    """Return the partition that any Kafka client picks for *key*; without a key, the first.

    >>> [partition_of_key(key, 4) for key in (b"northwind", b"42", None)]
    [3, 0, 0]
    """
    return 0 if key is None else _key_hash(key) % partitions


class Sender:
    """Send records with idempotence, acks from all replicas and lz4, never more than a bounded number in flight.

    Records are stamped with the time of sending: Kafka rejects a stamp more than an hour ahead, and its retention
    deletes records whose stamp is old, so event time belongs in the value.

    Args:
        brokers: Where Kafka is and how one gets in, or `host:port` addresses of an open listener.
        linger_seconds: How long a batch may wait for company.
        patience_seconds: How long an absent broker is waited for, at the start and for each record.
        client_id: The name shown in the broker's log.
        max_in_flight: Records handed over and not acknowledged yet; `send` waits at this bound.

    Raises:
        SendError: If no broker answers within *patience_seconds*.
    """

    def __init__(
        self,
        brokers: Brokers | Sequence[str],
        *,
        linger_seconds: float = 0.05,
        patience_seconds: float = 120.0,
        client_id: str = "orgpulse-sender",
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self._brokers: Brokers = brokers if isinstance(brokers, KafkaSettings | str) else ",".join(brokers)
        self._patience_seconds = patience_seconds
        self._max_in_flight = max_in_flight
        self._futures: deque[Any] = deque()
        self._partitions: dict[str, list[int]] = {}
        self._turn = 0
        self._failure: str | None = None
        self.sent = 0
        self.acknowledged = 0
        self._producer = self._connect(client_id, linger_seconds)

    def _connect(self, client_id: str, linger_seconds: float) -> Any:
        """Return a connected producer; try again with growing pauses while no broker answers."""
        deadline = time.monotonic() + self._patience_seconds
        pause, longest_pause = _BACKOFF_SECONDS
        while True:
            left_seconds = max(1.0, deadline - time.monotonic())
            try:
                return KafkaProducer(
                    **kafka_python_options(self._brokers),
                    client_id=client_id,
                    acks="all",
                    enable_idempotence=True,
                    compression_type="lz4",
                    batch_size=_BATCH_BYTES,
                    linger_ms=int(linger_seconds * 1000),
                    delivery_timeout_ms=int(max(self._patience_seconds, 31.0 + linger_seconds) * 1000),
                    max_block_ms=int(_METADATA_WAIT_SECONDS * 1000),
                    bootstrap_timeout_ms=int(min(5.0, left_seconds) * 1000),
                    reconnect_backoff_max_ms=int(longest_pause * 1000),
                    allow_auto_create_topics=False,
                    metrics_enabled=False,
                )
            except (KafkaTimeoutError, KafkaConnectionError, OSError) as error:
                if time.monotonic() + pause >= deadline:
                    raise SendError(_told(self._brokers, error, self._patience_seconds)) from error
                time.sleep(pause)
                pause = min(pause * 2, longest_pause)

    def _partition(self, topic: str, key: bytes | None) -> int:
        """Return the partition that any Kafka client picks for *key*; records without a key take turns by batch."""
        partitions = self._partitions.get(topic)
        if partitions is None:
            try:
                partitions = sorted(self._producer.partitions_for(topic))
            except KafkaError as error:
                if (refusal := refusal_in(error)) is not None:
                    raise SendError(refusal.text) from error
                raise SendError(
                    f"topic {topic} is not to be had within {_METADATA_WAIT_SECONDS:g} s ({error}): "
                    "does it exist? `orgpulse topics create` makes the topics"
                ) from error
            self._partitions[topic] = partitions
        if key is None:
            self._turn += 1
            return partitions[self._turn // 256 % len(partitions)]
        return partitions[_key_hash(key) % len(partitions)]

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Hand one record over; waits while `max_in_flight` records are unacknowledged.

        Args:
            topic: The full topic name.
            key: Decides the partition; `None` spreads.
            value: The record, or `None` for a tombstone (which needs a key).

        Raises:
            RecordTooLargeError: If the record is over `MAX_RECORD_BYTES`; others may still be sent.
            SendError: If an earlier record failed, or the topic does not exist.
        """
        if self._failure is not None:
            raise SendError(self._failure)
        if len(key or b"") + len(value or b"") > MAX_RECORD_BYTES:
            raise RecordTooLargeError(f"a record of {len(value or b'')} bytes; the limit is {MAX_RECORD_BYTES}")
        try:
            future = self._producer.send(topic, value, key, partition=self._partition(topic, key))
        except MessageSizeTooLargeError as error:
            raise RecordTooLargeError(str(error)) from error
        except KafkaError as error:
            raise self._fail(error) from error
        self._futures.append(future)
        self.sent += 1
        if self.sent % _REAP_EVERY == 0:
            self._reap()
            while len(self._futures) >= self._max_in_flight:
                self._wait_for_oldest()

    def poll(self) -> int:
        """Return the acknowledged prefix as of now (see `acknowledged`).

        Raises:
            SendError: If a record failed.
        """
        self._reap()
        return self.acknowledged

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            SendError: If any record failed since the start, or the broker stays away longer than the patience.
        """
        if self._failure is not None:
            raise SendError(self._failure)
        try:
            self._producer.flush(self._patience_seconds + 5.0)
        except KafkaError as error:
            raise self._fail(error) from error
        self._reap()
        if self._futures:
            raise self._fail("the flush ended before all records were acknowledged")

    def close(self) -> None:
        """Flush and leave; a failed record raises here at the latest."""
        try:
            if self._failure is None:
                self.flush()
        finally:
            # Nothing is to be had from waiting any longer: a flush has either succeeded or used up the patience.
            self._producer.close(timeout=1.0 if self._failure is None else 0)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Leave at once, without waiting for what is in flight; `acknowledged` stays what it was."""
        self._failure = self._failure or "the sender was abandoned"
        try:
            self._producer.close(timeout=0)
        except KafkaError as error:
            self._failure = f"{self._failure} ({error})"

    def _reap(self) -> None:
        """Count the acknowledged prefix; stop for good at the first failed record."""
        futures = self._futures
        while futures and futures[0].is_done:
            if futures[0].exception is not None:
                raise self._fail(futures[0].exception)
            futures.popleft()
            self.acknowledged += 1

    def _wait_for_oldest(self) -> None:
        try:
            self._futures[0].get(timeout=self._patience_seconds + 5.0)
        except KafkaError as error:
            raise self._fail(error) from error
        self._reap()

    def _fail(self, cause: object) -> SendError:
        refusal = refusal_in(cause) if isinstance(cause, BaseException) else None
        self._failure = (
            f"Kafka at {shown(self._brokers)} did not take a record: {refusal.text if refusal else cause}; "
            f"{self.acknowledged} of {self.sent} are acknowledged"
        )
        return SendError(self._failure)
