"""Packed chunks that came as one record are taken in as one, by shards and by those who read the log beside them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Bundle, Rows, Tick, are_rows, decode_record, encode_bundle, encode_record
from state.effects import Gap, Late
from state.intake import Intake
from state.limits import Limits
from state.org_log import Scan
from state.packing import joined, unpack
from state.shard import Shard
from state.week import HOUR_MS
from tests.state.worlds import Act, examples, rows_of, shard_of, shipped_model

START_MS = 490_000 * HOUR_MS

acts = st.builds(
    Act,
    st.sampled_from("ab"),
    st.sampled_from("xyz"),
    st.sampled_from(["search", "message", "session_started"]),
    st.integers(START_MS, START_MS + HOUR_MS - 1),
    st.integers(1, 30),
    st.integers(0, 3),
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from(["", "#help", "#b"]),
)
chunks = st.lists(st.tuples(st.lists(acts, min_size=1, max_size=8), st.integers(0, 1)), min_size=1, max_size=6)


def packed(found: list[tuple[list[Act], int]]) -> list[Rows]:
    topics = ("product-events", "chat-messages")
    return [rows_of(some, 100 * number, topics[source], source) for number, (some, source) in enumerate(found)]


@examples(100)
@given(chunks)
def test_columns_are_joined_in_their_order(found: list[tuple[list[Act], int]]) -> None:
    parts = [unpack(rows) for rows in packed(found)]
    whole = joined(parts)
    for name in ("subject", "measure", "time_ms", "amount", "id", "ref", "at"):
        assert getattr(whole, name).tolist() == [value for part in parts for value in getattr(part, name).tolist()]
    assert [whole.places[i] for i in whole.place] == [part.places[i] for part in parts for i in part.place]


@examples(100)
@given(chunks, st.lists(st.booleans(), min_size=6, max_size=6))
def test_within_an_hour_it_makes_no_difference_how_chunks_are_bundled(
    found: list[tuple[list[Act], int]], together: list[bool]
) -> None:
    one_by_one, bundled = shard_of(shipped_model()), shard_of(shipped_model())
    begin = rows_of([Act("a", "x", "search", START_MS + HOUR_MS - 1, 99)])
    for shard in (one_by_one, bundled):
        shard.apply(begin, 0)
    rows, groups = packed(found), list[list[Rows]]()
    for number, (each, joins) in enumerate(zip(rows, together, strict=False), 1):
        one_by_one.apply(each, number)
        if joins and groups:
            groups[-1].append(each)
        else:
            groups.append([each])
    for number, group in enumerate(groups, 1 + len(rows) - len(groups)):
        bundled.apply(decode_record(encode_bundle([encode_record(each) for each in group])), number)
    tick = Tick(START_MS + HOUR_MS, 1)
    assert one_by_one.apply(tick, 50) == bundled.apply(tick, 50)
    assert one_by_one.checkpoint() == bundled.checkpoint()


@examples(100)
@given(st.lists(chunks, min_size=1, max_size=4), st.integers(1, 40))
def test_who_reads_the_log_beside_the_shard_sees_the_same(found: list[list[tuple[list[Act], int]]], days: int) -> None:
    limits = Limits(allowed_lateness_hours=24)
    shard, intake, scan = Shard(0, shipped_model(), limits), Intake(limits), Scan(["a", "b"], limits)
    accepted = late = duplicate = 0
    for number, some in enumerate(found):
        moved = [([a._replace(time_ms=a.time_ms + (a.id % 3) * days * HOUR_MS) for a in acts], s) for acts, s in some]
        record = Bundle(packed(moved))
        shard.apply(record, number)
        scan.take(record)
        for taken in intake.take(record.rows):
            accepted, late = accepted + int(taken.new.sum()), late + int((~taken.on_time).sum())
            duplicate += int((taken.on_time & ~taken.new).sum())
        assert intake.watermark_ms == shard.watermark_ms
    assert np.sum(list(shard.reception.outcomes.values()), axis=0).tolist() == [accepted, duplicate, late]
    assert sum(len(batch.columns.at) for log in scan.logs.values() for batch in log.batches) == accepted


def test_each_chunk_of_a_bundle_has_its_own_account() -> None:
    shard = shard_of(allowed_lateness_hours=24)
    shard.apply(rows_of([Act("a", "x", "search", START_MS, 1)]), 0)
    fresh = rows_of([Act("a", "y", "search", START_MS, 2), Act("a", "y", "search", START_MS - 48 * HOUR_MS, 3)], 70)
    again = rows_of([Act("a", "x", "search", START_MS, 1), Act("a", "x", "search", START_MS, 4)], 5, "chat-messages", 2)
    said = shard.apply(decode_record(encode_bundle([encode_record(fresh), encode_record(again)])), 1)
    assert said is None
    assert shard.reception.outcomes == {("product-events", 0): [2, 0, 1], ("chat-messages", 2): [1, 1, 0]}
    effects = shard.apply(Tick(START_MS, 1), 2) or []
    assert [e for e in effects if isinstance(e, Late | Gap)] == [Late("product-events", 0, [71])]


def test_only_packed_chunks_are_bundled_and_one_alone_stays_what_it_is() -> None:
    raw = encode_record(rows_of([Act("a", "x", "search", START_MS, 1)]))
    assert are_rows(raw) and encode_bundle([raw]) == raw
    two = encode_bundle([raw, raw])
    assert not are_rows(two) and decode_record(two) == Bundle([decode_record(raw)] * 2)
    assert not are_rows(encode_record(Tick(1, 2)))
