"""Record batches that are small on the wire and large once unpacked, as somebody hostile would make them.

Owns the bytes of such batches (version 2, each codec) and how they get past a producer's own limits. Sources:
Kafka's protocol guide (record batch, record), RFC 8878 (zstd: blocks of one repeated byte), RFC 1952, lz4's frame
format, the block format of Java's snappy.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import repeat
from typing import Any

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

CODECS = {"plain": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_PIECE = 1 << 17  # of zeros; also the largest block of zstd
_SNAPPY_BLOCK = 1 << 15
_HEAD = struct.Struct(">qiibIhiqqqhii")
_AFTER_CRC = 21


def varint(number: int) -> bytes:
    """Return a number as records hold it."""
    number, found = number * 2 if number >= 0 else -number * 2 - 1, bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def record(content: bytes, offset: int = 0, *, headers: bytes = varint(0), key: bytes = varint(-1)) -> bytes:
    """Return one record with a value."""
    body = b"\0" + varint(0) + varint(offset) + key + varint(len(content)) + content + headers
    return varint(len(body)) + body


def zeros_record(size: int) -> Iterator[bytes]:
    """Yield one record with a key whose value is *size* zeros, piece by piece; the pieces of zeros are `zeros()`."""
    inside = b"\0" + varint(0) + varint(0) + varint(1) + b"k" + varint(size)
    yield varint(len(inside) + size + 1) + inside
    whole, rest = divmod(size, _PIECE)
    yield from repeat(zeros(), whole)
    yield zeros()[:rest] + varint(0)


@cache
def zeros() -> bytes:
    """Return a piece of zeros."""
    return bytes(_PIECE)


def packed(codec: str, pieces: Iterable[bytes]) -> bytes:
    """Return *pieces* one after the other, compressed, never held whole."""
    if codec == "plain":
        return b"".join(pieces)
    if codec == "gzip":
        press = zlib.compressobj(9, wbits=31)
        return b"".join([*(press.compress(piece) for piece in pieces), press.flush()])
    if codec == "lz4":
        squeeze = cramjam.lz4.Compressor(level=9, content_checksum=False, block_linked=False)
        for piece in pieces:
            squeeze.compress(piece)
        return bytes(squeeze.finish())
    if codec == "zstd":
        return _zstd(pieces)
    return b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + b"".join(_snappy(pieces))


def _zstd(pieces: Iterable[bytes]) -> bytes:
    """Return a frame of raw blocks, and of blocks of four bytes for each piece that is `zeros()` itself."""
    found = [struct.pack("<IBB", 0xFD2FB528, 0, 0x70)]  # no size said, a window of 16 MB
    for piece in pieces:
        if piece is zeros():
            found.append((1 << 1 | len(piece) << 3).to_bytes(3, "little") + b"\0")
        else:
            blocks = [piece[at : at + _PIECE] for at in range(0, len(piece), _PIECE)]
            found += [(len(block) << 3).to_bytes(3, "little") + block for block in blocks]
    return b"".join([*found, b"\x01\0\0"])  # a last block, empty


def _snappy(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), _SNAPPY_BLOCK):
            block = _snappy_zeros() if piece is zeros() else bytes(
                cramjam.snappy.compress_raw(piece[at : at + _SNAPPY_BLOCK])
            )  # fmt: skip
            yield struct.pack(">i", len(block)) + block


@cache
def _snappy_zeros() -> bytes:
    return bytes(cramjam.snappy.compress_raw(bytes(_SNAPPY_BLOCK)))


def batch(codec: str, content: bytes, records: int = 1, base: int = 0) -> bytes:
    """Return the batch of *records* records whose compressed bytes are *content*."""
    now_ms = int(time.time() * 1000)
    head = _HEAD.pack(
        base, _HEAD.size - 12 + len(content), -1, 2, 0, CODECS[codec], records - 1, now_ms, now_ms, -1, -1, -1, records
    )
    found = bytearray(head + content)
    struct.pack_into(">I", found, 17, calc_crc32c(bytes(found[_AFTER_CRC:])))
    return bytes(found)


def bomb(codec: str, size: int) -> bytes:
    """Return a batch of one record of *size* zeros."""
    return batch(codec, packed(codec, zeros_record(size)))


def many(codec: str, number: int, value: bytes = b"") -> bytes:
    """Return a batch of *number* records of *value*."""
    content = b"".join(record(value, offset) for offset in range(number))
    found = bytes(cramjam.zstd.compress(content, level=9)) if codec == "zstd" else packed(codec, [content])
    return batch(codec, found, number)


def headed(codec: str, value: bytes, headers: int) -> bytes:
    """Return a batch of one record with *headers* headers, each with an empty name and no value."""
    content = record(value, headers=varint(headers) + b"\0\x01" * headers)
    return batch(codec, packed(codec, [content]))


class _Ready:
    """A batch that is built already; what aiokafka's producer asks of one."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def _build(self) -> bytes:
        return self._raw

    def close(self) -> None:
        """Nothing more comes to it."""

    def closed(self) -> bool:
        """Nothing more comes to it."""
        return True

    def record_count(self) -> int:
        """Return how many records it says that it holds."""
        number: int = _HEAD.unpack_from(self._raw)[-1]
        return number

    def size(self) -> int:
        """Return its bytes."""
        return len(self._raw)


async def send_batches(brokers: str, topic: str, batches: Iterable[tuple[int, bytes]]) -> None:
    """Send (partition, batch) as they are; each is acknowledged before the next."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=brokers, max_request_size=1 << 27, linger_ms=0, acks="all")
    await producer.start()
    try:
        for partition, raw in batches:
            await (await producer.send_batch(_Ready(raw), topic, partition=partition))
    finally:
        await producer.stop()
