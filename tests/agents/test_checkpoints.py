"""Checkpoints cost what changed, and come back whole."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checkpoints import PART_BYTES, Checkpoints
from agents.manifest import KEY, DamagedCheckpointError, whole
from state.arrays import decode, encode
from state.limits import Limits
from state.shard import Shard
from streams.errors import StateUnusableError
from streams.transactions import Outgoing
from tests.agents.by_hand import Table
from tests.state.random_logs import LIMITS, MODEL, random_log
from tests.state.worlds import examples


class Segments:
    """A shard of which only the segments matter."""

    partition = 2
    position = 7

    def __init__(self, segments: dict[str, bytes]) -> None:
        self.segments = segments
        self.restored: dict[str, bytes] | None = None

    def checkpoint(self) -> dict[str, bytes]:
        return self.segments

    def restore(self, found: dict[str, bytes]) -> None:
        self.restored = found


def checkpoints(table: Table, clock: list[float] | None = None, every_rows: int = 1000) -> Checkpoints:
    now = clock if clock is not None else [0.0]
    return Checkpoints(table, lambda: now[0], 10.0, every_rows, lambda _: None)


def made(keeper: Checkpoints, segments: dict[str, bytes]) -> list[Outgoing]:
    shard: Any = Segments(segments)
    return keeper.make(shard)


def loaded(table: Table) -> dict[str, bytes] | None:
    shard: Any = Segments({})
    checkpoints(table).load(shard)
    restored: dict[str, bytes] | None = shard.restored
    return restored


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def parts_of(records: list[Outgoing]) -> list[bytes | None]:
    """Return the keys of the parts among *records*; the manifest comes with each change."""
    keys = [record.key for record in records]
    assert keys.count(KEY) == 1
    return [key for key in keys if key != KEY]


def test_only_changed_parts_are_written() -> None:
    keeper = checkpoints(Table())
    long = noise(3 * PART_BYTES + 5)
    assert parts_of(made(keeper, {"a": long, "b": b"x"})) == [
        b"a#000000",
        b"a#000001",
        b"a#000002",
        b"a#000003",
        b"b#000000",
    ]
    assert made(keeper, {"a": long, "b": b"x"}) == []
    assert parts_of(made(keeper, {"a": long + b"more", "b": b"x"})) == [b"a#000003"]
    assert parts_of(made(keeper, {"a": b"!" + long[1:] + b"more", "b": b"y"})) == [b"a#000000", b"b#000000"]


def test_vanished_segments_and_parts_are_deleted() -> None:
    keeper, table = checkpoints(Table()), Table()
    table.recover(made(keeper, {"a": noise(2 * PART_BYTES), "gone": b"x", "empty": b""}))
    records = made(keeper, {"a": noise(PART_BYTES, 2), "empty": b""})
    gone = {r.key: r.value is None for r in records if r.key != KEY}
    assert gone == {b"a#000000": False, b"a#000001": True, b"gone#000000": True}
    table.recover(records)
    assert loaded(table) == {"a": noise(PART_BYTES, 2), "empty": b""}


def test_a_segment_that_comes_back_is_written_again() -> None:
    keeper = checkpoints(Table())
    for segments, keys in (({"a": b"x"}, [b"a#000000"]), ({}, [b"a#000000"]), ({"a": b"x"}, [b"a#000000"])):
        assert parts_of(made(keeper, segments)) == keys


sizes = st.sampled_from([0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 7])
names = st.sampled_from(["a", "b", "a#b", "ring:hour/1", "ü"])
steps = st.lists(st.dictionaries(names, st.tuples(sizes, st.integers(0, 3))), min_size=1, max_size=4)


@examples(25)
@given(steps, st.randoms(use_true_random=False))
def test_after_any_checkpoints_the_last_one_comes_back(drawn: list[dict], rng: random.Random) -> None:
    table, keeper = Table(), checkpoints(Table())
    last: dict[str, bytes] = {}
    for step in drawn:
        last = {name: noise(size, seed) for name, (size, seed) in step.items()}
        table.recover(made(keeper, last))
        if rng.random() < 0.3:  # another worker takes over
            keeper = checkpoints(table_copy := Table())
            table_copy.contents = {p: dict(c) for p, c in table.contents.items()}
            shard: Any = Segments({})
            keeper.load(shard)
            assert (shard.restored or {}) == last
            assert made(keeper, last) == []
    assert (loaded(table) or {}) == last


def test_a_shard_comes_back_whole() -> None:
    table, keeper = Table(), checkpoints(Table())
    shard = Shard(0, MODEL, Limits(**LIMITS))
    for offset, record in enumerate(random_log(11)):
        shard.apply(record, offset)
        if offset % 7 == 0:
            table.recover(keeper.make(shard))
    table.recover(keeper.make(shard))
    again = Shard(0, MODEL, Limits(**LIMITS))
    checkpoints(table).load(again)
    assert again.checkpoint() == shard.checkpoint()
    assert again.position == shard.position


def test_with_nothing_kept_a_shard_begins_empty() -> None:
    shard = Shard(0, MODEL, Limits())
    checkpoints(Table()).load(shard)
    assert shard.position == 0


def test_once_loaded_the_table_lets_go_of_the_bytes() -> None:
    table = Table()
    table.recover(made(checkpoints(Table()), {"a": b"x"}))
    loaded(table)
    assert table.items(2) == []


def test_parts_are_joined_in_their_order() -> None:
    table, long = Table(), noise(12 * PART_BYTES)
    table.recover(made(checkpoints(Table()), {"a": long}))
    assert whole(dict(reversed(table.items(2)))) == {"a": long}


def test_a_checkpoint_is_due_by_age_or_rows_but_never_without_any() -> None:
    clock = [0.0]
    keeper = checkpoints(Table(), clock, every_rows=100)
    made(keeper, {})
    clock[0] = 1000.0
    assert not keeper.is_due(2)  # nothing happened
    keeper.count(2, 1)
    assert keeper.is_due(2)
    made(keeper, {})
    keeper.count(2, 99)
    assert not keeper.is_due(2)
    keeper.count(2, 1)
    assert keeper.is_due(2)


def test_a_checkpoint_that_this_version_can_not_read_is_left_to_the_operator() -> None:
    #  meta: [schema, position, …]
    table, shard = Table(), Shard(0, MODEL, Limits(**LIMITS))
    _, position, meta = decode(shard.checkpoint()["meta"])
    newer = encode([99, position, meta | {"readable_by": 99}])
    table.recover(made(checkpoints(table), shard.checkpoint() | {"meta": newer}))
    heir = Shard(2, MODEL, Limits(**LIMITS))
    with pytest.raises(StateUnusableError, match="schema 99") as told:
        checkpoints(table).load(heir)
    assert "orgpulse rebuild" in told.value.remedy


def kept() -> dict[bytes, bytes]:
    """Return the content of a table that holds one checkpoint."""
    table = Table()
    table.recover(made(checkpoints(Table()), {"a": noise(2 * PART_BYTES + 9), "b": b"x", "empty": b""}))
    return dict(table.items(2))


@examples(60)
@given(st.data())
def test_any_part_that_is_missing_or_changed_by_a_byte_is_noticed(data: st.DataObject) -> None:
    content = kept()
    key = data.draw(st.sampled_from(sorted(content)))
    raw = bytearray(content[key])
    if raw and data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        damaged = content | {key: bytes(raw)}
    else:
        damaged = {k: v for k, v in content.items() if k != key}
    try:
        found = whole(damaged)
    except DamagedCheckpointError:
        return
    assert key == KEY and found == whole(content)  # it was the position that the manifest mentions


def test_parts_that_do_not_belong_to_it_are_left_out_and_removed() -> None:
    table = Table()
    table.contents[2] = kept() | {b"a#000009": b"older", b"other#000000": b"older"}
    keeper, shard = checkpoints(table), Segments({"a": noise(2 * PART_BYTES + 9), "b": b"x", "empty": b""})
    anything: Any = shard
    keeper.load(anything)
    assert shard.restored == shard.segments
    assert {r.key: r.value for r in keeper.make(anything)} == {b"a#000009": None, b"other#000000": None}


def test_after_damage_everything_is_written_anew_and_soon() -> None:
    table = Table()
    table.contents[2] = {k: v for k, v in kept().items() if k != b"b#000000"} | {b"old#000000": b"x"}
    keeper, shard = checkpoints(table), Segments({"a": b"new", "b": b"x"})
    anything: Any = shard
    with pytest.raises(DamagedCheckpointError, match="1 of 1 parts of b are missing"):
        keeper.load(anything)
    assert shard.restored is None and table.items(2) == []
    assert keeper.is_due(2)
    healed = {r.key: r.value for r in keeper.make(anything)}
    assert healed.keys() >= {b"a#000000", b"a#000001", b"a#000002", b"b#000000", b"old#000000", KEY}
    assert whole({k: v for k, v in healed.items() if k and v is not None}) == {"a": b"new", "b": b"x"}
