"""Owns sending dead letters to their source again.

Invariant: a message and the note that its letter was replayed leave in one transaction, and notes are read only after
every other replay was fenced; so no letter is sent twice unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.errors import OperatorError
from streams.letters import NOTE_KEY, Address, GoneError, Letter, Note, bytes_of, records_of
from streams.lone_sender import LoneSender, NotSentError
from streams.settings import Settings
from streams.topic_specs import source_topics, topic_names

LETTER_HEADER = "orgpulse-letter"
"""Header of a message sent again: the address of its letter."""
BATCH_LETTERS, BATCH_BYTES = 500, 4 * 1024 * 1024
"""Most that leaves in one transaction; a batch may be over the bytes by its last message."""
_NAME = "dead-letters-replay"
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
    tally, batch, size = Tally(), list[_Ready](), 0
    async with AsyncExitStack() as running:
        sender = None if dry else await running.enter_async_context(LoneSender(settings, _NAME))
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
                tally.sent += await _send(settings, sender, batch, now())
                batch, size = [], 0
        tally.sent += await _send(settings, sender, batch, now())
    return tally


async def end_former_replay(settings: Settings) -> None:
    """Abort what a replay that died has left open; nobody could read past it for as long as transactions last."""
    async with LoneSender(settings, _NAME):
        pass


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


async def _send(settings: Settings, sender: LoneSender | None, batch: list[_Ready], now: float) -> int:
    """Send *batch* and its notes in one transaction."""
    if sender is None or not batch:
        return len(batch)
    letters, records = topic_names(settings).dead_letters, list[dict[str, Any]]()
    for one in batch:
        headers = [(LETTER_HEADER, str(one.address).encode())]
        note = msgspec.json.encode(Note(one.address.offset, now))
        records += [
            {"topic": one.topic, "value": one.value, "key": one.key, "partition": one.partition, "headers": headers},
            {"topic": letters, "value": note, "key": NOTE_KEY, "partition": one.address.partition},
        ]
    try:
        await sender.send(records)
    except NotSentError as error:
        raise ReplayFailedError(str(error)) from error
    return len(batch)
