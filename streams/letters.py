"""Owns reading dead letters back: their addresses, the notes that say which were replayed, and their whole bytes.

Invariant: it only reads, and either sees everything that was committed when it began or raises.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from aiokafka.structs import TopicPartition

from streams.log_state import ends_of, stretches
from streams.settings import Settings
from streams.topic_specs import source_topics, topic_names

NOTE_KEY = b"orgpulse-replayed"
"""Key of a note in the topic of dead letters."""
_CUT = re.compile(r"; the first \d+ (of \d+ )?bytes (of the key )?are kept(?=;|$)")


class Address(NamedTuple):
    """Where a letter lies in the topic of dead letters."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class Letter(msgspec.Struct, frozen=True):
    """One dead letter; `topic` is the source's name without prefix, `time` epoch seconds."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    time: float

    @property
    def is_whole(self) -> bool:
        """Whether key and value are here as they were in the source."""
        return self.value is not None and not _CUT.search(self.detail)


class Note(msgspec.Struct, frozen=True):
    """Says that the letter at offset `replayed` of the same partition was sent again, at `time` (epoch seconds)."""

    replayed: int
    time: float


class GoneError(Exception):
    """A letter's bytes are neither in it nor at its place in the source."""


_letter, _note = msgspec.json.Decoder(Letter), msgspec.json.Decoder(Note)


def read_record(key: bytes | None, value: bytes | None) -> Letter | Note | None:
    """Return what a record of the topic is; None = neither letter nor note, so nobody of this house wrote it."""
    decoders: list[msgspec.json.Decoder[Any]] = [_note, _letter] if key == NOTE_KEY else [_letter]
    for decoder in decoders:
        try:
            found: Letter | Note = decoder.decode(value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # a source's key may be spelled like a note's
        return found
    return None


async def records_of(settings: Settings) -> AsyncIterator[tuple[Address, Letter | Note | None]]:
    """Yield everything in the topic of dead letters that was committed before now.

    Raises:
        LookCutShortError: If the topic can't be read to its end.
        TopicMissingError: If there is no such topic.
    """
    ends = await ends_of(settings.kafka, [topic_names(settings).dead_letters])
    async for tp, record in stretches(settings.kafka, dict.fromkeys(ends, 0), ends, whole=True):
        yield Address(tp.partition, record.offset), read_record(record.key, record.value)


async def letter_at(settings: Settings, address: Address) -> Letter | None:
    """Return the letter at *address*, or None if there is none."""
    tp = TopicPartition(topic_names(settings).dead_letters, address.partition)
    ends = await ends_of(settings.kafka, [tp.topic])
    if not 0 <= address.offset < ends.get(tp, 0):
        return None
    starts, stop = {tp: address.offset}, {tp: address.offset + 1}
    async for _, record in stretches(settings.kafka, starts, stop, whole=True):
        found = read_record(record.key, record.value)
        if record.offset == address.offset and isinstance(found, Letter):
            return found
    return None


async def bytes_of(settings: Settings, letter: Letter) -> tuple[bytes | None, bytes | None]:
    """Return the whole (key, value) that *letter* is about, from the source where the letter lacks some.

    Raises:
        GoneError: If the source record is gone, is another one by now, or the topic is no source.
    """
    if letter.is_whole:
        return letter.key, letter.value
    topic = source_topics(topic_names(settings)).get(letter.topic)
    if topic is None:
        raise GoneError(f"{letter.topic} is no source topic")
    tp = TopicPartition(topic, letter.partition)
    ends = await ends_of(settings.kafka, [topic])
    if letter.offset < ends.get(tp, 0):
        starts, stop = {tp: letter.offset}, {tp: letter.offset + 1}
        async for _, record in stretches(settings.kafka, starts, stop, whole=True):
            if record.offset == letter.offset and (record.value or b"").startswith(letter.value or b""):
                return record.key, record.value
    raise GoneError(f"the record at {topic}-{letter.partition}:{letter.offset} is gone or another one")
