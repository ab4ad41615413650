"""A batch that would unpack to more than the bound is skipped in its place; all others are as aiokafka gives them."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

from streams.batch_bounds import AT_ONCE, MAX_UNPACKED_BYTES, BoundedRecords, Skipped, TooBigError, set_bound, unpacked
from tests.bench.bombs import CODECS, batch, bomb, headed, many, packed, record, zeros_record

pytestmark = pytest.mark.security

PACKED = [codec for codec in CODECS if codec != "plain"]
BOUND = 1 << 20


@pytest.fixture(autouse=True)
def bound() -> Iterator[None]:
    set_bound(BOUND)
    yield
    set_bound(MAX_UNPACKED_BYTES)


def records_of(found: Any) -> list[Any]:
    taken = []
    while found.has_next():
        one = found.next_batch()
        assert one.validate_crc()
        taken += [*one]
    return taken


def plain(records: list[Any]) -> list[tuple[Any, ...]]:
    return [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in records]


def test_all_that_aiokafka_fetches_goes_through_it() -> None:
    assert fetcher.MemoryRecords is BoundedRecords


@pytest.mark.parametrize("codec", CODECS)
def test_a_usual_batch_is_as_aiokafka_reads_it(codec: str) -> None:
    content = b"".join(record(b"value %d" % n, n, headers=b"\x02\x02h\x02v") for n in range(500))
    raw = batch(codec, packed(codec, [content]), 500, base=70) + many(codec, 3, b"x")
    assert plain(records_of(BoundedRecords(raw))) == plain(records_of(MemoryRecords(raw)))
    assert len(records_of(BoundedRecords(raw))) == 503


@pytest.mark.parametrize("codec", PACKED)
def test_a_bomb_is_skipped_in_its_place_with_a_word_and_the_next_batch_is_there(codec: str) -> None:
    raw = batch(codec, packed(codec, zeros_record(20 << 20)), base=41) + many(codec, 2, b"good")
    tracemalloc.start()
    first, *others = records_of(BoundedRecords(raw))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(first, Skipped) and (first.offset, first.messages, first.value) == (41, 1, None)
    assert "offsets 41 to 41" in first.detail and f"unpack to more than {BOUND}" in first.detail
    assert [r.value for r in others] == [b"good", b"good"]
    assert most < 4 * BOUND  # and not the 20 MB that it holds


@pytest.mark.parametrize("codec", PACKED)
def test_a_batch_of_many_small_records_too_many_says_how_many_they_are(codec: str) -> None:
    (found,) = records_of(BoundedRecords(many(codec, 200_000)))
    assert isinstance(found, Skipped) and (found.messages, found.offset) == (200_000, 199_999)


@pytest.mark.parametrize("codec", PACKED)
def test_the_bound_is_exact(codec: str) -> None:
    content = b"".join(zeros_record(BOUND - 20))
    for size in (BOUND, BOUND + 1):
        data = packed(codec, [content + bytes(size - len(content))])
        if size == BOUND:
            assert bytes(unpacked(codec, data, BOUND)[: len(content)]) == content
        else:
            with pytest.raises(TooBigError):
                unpacked(codec, data, BOUND)


@pytest.mark.parametrize("codec", PACKED)
def test_what_can_not_be_unpacked_is_skipped_and_not_tried_for_ever(codec: str) -> None:
    for content in (b"", b"\xff" * 40, packed(codec, [b"abc" * 900])[:-9] + b"\xff" * 8):
        (found,) = records_of(BoundedRecords(batch(codec, content)))
        assert isinstance(found, Skipped)


def test_an_unknown_codec_is_skipped() -> None:
    raw = bytearray(batch("plain", record(b"x")))
    struct.pack_into(">h", raw, 21, 7)
    assert isinstance(next(iter(BoundedRecords(bytes(raw)).next_batch())), Skipped)


def test_a_block_of_snappy_that_lies_about_its_length_is_no_loop() -> None:
    for lie in (-1, -40, 2**31 - 1):
        content = b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, lie) + b"x" * 9
        (found,) = records_of(BoundedRecords(batch("snappy", content)))
        assert isinstance(found, Skipped) and "longer than what is there" in found.detail


def test_many_batches_just_below_the_bound_are_not_unpacked_at_once() -> None:
    records = BoundedRecords(bomb("zstd", BOUND - 100) * 50)
    assert len(records_of(records)) == AT_ONCE + 1  # the rest is fetched again, from behind them


def test_a_million_headers_are_bounded_too() -> None:
    (found,) = records_of(BoundedRecords(headed("zstd", b"{}", 1_000_000)))
    assert isinstance(found, Skipped)
