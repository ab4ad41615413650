"""Whatever happens to a record on its way to its shard, the ledger shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.routing import halves
from state.activity import Rows, Tick, decode_record, encode_record
from state.arrays import decode, encode
from state.effects import Gap
from state.shard import Shard
from tests.state.worlds import Act, at, examples, rows_of, shard_of

NOON = at("2024-03-20T12:00")
SOURCE = ("product-events", 0)


def sent(sizes: list[int]) -> list[Rows]:
    """Return records as ingest counts them, one after the other."""
    found, before = [], 0
    for size in sizes:
        acts = [Act("acme", "ann", "search", NOON, before + n) for n in range(size)]
        found.append(replace(rows_of(acts, before), before=before))
        before += size
    return found


def gaps(shard: Shard) -> list[int]:
    """Return what the shard says is missing, at its next tick."""
    said = shard.apply(Tick(0, 0), shard.position) or []
    return [effect.missing for effect in said if isinstance(effect, Gap)]


def received(records: list[Rows], shard: Shard | None = None) -> Shard:
    shard = shard or shard_of()
    for record in records:
        shard.apply(record, shard.position)
    return shard


sizes = st.lists(st.integers(1, 6), min_size=2, max_size=12)


@examples(60)
@given(sizes, st.data())
def test_any_lost_record_before_the_last_is_a_gap_of_its_size(found: list[int], data: st.DataObject) -> None:
    records = sent(found)
    lost = data.draw(st.sets(st.integers(0, len(records) - 2), min_size=1))
    shard = received([record for n, record in enumerate(records) if n not in lost])
    assert sum(gaps(shard)) == sum(found[n] for n in lost)
    assert shard.reception.receipts.gaps == {SOURCE: [sum(found[n] for n in lost), 0]}


@examples(60)
@given(sizes, st.data())
def test_any_record_that_comes_twice_is_a_gap_although_its_ids_are_known(found: list[int], data: st.DataObject) -> None:
    records, again = sent(found), data.draw(st.integers(0, len(found) - 1))
    shard = received([*records[: again + 1], *records[again:]])
    assert gaps(shard) == [-found[again]]
    assert shard.reception.receipts.gaps == {SOURCE: [0, found[again]]}
    assert shard.reception.outcomes[SOURCE] == [sum(found), found[again], 0]


@examples(30)
@given(sizes)
def test_without_a_fault_there_is_no_gap_however_records_are_halved(found: list[int]) -> None:
    parts = [half for record in sent(found) for half in (halves(record) if len(record.measure) > 1 else (record,))]
    shard = received(parts)
    assert gaps(shard) == [] and shard.reception.receipts.gaps == {}
    assert shard.reception.receipts.received == {SOURCE: sum(found)}


def test_a_gap_is_told_once_and_survives_a_checkpoint() -> None:
    records = sent([3, 4, 5, 6])
    shard = received([records[0], records[2]])
    saved = shard.checkpoint()
    again = shard_of()
    again.restore(saved)
    assert again.checkpoint() == saved
    assert gaps(again) == [4]  # it was not told before the checkpoint
    assert gaps(received([records[3]], again)) == []
    assert again.reception.receipts.gaps == {SOURCE: [4, 0]}


@pytest.mark.parametrize("before", [0, 500])
def test_a_checkpoint_without_receipts_begins_to_count_where_its_sender_is(before: int) -> None:
    saved = received([]).checkpoint()
    schema, position, meta = decode(saved["meta"])
    del meta["receipts"]
    shard = shard_of()
    shard.restore(saved | {"meta": encode([schema, position, meta])})
    records = [replace(record, before=record.before + before) for record in sent([3, 4, 5])]
    assert gaps(received([records[0], records[2]], shard)) == [4]


def test_records_that_nobody_counted_are_no_gap() -> None:
    rows = rows_of([Act("acme", "ann", "search", NOON, 1)])
    assert gaps(received([rows, rows])) == []
    older = encode_record(rows)
    assert decode_record(older) == rows and rows.before == -1
