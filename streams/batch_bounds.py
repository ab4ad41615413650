"""Owns how a record batch is unpacked: never to more than a bound, whatever it claims.

A broker limits batches as they are sent, compressed; a megabyte of zstd may hold a gigabyte of zeros, as one record or
as a million, and aiokafka unpacks a batch whole before anybody sees a record of it. So batches are unpacked here, into
a buffer of the bound's size. One that does not fit, or can't be unpacked at all, is handed out as a single `Skipped`
record in its place: whoever reads goes on behind it, and knows what is missing.

Invariant: of one fetch of a partition no more is unpacked at a time than the bound and one batch more.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import cramjam
import numpy as np
import structlog
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from numpy.typing import NDArray

MAX_UNPACKED_BYTES: Final = 8 << 20
"""Of a batch, where the settings say nothing else."""
AT_ONCE, MESSAGES_AT_ONCE = 4, 200_000
"""So many times as much is unpacked of one fetch at most, and so many messages, but for a batch that holds more alone.
Honest fetches of 4 MB stay below both: stopping in their midst costs a third of the throughput."""

_log = structlog.get_logger(__name__)
_HEAD_BYTES = 61  # of a batch of version 2: up to its number of records
_LENGTH_AT, _MAGIC_AT, _ATTRIBUTES_AT, _MAX_TIME_AT, _NUMBER_AT = 8, 16, 21, 35, 57
_BEFORE_LENGTH_BYTES = 12  # offset and length itself
_VERSION = 2
_CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_CODEC_MASK = 7
_INT, _SHORT, _LONG = struct.Struct(">i"), struct.Struct(">h"), struct.Struct(">q")
_XERIAL = b"\x82SNAPPY\x00"  # how Java writes snappy: a head of 16 bytes, then blocks with their lengths
_XERIAL_HEAD_BYTES = 16
_room = threading.local()
_bounds = {"unpacked": MAX_UNPACKED_BYTES}


class TooBigError(Exception):
    """The batch would unpack to more than the bound."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Stands for a batch that was not unpacked, at the place of its last record; offers what a record does."""

    offset: int
    timestamp: int
    messages: int
    """How many messages the batch says that it holds."""
    detail: str
    """Why, and which offsets."""
    timestamp_type: int = 0
    key: None = None
    value: None = None
    checksum: None = None
    headers: tuple[()] = ()


def set_bound(unpacked_bytes: int) -> None:
    """Set to how many bytes a batch may unpack, in this process."""
    _bounds["unpacked"] = unpacked_bytes


def unpacked(codec: str, data: Any, most: int) -> memoryview:
    """Return what *data* (bytes-like) holds, in a buffer of this thread that the next call overwrites.

    Raises:
        TooBigError: If that is more than *most* bytes.
        ValueError: If *data* is not what *codec* writes.
    """
    buffer: NDArray[np.uint8] | None = getattr(_room, "buffer", None)
    if buffer is None or len(buffer) < most:
        buffer = _room.buffer = np.empty(most, np.uint8)  # the system gives what is written to, and no more
    room = buffer[:most]
    try:
        if codec == "snappy":
            size = _unpack_snappy(memoryview(data), room)
        else:
            size = getattr(cramjam, codec).decompress_into(data, room)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise TooBigError from None
        raise ValueError(f"what is said to be {codec} can't be unpacked: {error}") from None
    return room[:size].data


def _unpack_snappy(data: memoryview, room: Any) -> int:
    """Unpack raw snappy, or Java's blocks of it, into *room*; each says how long it will be.

    Raises:
        TooBigError: If all of them are longer than *room*.
        ValueError: If a block is longer than the data, or a length is none.
    """
    if data[: len(_XERIAL)] != _XERIAL:
        blocks = [data]
    else:
        blocks, at = [], _XERIAL_HEAD_BYTES
        while at < len(data):
            size = _INT.unpack_from(data, at)[0] if at + _INT.size <= len(data) else -1
            at += _INT.size
            if size < 0 or at + size > len(data):
                raise ValueError("a block of snappy says that it is longer than what is there")
            blocks.append(data[at : at + size])
            at += size
    filled = 0
    for block in blocks:
        size = _varint(block)
        if filled + size > len(room):
            raise TooBigError
        if size:
            filled += cramjam.snappy.decompress_raw_into(block, room[filled : filled + size])
    return filled


