"""Owns sending from a command in transactions, when only one run of that command may do so at a time.

Invariant: everything given to one `send` leaves in one transaction, and once a sender has started every earlier one of
its name is fenced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError

from streams.kafka_access import aiokafka_options
from streams.patient_client import PatientSender, patient
from streams.settings import Settings
from streams.transactions import FENCED, all_of

_TRANSACTION_MS = 8_000
"""What a run that died left open hides what follows for so long, from those who only look."""


class NotSentError(Exception):
    """Kafka did not take a transaction; nothing is tried again once its end was asked for."""


class LoneSender:
    """A transactional producer; an asynchronous context manager."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Prepare; *name* is part of the transactional id."""
        self._producer: Any = AIOKafkaProducer(
            **aiokafka_options(settings.kafka),
            transactional_id=f"{settings.kafka.application}-{name}",
            acks="all",
            compression_type="lz4",
            max_request_size=2 * settings.kafka.max_message_bytes,
            transaction_timeout_ms=_TRANSACTION_MS,
        )
        patient(self._producer)._sender.__class__ = PatientSender

    async def __aenter__(self) -> LoneSender:
        """Start; every other one of that name is fenced when this returns."""
        self._producer._sender.began = time.monotonic()
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self._producer.stop()

    async def send(self, records: Iterable[dict[str, Any]]) -> None:
        """Send *records* (arguments of a producer's `send`) in one transaction.

        Raises:
            NotSentError: If another sender of that name has started since, or Kafka did not take them.
        """
        self._producer._sender.began, acks = time.monotonic(), list[Any]()
        try:
            async with self._producer.transaction():
                for record in records:
                    acks.append(await self._producer.send(**record))
                    acks[-1].add_done_callback(_seen)
                await all_of(acks)
        except (*FENCED, IllegalOperation) as error:  # the latter, if the fence fell between two sends
            raise NotSentError("another run has begun since, or Kafka gave this one up") from error
        except KafkaError as error:
            raise NotSentError(f"Kafka did not take a transaction: {error!r}") from error


def _seen(ack: Any) -> None:
    """Take note of an error that is told already, by the send after it."""
    if not ack.cancelled():
        ack.exception()
