"""State of former versions is read, and state of the next one too where that one allows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.checkpoints import Checkpoints
from agents.manifest import whole
from agents.quarantine import read_ledger_row, read_member_row, read_park_row
from state.activity import Tick
from state.arrays import decode, encode
from state.ledger import SourceLedger
from state.limits import Limits
from state.shard import SCHEMA, SchemaError, Shard
from tests.agents.by_hand import Table
from tests.golden.make import HERE, documents
from tests.state.random_logs import LIMITS, MODEL

VERSIONS = sorted(HERE.glob("state-*.msgpack"))


def fresh() -> Shard:
    return Shard(0, MODEL, Limits(**LIMITS))


def kept(file: Path) -> dict[str, dict[bytes, bytes]]:
    return msgspec.msgpack.decode(file.read_bytes(), type=dict[str, dict[bytes, bytes]])


def segments() -> dict[str, bytes]:
    return whole(kept(HERE / f"state-{SCHEMA}.msgpack")["shard"])


def as_of_next_version(readable_by: int) -> dict[str, bytes]:
    """Return this version's state as the next one might write it: with a segment and a fact that we don't know."""
    found = segments()
    _, position, meta = decode(found["meta"])
    meta |= {"readable_by": readable_by, "moods": {"ann": 3}}
    return found | {"meta": encode([SCHEMA + 1, position, meta]), "moods:values": encode([1, 2, 3])}


def test_there_is_state_of_this_version() -> None:
    assert HERE / f"state-{SCHEMA}.msgpack" in VERSIONS


@pytest.mark.parametrize("file", VERSIONS, ids=lambda file: file.stem)
def test_state_of_every_released_version_says_the_same_as_then(file: Path) -> None:
    shard = fresh()
    shard.restore(whole(kept(file)["shard"]))
    said = json.loads((HERE / file.name.replace("state", "said")).with_suffix(".json").read_text())
    now = json.loads(msgspec.json.encode(documents(shard)))
    # A document may have grown since, at its end.
    assert [new[: len(old)] for new, old in zip(now, said, strict=True)] == said
    assert len(said) > 10
    assert shard.apply(Tick(shard.watermark_ms + 3_600_000, 99), shard.position)


@pytest.mark.parametrize("file", VERSIONS, ids=lambda file: file.stem)
def test_rows_of_every_released_version_can_be_read(file: Path) -> None:
    content = kept(file)
    for name, read in (("ledger", read_ledger_row), ("members", read_member_row), ("park", read_park_row)):
        assert content[name]
        for key, value in content[name].items():
            assert read(key, value)


def test_a_version_that_only_adds_can_be_taken_back_and_tried_again() -> None:
    shard = fresh()
    shard.restore(as_of_next_version(readable_by=SCHEMA))
    table: Any = Table()
    table.recover(Checkpoints(table, lambda: 0.0, 10.0, 1000, lambda _: None).make(shard))
    again = fresh()
    Checkpoints(table, lambda: 0.0, 10.0, 1000, lambda _: None).load(again)
    before = fresh()
    before.restore(segments())
    assert documents(again) == documents(shard) == documents(before)
    assert again.checkpoint() == before.checkpoint()


def test_a_version_that_cannot_be_taken_back_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match=f"schema {SCHEMA + 1}, this version reads"):
        fresh().restore(as_of_next_version(readable_by=SCHEMA + 1))


def test_a_row_with_a_field_more_rolls_forth_and_back() -> None:
    ledger = SourceLedger(10, 6, 2, 1, 1, 1_700_000_000_000, {0: 4})
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(ledger.dump()), "of the next version"])
    assert SourceLedger.load(longer) == ledger
    shorter = msgspec.msgpack.encode(msgspec.msgpack.decode(ledger.dump())[:6])
    assert SourceLedger.load(shorter) == SourceLedger(10, 6, 2, 1, 1, 1_700_000_000_000)
