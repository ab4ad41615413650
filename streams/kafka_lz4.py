"""Owns the lz4 codec of both Kafka clients: which library, and how hard it tries.

Invariant: what leaves is lz4 frames that Kafka accepts (independent blocks), made at `LEVEL` by the library that
aiokafka brings, so that the project carries one lz4 and not two.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType

import aiokafka.record._crecords.default_records
import aiokafka.record.default_records
import kafka.codec
import kafka.record.default_records
from aiokafka.codec import lz4_decode, lz4_encode

LEVEL = 1
"""The least effort. aiokafka's own 9 takes ten times the time (57 MB/s, not 550, of packed rows) for an eighth less."""


quick_lz4 = partial(lz4_encode, level=LEVEL)
"""Gives any bytes as an lz4 frame."""


def install_lz4() -> None:
    """Give both clients the codec; calling it again changes nothing.

    kafka-python knows three lz4 packages, none of which the project needs otherwise; without one of them it refuses
    `compression_type="lz4"` and can't read what others compressed. aiokafka's level is no option of its producer.
    """
    ours: tuple[ModuleType, ...] = (
        aiokafka.record._crecords.default_records,
        aiokafka.record.default_records,
        kafka.codec,
        kafka.record.default_records,
    )
    for module in ours:
        module.lz4_encode = quick_lz4  # type: ignore[attr-defined]
    if kafka.codec.lz4 is None:
        kafka.codec.lz4 = lz4_encode  # has_lz4() asks for this name
        for module in (kafka.codec, kafka.record.default_records):
            module.lz4_decode = lz4_decode