def _varint(data: memoryview) -> int:
    """Return the number of up to 32 bits at the beginning of *data*."""
    found = 0
    for place, byte in enumerate(data[:5]):
        found |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return found
    raise ValueError("a block of snappy does not say how long it is")


class _Packed:
    """A compressed batch; unpacked when its records are asked for. Offers what aiokafka's consumer asks of one."""

    is_control_batch = False  # those are never compressed

    def __init__(self, batch: Any, raw: memoryview, owner: BoundedRecords) -> None:
        self._batch, self._raw, self._owner = batch, raw, owner
        self.validate_crc = batch.validate_crc
        self.base_offset, self.next_offset = batch.base_offset, batch.next_offset
        self.producer_id, self.is_transactional = batch.producer_id, batch.is_transactional

    def __iter__(self) -> Iterator[Any]:
        raw, most = self._raw, _bounds["unpacked"]
        attributes = _SHORT.unpack_from(raw, _ATTRIBUTES_AT)[0]
        codec = _CODECS.get(attributes & _CODEC_MASK, "")
        try:
            if not codec:
                raise ValueError(f"no such codec: {attributes & _CODEC_MASK}")
            content = unpacked(codec, raw[_HEAD_BYTES:], most)
        except TooBigError:
            return self._skipped(f"{len(raw)} bytes of {codec} unpack to more than {most}")
        except ValueError as error:
            return self._skipped(str(error))
        self._owner.unpacked_bytes += len(content)
        self._owner.messages += _INT.unpack_from(raw, _NUMBER_AT)[0]
        plain = bytearray(raw[:_HEAD_BYTES])
        _SHORT.pack_into(plain, _ATTRIBUTES_AT, attributes & ~_CODEC_MASK)
        _INT.pack_into(plain, _LENGTH_AT, _HEAD_BYTES - _BEFORE_LENGTH_BYTES + len(content))
        plain += content
        return iter(DefaultRecordBatch(bytes(plain)))

    def _skipped(self, why: str) -> Iterator[Any]:
        last = self.next_offset - 1
        number = min(_INT.unpack_from(self._raw, _NUMBER_AT)[0], self.next_offset - self.base_offset)
        detail = f"the batch of {number} messages at offsets {self.base_offset} to {last} was skipped: {why}"
        _log.error("a batch was skipped", first_offset=self.base_offset, last_offset=last, messages=number, why=why)
        return iter([Skipped(last, max(0, _LONG.unpack_from(self._raw, _MAX_TIME_AT)[0]), max(1, number), detail)])


class BoundedRecords:
    """Stands in for aiokafka's `MemoryRecords`: what was fetched of a partition, batch by batch."""

    def __init__(self, raw: Any) -> None:
        self._records, self._raw, self._at = MemoryRecords(raw), memoryview(raw), 0
        self.unpacked_bytes = self.messages = 0

    def size_in_bytes(self) -> int:
        """Return how many bytes were fetched."""
        found: int = self._records.size_in_bytes()
        return found

    def has_next(self) -> bool:
        """Say whether to go on; what is left behind enough that was unpacked is fetched again."""
        enough = self.unpacked_bytes > AT_ONCE * _bounds["unpacked"] or self.messages > MESSAGES_AT_ONCE
        return not enough and bool(self._records.has_next())

    def next_batch(self) -> Any:
        """Return the next batch."""
        start, batch = self._at, self._records.next_batch()
        self._at += _BEFORE_LENGTH_BYTES + _INT.unpack_from(self._raw, start + _LENGTH_AT)[0]
        raw = self._raw[start : self._at]
        if raw[_MAGIC_AT] != _VERSION or not _SHORT.unpack_from(raw, _ATTRIBUTES_AT)[0] & _CODEC_MASK:
            return batch
        return _Packed(batch, raw, self)


fetcher.MemoryRecords = BoundedRecords
"""All that aiokafka fetches in this process goes through it."""
