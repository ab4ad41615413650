"""Readers of our own bytes, given any bytes: they know them, or say so by their one documented error."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import state
from state.activity import Calibration, Member, Org, Tick, decode_record, encode_record
from state.effects import Summary
from state.ledger import SourceLedger
from state.packing import Packer
from state.telling import decode_summary, encode_summary
from streams.model_file import load_model
from streams.parked import Alias, Parked, decode_parked, encode_parked
from streams.settings import SettingsError, load_settings
from tests.faults.extent import fresh_seed, times
from tests.state.worlds import examples

DECODERS: dict[str, Callable[[bytes], Any]] = {
    "record": decode_record,
    "parked": decode_parked,
    "ledger": SourceLedger.load,
    "summary": decode_summary,
}
TRAPS = (
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1",
    b"\xc0",
    b"\xcf" + b"\xff" * 8, b"\xcb\x7f\xf8" + bytes(6), b"\xa1\xff", b"\x91" * 3000, b"\x81\xc0" * 1500,
    b"\xc7\x0c\xff" + b"\xff" * 12, b"\xd6\xff" + b"\xff" * 4, b"", b"\x00",
)  # fmt: skip


def right_records() -> list[bytes]:
    """Return one of each record that orgpulse writes for itself."""
    packer = Packer()
    packer.add("a\x1fb", "search", 1_700_000_000_000, 5, 1, 2, 0)
    records = (packer.rows("product-events", 1, 5, 2.0), Tick(5, 1), Calibration(1, 2, {"a": [1] * 9}))
    members = (Member("a", "b", True, "x"), Org("a", "n", "UTC", "g"))
    waiting = (Parked("a", "o", "m", 1, 2, "i", "r", "t", 0, 5), Alias("a", "o", "u"))
    summary = Summary(0, 1, 5, {"watch": 3}, 2, {"a": ([1], [2])}, {3: {"replies": b"x"}})
    return [
        *map(encode_record, (*records, *members)),
        *map(encode_parked, waiting),
        SourceLedger(1, 2, 3).dump(),
        encode_summary(summary),
    ]


def try_all(raw: bytes) -> int:
    """Let every decoder read *raw*; return how many took it."""
    taken = 0
    for decode in DECODERS.values():
        try:
            decode(raw)
        except msgspec.DecodeError:
            continue
        taken += 1
    return taken


@examples(300)
@given(st.binary(max_size=80))
@example(b"\x96\xa1t\x01\xa1\xff")  # text that is not UTF-8
@example(b"\x91" * 100_000)
def test_any_bytes_are_a_record_or_a_decode_error(raw: bytes) -> None:
    try_all(raw)


def test_records_with_changed_bytes_are_records_or_decode_errors() -> None:
    chance, right = random.Random(fresh_seed()), right_records()
    taken, tried = 0, times(5_000)
    assert sum(map(try_all, right)) >= len(right)
    for _ in range(tried):
        raw = bytearray(chance.choice(right))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(raw) + 1)
            change = (bytes([chance.randrange(256)]), chance.randbytes(3), b"", chance.choice(TRAPS))
            raw[at : at + chance.randrange(3)] = chance.choice(change)
        taken += try_all(bytes(raw))
    print(f"{tried} records, {taken} of {tried * len(DECODERS)} readings went through")
    assert 0 < taken < tried * len(DECODERS) / 2


TOML_TRAPS = (
    b"a = " + b"[" * 50_000, b"a = " + b"1" * 5000, b"a = {" * 5000, b"a = 1979-05-27T07:32:00+99:99", b"a = nan",
    b"a = inf", b"\xff", b"\x00", b"\xef\xbb\xbf[kafka]", b"[kafka]\nprefix = 1", b"[kafka", b"[[kafka]]",
    b"kafka = 1",
    b"[bands]\nhealthy = nan", b"[[attributes]]\nname = 'x'\nkind = []", b"measures = 1", b"attributes = [1]",
    b"[measures]\nsearch = { events = [1] }", b"[measures]\n'' = { events = [''] }", b"[kafka]\n\"\\u0000\" = 1",
    b"[[attributes]]\nname = 'x'\nkind = 'count'\nweight = 9\nmeasures = []", b"[ingest.channels]\na = true",
    b"[ingest]\nchannels = 1979-05-27", b"[metrics]\norgs = [[]]", b"[kafka]\npartitions = " + b"9" * 400,
)  # fmt: skip


@pytest.mark.parametrize("file", ["settings", "model"])
def test_any_settings_and_model_file_is_read_or_told_wrong(file: str, tmp_path: Path) -> None:
    chance = random.Random(fresh_seed())
    shipped = Path(state.__path__[0]) / "health.toml"
    example_file = Path(state.__path__[0]).parent / "orgpulse.example.toml"
    right = (shipped if file == "model" else example_file).read_bytes().splitlines(keepends=True)
    place, told = tmp_path / "any.toml", 0
    for n in range(len(TOML_TRAPS) + times(150)):
        if n < len(TOML_TRAPS):
            raw = TOML_TRAPS[n]
        else:
            lines = [line.lstrip(b"# ") if file == "settings" else line for line in right]
            at = chance.randrange(len(lines))
            lines[at : at + chance.randrange(3)] = [chance.choice(TOML_TRAPS) + b"\n", chance.choice(lines)]
            raw = b"".join(lines)
        place.write_bytes(raw)
        try:
            if file == "model":
                load_model(str(place))
            else:
                load_settings(place, {})
        except SettingsError as error:
            told += 1
            assert str(place) in str(error)
    assert told > len(TOML_TRAPS) - 3
