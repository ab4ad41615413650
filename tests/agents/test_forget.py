"""Agents keep out who is on the list; names are found in every form; a receipt excuses only what it names."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from agents.cli import orgpulse
from agents.forget_names import Names, names_of
from agents.forget_receipt import (
    LOG,
    SOURCE,
    TABLE,
    Receipt,
    Remains,
    Trace,
    excuse_of,
    read_receipt,
    write_receipt,
)
from agents.forget_rewrite import alert_without
from state.activity import Rows, encode_record, subject_of
from state.forgotten import digest_of
from state.identity import Directory, Link, UserRecord
from streams.parked import Alias, Forgotten
from tests.agents.test_ingest import Place as IngestPlace
from tests.agents.test_ingest import event
from tests.agents.test_members import Place as MembersPlace
from tests.agents.test_park import ZOE, parked
from tests.agents.test_park import Place as ParkPlace
from tests.state.worlds import examples
from tests.streams.test_suppression import listed

pytestmark = pytest.mark.security


def test_messages_of_somebody_forgotten_are_counted_apart_and_the_ledger_closes() -> None:
    place = IngestPlace(suppressed=listed("ann@example.org", "8", "zoe"))
    sent = place.send(event("Ann@Example.org"), event("8"), event("zoe", org_id="a"), event("ann"), None, b"{")
    assert [act[1] for act in sent.acts] == ["8"], "an alias that is not on the list is somebody else's by now"
    ledger = place.ledger
    assert (ledger.consumed, ledger.apart, ledger.forwarded, ledger.dead_lettered) == (6, 3, 1, 2)
    assert place.counted.counts["suppressed"] == 3


def test_an_entry_of_somebody_forgotten_is_refused_and_its_end_is_written() -> None:
    place = MembersPlace(listed("8", "ann@example.org"))
    for user, fields in (("8", {}), ("77", {"email": "Ann@example.org"})):
        sent = place.user(user, **fields)
        assert sent.ended == [user.encode()] and not sent.activities and not sent.waiting
        assert place.table.read(0, b"u:" + user.encode()) is None
    assert place.user("9").activities and place.counted.counts["suppressed"] == 2
    place.handlers["users"]._ends_entries = False  # as in a rebuild: the present generation sees to it
    assert not place.user("8").ended
    assert not place.send("users", (b"8", None)).ended, "the end of an entry is no entry"


def test_what_waits_for_somebody_forgotten_goes_and_what_comes_is_not_kept() -> None:
    place = ParkPlace(listed("zoe"))
    salt = b"0123456789abcdef"
    assert place.send(parked("yan", 1), parked("yan", 2), parked("xi", 3)).acts == []
    place.send(Forgotten(salt, [digest_of(salt, "yan")]))
    assert place.table.read(0, b"p:yan") is None and place.table.read(0, b"p:xi") is not None
    assert (place.total("product-events/1/waiting"), place.total("product-events/1/suppressed")) == (1, 2)
    assert place.send(parked("zoe", 4), ZOE).acts == []
    assert place.table.read(0, b"p:zoe") is None and place.table.read(0, b"k:zoe") is None
    assert place.total("product-events/1/suppressed") == 3
    place.send(Alias("yan", "a", "4"))
    assert place.send(parked("yan", 9)).acts == [("a", "4", "search", 9)], "forgotten is not on the list"


# --- names in bytes ---

ANN = Names("8812", ("8812", "ann@example.org", "annika.z", "aß"))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"distinct_id":"ANN@example.ORG"}',
        b'{"userid": 8812}',
        b"user:acme/8812|2026-W10",
        b"8812",
        b'{"author":"a\\u00df"}',
        encode_record(Rows("t", 0, 0, [subject_of("acme", "8812", "x")], [], b"", b"", b"", b"", b"", b"", b"")),
        encode_record(Rows("t", 0, 0, [subject_of("acme", "8", "annika.z")], [], b"", b"", b"", b"", b"", b"", b"")),
        msgspec.msgpack.encode(["8812", "a"]),
        msgspec.msgpack.encode({"subjects": ["acme\x1faß", "b"]}),
    ],
)
def test_a_name_is_found_however_it_is_spelled(raw: bytes) -> None:
    assert ANN.is_in_record(None, raw) and ANN.is_in_record(raw, None)
    assert ANN.is_in_record(None, b"", [("h", raw)])
    letter = {"reason": "not_json", "value": base64.b64encode(raw).decode(), "key": None}
    assert ANN.is_in_record(None, orjson.dumps(letter))


@pytest.mark.parametrize(
    "raw", [b'{"distinct_id":"annabel@example.org"}', b"18812", b"8812.5x", "maß".encode(), None, b""]
)
def test_another_name_is_not_taken_for_it(raw: bytes) -> None:
    assert not ANN.is_in_record(None, raw)


LETTERS = st.characters(exclude_categories=("C", "Z"))


@examples(100)
@given(st.text(LETTERS, min_size=8, max_size=60).map(lambda text: text + "x"), st.binary())
def test_a_long_name_is_found_wherever_it_stands(name: str, around: bytes) -> None:
    names = Names(name, (name,))
    assert names.is_in(around + name.encode() + around)
    assert names.is_in_record(None, orjson.dumps({"x": [name]}))


def test_all_that_leads_to_a_person_is_theirs_and_nothing_else() -> None:
    directory = Directory()
    for user, org, aliases, said_ms in (("8", "a", ["8", "ann@example.org", "desk"], 5), ("9", "b", ["9", "desk"], 1)):
        directory.learn_user(user, UserRecord(user, org, aliases, "", True, False), said_ms)
    directory.learn_link("kiosk", Link("kiosk", "8"))
    found = names_of(directory, "Ann@Example.org")
    assert (found.user, found.aliases, found.orgs) == ("8", ("8", "ann@example.org", "kiosk"), ("a",))
    assert names_of(directory, " nobody ") == Names("nobody", ("nobody",), known=False)


class Alert:
    """A record of `alerts`."""

    def __init__(self, org: str, *users: str) -> None:
        self.value = orjson.dumps({"org": org, "movers": [{"user": user, "change": "-3.00"} for user in users]})


def test_an_alert_keeps_everything_but_the_name() -> None:
    assert alert_without(Alert("a", "8812", "bob"), ANN) == Alert("a", "bob").value
    assert alert_without(Alert("8812"), ANN) is None


# --- the receipt ---

RECEIPT = Receipt(
    "8812", ["8812"], "2026-01-01T00:00:00Z", 0, ["a"],
    remains=[
        Remains("events", SOURCE, "", until=1_000, keep_seconds=500),
        Remains("activities", LOG, "", until=1_000, keep_seconds=500, ends={"0": 50}),
        Remains("scores", TABLE, "", until=900, ends={"0": 7}),
    ],
)  # fmt: skip


@pytest.mark.parametrize(
    ("trace", "now", "excused"),
    [
        (Trace("events", 3, 10**6, 0), 999, True),
        (Trace("events", 3, 10**6, 0), 1_001, False),
        (Trace("events", 3, 10**6, 900), 1_399, True),  # a producer sent it later
        (Trace("activities", 0, 49), 999, True),
        (Trace("activities", 0, 50), 999, False),  # nothing of theirs comes after
        (Trace("activities", 1, 0), 999, False),
        (Trace("scores", 0, 6), 901, False),
        (Trace("weeks", 0, 0), 0, False),
        (Trace("redis: user:{a}:8812"), 0, False),
    ],
)
def test_only_what_a_receipt_names_is_excused_and_only_until_then(trace: Trace, now: float, excused: bool) -> None:
    assert (excuse_of(trace, RECEIPT, now) is not None) == excused


def test_a_receipt_is_its_owners_and_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    write_receipt(RECEIPT, path)
    assert path.stat().st_mode & 0o777 == 0o600 and read_receipt(path) == RECEIPT
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(ValueError, match="version 9"):
        read_receipt(path)


def test_the_command_line_is_checked_before_anything_is_asked(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    settings = ["--config", str(tmp_path / "none.toml")]
    (tmp_path / "none.toml").write_text('[kafka]\nbrokers = "127.0.0.1:1"\n')
    for arguments, said in (
        ([], "one of USER, --verify, --again and --lift"),
        (["ann", "--lift", "bob"], "one of USER"),
        (["--verify", str(broken)], "is no receipt"),
        (["ann"], "no key for the list"),
    ):
        done = CliRunner().invoke(orgpulse, [*settings, "forget", *arguments])
        assert done.exit_code in (1, 2) and said in done.output, done.output
