"""Owns how kafka-python comes by its lz4 codec.

Invariant: after `install_lz4()` kafka-python reads and writes the lz4 frames that Kafka accepts (independent blocks),
through the same library as aiokafka, so that the project carries one lz4 and not two.
"""

from __future__ import annotations

import kafka.codec
import kafka.record.default_records
from aiokafka.codec import lz4_decode, lz4_encode

# The broker stores what it gets; a low level costs the least time here and a few per cent of size.
_LEVEL = 1


def _encode(payload: bytes | bytearray | memoryview) -> bytes:
    return bytes(lz4_encode(bytes(payload), level=_LEVEL))


def install_lz4() -> None:
    """Give kafka-python an lz4 codec; calling it again changes nothing.

    kafka-python knows three lz4 packages, none of which the project needs otherwise; without one of them it refuses
    `compression_type="lz4"` and can't read what others compressed.
    """
    if kafka.codec.lz4 is not None:
        return
    kafka.codec.lz4 = lz4_encode  # has_lz4() asks for this name
    for module in (kafka.codec, kafka.record.default_records):
        module.lz4_encode = _encode
        module.lz4_decode = lz4_decode
