"""Both clients compress with the little effort that is meant, whichever way they are made."""

from __future__ import annotations

import random

import pytest
from aiokafka.codec import lz4_decode, lz4_encode
from aiokafka.record import default_records as plain
from aiokafka.record._crecords import default_records as native
from kafka.record.default_records import DefaultRecordBatchBuilder

import streams.kafka_access  # noqa: F401  # whoever makes a client has been here
from streams.kafka_lz4 import LEVEL, quick_lz4

_VALUE = b"".join(b'{"user":"u%d","score":%d}' % (random.Random(n).randrange(9999), n % 100) for n in range(5000))
_LZ4 = 3


def test_the_least_effort_is_larger_than_the_clients_own_and_says_the_same() -> None:
    ours = quick_lz4(_VALUE)
    assert len(lz4_encode(_VALUE)) < len(ours) < len(_VALUE) and lz4_decode(ours) == _VALUE
    assert ours == lz4_encode(_VALUE, level=LEVEL)


@pytest.mark.parametrize("module", [native, plain])
def test_batches_of_aiokafka_are_made_with_it(module: object) -> None:
    builder = module.DefaultRecordBatchBuilder(  # type: ignore[attr-defined]
        magic=2, compression_type=_LZ4, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 20,
    )  # fmt: skip
    assert builder.append(0, 0, None, _VALUE, []) is not None
    raw = bytes(builder.build())
    assert len(raw) == pytest.approx(len(quick_lz4(_VALUE)), abs=120)


def test_batches_of_kafka_python_are_made_with_it() -> None:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=_LZ4, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 20,
    )  # fmt: skip
    assert builder.append(0, 0, None, _VALUE, []) is not None
    assert len(bytes(builder.build())) == pytest.approx(len(quick_lz4(_VALUE)), abs=120)
