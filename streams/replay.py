"""Owns sending dead letters to their source again.

Invariant: a message and the note that its letter was replayed leave in one transaction, and notes are read only after
every other replay was fenced; so no letter is sent twice unless that is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError

from streams.errors import OperatorError
from streams.letters import NOTE_KEY, Address, GoneError, Letter, Note, bytes_of, records_of
from streams.patient_client import PatientSender, patient
from streams.settings import Settings
from streams.topic_specs import source_topics, topic_names
from streams.transactions import FENCED, all_of

LETTER_HEADER = "orgpulse-letter"
"""Header of a message sent again: the address of its letter."""
BATCH_LETTERS, BATCH_BYTES = 500, 4 * 1024 * 1024
"""Most that leaves in one transaction; a batch may be over the bytes by its last message."""
_TRANSACTION_MS = 8_000
"""What a replay that died left open hides what follows for so long, from those who only look."""
MOST_REFUSALS = 100
"""Refused letters that are named; further ones are counted only."""

Fix = Callable[[bytes | None], bytes]


class RefusedError(Exception):
    """A letter can't be sent again in this way."""


class ReplayFailedError(OperatorError):
    """A replay ended early."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, "What was sent is noted: run the same command again, without --again, to send the rest."
        )


@dataclass(slots=True)
class Tally:
    """What became of the chosen letters."""

    sent: int = 0
    already: int = 0
    refused: int = 0
    refusals: list[tuple[Address, str]] = field(default_factory=list)

    def refuse(self, address: Address, why: str) -> None:
        """Count a letter that can't be sent, and remember why."""
        self.refused += 1
        if len(self.refusals) < MOST_REFUSALS:
            self.refusals.append((address, why))


@dataclass(frozen=True, slots=True)
class _Ready:
    address: Address
    topic: str
    partition: int
    key: bytes | None
    value: bytes


async def replay(
    settings: Settings, chosen: Set[Address], fix: Fix, now: Callable[[], float], *,
    again: bool = False, dry: bool = False, progress: Callable[[int], None] = lambda number: None,
) -> Tally:  # fmt: skip
    """Send the letters at *chosen* to their source again, each changed by *fix*; with *dry* only look.

    Raises:
        ReplayFailedError: If another replay has begun since, or Kafka did not take a transaction.
    """
    producer = None if dry else await _producer(settings)
    tally, batch, size = Tally(), list[_Ready](), 0
    try:
        noted = set() if again else await replayed_in(settings)
        async for address, found in records_of(settings):
            if address not in chosen or not isinstance(found, Letter):
                continue
            progress(1)
            if address in noted:
                tally.already += 1
                continue
            try:
                ready = await _made(settings, address, found, fix)
            except (GoneError, RefusedError) as error:
                tally.refuse(address, str(error))
                continue
            batch.append(ready)
            size += len(ready.value)
            if len(batch) >= BATCH_LETTERS or size >= BATCH_BYTES:
                tally.sent += await _send(settings, producer, batch, now())
                batch, size = [], 0
        tally.sent += await _send(settings, producer, batch, now())
    finally:
        if producer is not None:
            await producer.stop()
    return tally


async def end_former_replay(settings: Settings) -> None:
    """Abort what a replay that died has left open; nobody could read past it for as long as transactions last."""
    producer = await _producer(settings)
    await producer.stop()


async def replayed_in(settings: Settings) -> set[Address]:
    """Return the addresses of letters that were replayed."""
    found = set()
    async for address, record in records_of(settings):
        if isinstance(record, Note):
            found.add(Address(address.partition, record.replayed))
    return found


async def _made(settings: Settings, address: Address, letter: Letter, fix: Fix) -> _Ready:
    topic = source_topics(topic_names(settings)).get(letter.topic)
    if topic is None:
        raise RefusedError(f"{letter.topic} is no source topic")
    key, value = await bytes_of(settings, letter)
    fixed = fix(value)
    if len(key or b"") + len(fixed) > settings.kafka.max_message_bytes - 1024:
        raise RefusedError("too large for a record of Kafka ([kafka] max_message_bytes)")
    return _Ready(address, topic, letter.partition, key, fixed)


async def _send(settings: Settings, producer: Any, batch: list[_Ready], now: float) -> int:
    """Send *batch* and its notes in one transaction; nothing is tried again once its end was asked for."""
    if producer is None or not batch:
        return len(batch)
    letters = topic_names(settings).dead_letters
    producer._sender.began, acks = time.monotonic(), list[Any]()
    try:
        async with producer.transaction():
            for one in batch:
                headers = [(LETTER_HEADER, str(one.address).encode())]
                note = msgspec.json.encode(Note(one.address.offset, now))
                for to in (
                    {"topic": one.topic, "value": one.value, "key": one.key, "partition": one.partition}
                    | {"headers": headers},
                    {"topic": letters, "value": note, "key": NOTE_KEY, "partition": one.address.partition},
                ):
                    acks.append(await producer.send(**to))
                    acks[-1].add_done_callback(_seen)
            await all_of(acks)
    except (*FENCED, IllegalOperation) as error:  # the latter, if the fence fell between two sends
        raise ReplayFailedError("another replay has begun since, or Kafka gave this one up") from error
    except KafkaError as error:
        raise ReplayFailedError(f"Kafka did not take a transaction: {error!r}") from error
    return len(batch)


def _seen(ack: Any) -> None:
    """Take note of an error that is told already, by the send after it."""
    if not ack.cancelled():
        ack.exception()


async def _producer(settings: Settings) -> Any:
    """Start the one producer that may replay; every other replay is fenced when this returns."""
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.brokers,
        transactional_id=f"{settings.kafka.application}-dead-letters-replay",
        acks="all",
        compression_type="lz4",
        max_request_size=2 * settings.kafka.max_message_bytes,
        transaction_timeout_ms=_TRANSACTION_MS,
    )
    patient(producer)._sender.__class__ = PatientSender
    producer._sender.began = time.monotonic()
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer
