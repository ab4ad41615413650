"""The log's records, packed and unpacked."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Calibration, Member, Org, Record, Rows, Tick, decode_record, encode_record
from state.packing import MAX_ROWS, Packer, unpack
from tests.state.worlds import examples

row = st.tuples(
    st.text(max_size=8),
    st.sampled_from(["search", "message", "other"]),
    st.integers(-(2**62), 2**62),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
)


@examples(100)
@given(st.lists(row, min_size=1, max_size=30), st.booleans())
def test_what_was_packed_comes_out_again(rows: list, plain: bool) -> None:
    if plain:  # neither amounts nor references: their columns are left out
        rows = [(*r[:3], 0, r[4], 0, r[6]) for r in rows]
    packer = Packer()
    for each in rows:
        packer.add(*each)
    record = decode_record(encode_record(packer.rows("chat-messages", 3, 17, 1.5)))
    assert isinstance(record, Rows)
    assert (record.topic, record.partition, record.first_offset, record.arrived) == ("chat-messages", 3, 17, 1.5)
    columns = unpack(record)
    found = zip(
        [record.subjects[i] for i in columns.subject.tolist()],
        [record.measures[i] for i in columns.measure.tolist()],
        *(getattr(columns, name).tolist() for name in ("time_ms", "amount", "id", "ref", "at")),
        strict=True,
    )
    assert list(found) == rows
    assert plain <= (record.amount == record.ref == b"")


def test_a_subject_is_named_once_however_often_it_acts() -> None:
    packer = Packer()
    for n in range(100):
        packer.add("a\x1fann", "search", n, 0, n, 0, n)
    assert packer.rows("t", 0, 0).subjects == ["a\x1fann"]


@pytest.mark.parametrize(
    "record",
    [
        Tick(5, 2),
        Calibration(3, 100, {"searches": [1, 2, 3, 4, 5, 6, 7, 8, 2**63 - 1]}),
        Member("a", "ann", True, "ops"),
        Member("a", "ann", False, "", gone=True),
        Org("a", "Acme", "Europe/Berlin", "SMB"),
        Org("a", "", "UTC", "", gone=True),
    ],
)
def test_every_record_of_the_log_survives_its_encoding(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


@examples(100)
@given(st.binary(max_size=40))
def test_bytes_that_are_no_record_are_refused_as_such(raw: bytes) -> None:
    try:
        decode_record(raw)
    except msgspec.DecodeError:
        return


def test_taken_columns_keep_their_rows_together() -> None:
    packer = Packer()
    for n in range(4):
        packer.add("a\x1fann", "search", n, n, n, n, n)
    columns = unpack(packer.rows("t", 0, 0))
    kept = columns.take(columns.time_ms % 2 == 1)
    assert kept.id.tolist() == kept.amount.tolist() == kept.at.tolist() == [1, 3]


def test_more_subjects_than_the_index_can_tell_apart_are_refused() -> None:
    packer = Packer()
    for n in range(MAX_ROWS + 1):
        packer.add(f"a\x1f{n}", "search", n, 0, n, 0, 0)
    with pytest.raises(AssertionError, match="cut below"):
        packer.rows("t", 0, 0)


@examples(40)
@given(st.lists(row, min_size=1, max_size=30), st.integers(1, 4))
def test_dealt_out_each_activity_is_in_one_partition(rows: list, partitions: int) -> None:
    packer = Packer()
    for each in rows:
        packer.add(*each)
    dealt = packer.split(lambda name: len(name) % partitions, "t", 0, 0)
    found = []
    for target, record in dealt.items():
        columns = unpack(record)
        for subject, time_ms, at_ in zip(columns.subject, columns.time_ms.tolist(), columns.at.tolist(), strict=True):
            name = record.subjects[subject]
            assert len(name) % partitions == target
            found.append((name, time_ms, at_))
        assert len(set(record.subjects)) == len(record.subjects) == len(set(columns.subject.tolist()))
    assert sorted(found) == sorted((r[0], r[2], r[6]) for r in rows)
