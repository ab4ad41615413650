"""The checks that all sources share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agents
import state
import streams
from state.identity import OrgRecord, UserRecord
from state.measures import NO_DURATION
from streams.read_chat import chat_reader
from streams.read_directory import read_org, read_user
from streams.read_product import product_reader
from streams.read_syslog import syslog_reader
from streams.read_transactions import transaction_reader
from streams.reading import REASONS, Reading, Rejected, checked_id, checked_integer, time_ms_of
from tests.state.worlds import at, examples, model_of

LONGEST = 40
NOW = at("2024-03-04T12:00") / 1000
CATALOGUE = model_of().catalogue


def by_hour(**timing: str) -> Callable[[bytes], Reading]:
    """Return a reader of product events whose searches are kept by hour of the week."""
    search = {"events": ["Search"], "hours": True} | timing
    return product_reader(model_of(search=search).catalogue, LONGEST)


READERS: dict[str, Callable[[bytes], Any]] = {
    "product": product_reader(CATALOGUE, LONGEST),
    "chat": chat_reader({}, LONGEST),
    "syslog": syslog_reader(CATALOGUE, {}, lambda: NOW, zone="UTC", year=0, max_id=LONGEST),
    "transactions": transaction_reader("USD", LONGEST),
    "users": lambda raw: read_user(raw, LONGEST, 4),
    "orgs": lambda raw: read_org(raw, LONGEST),
    "since": by_hour(since="created_at"),
    "stated": by_hour(duration="h"),
    "moved": by_hour(time="signed_up_at"),
}
EVENT: dict[str, Any] = {
    "name": "Search",
    "distinct_id": "ann",
    "time": 1_700_000_000,
    "org_id": 7,
    "event_id": 1,
    "quantity": 2,
    "properties": {"created_at": 1_699_999_000, "signed_up_at": "2023-11-14T22:00:00Z"},
}
RIGHT: dict[str, dict[str, Any]] = {
    "product": EVENT,
    "since": EVENT,
    "stated": EVENT,
    "moved": EVENT,
    "chat": {"message_id": 1, "author": "ann", "time": 1_700_000_000, "org_id": 7, "channel": "c", "in_reply_to": 5},
    "syslog": {"id": 1, "org": 7, "userid": 8, "created": 1_700_000_000, "ghost": 0, "action": "x"},
    "transactions": {"transaction_id": 1, "org_id": 7, "amount": "1.50", "status": "A", "time": 1_700_000_000},
    "users": {"user_id": 1, "org_id": 7, "email": "ann@example.org", "username": "ann", "aliases": ["x"]},
    "orgs": {"org_id": 7, "name": "Acme", "timezone": "UTC", "account_value_usd": 5},
}


def reason_of(source: str, raw: bytes) -> str:
    """Return why *raw* is rejected."""
    with pytest.raises(Rejected) as error:
        READERS[source](raw)
    return error.value.reason


def changed(source: str, **fields: Any) -> bytes:
    """Return a right message with some *fields* changed; a bytes value goes in as it is."""
    parts = []
    for name, value in (RIGHT[source] | fields).items():
        parts.append(f'"{name}":'.encode() + (value if isinstance(value, bytes) else orjson.dumps(value)))
    return b"{" + b",".join(parts) + b"}"


@pytest.mark.parametrize("source", READERS)
def test_a_right_message_is_read(source: str) -> None:
    assert isinstance(READERS[source](changed(source)), Reading | UserRecord | OrgRecord)


@pytest.mark.parametrize(
    ("source", "raw", "reason"),
    [
        ("product", b"", "not_json"),
        ("product", b"{", "not_json"),
        ("product", b"\xff", "not_json"),
        ("product", b'{"name":"\xff"}', "not_json"),
        ("product", b'{"name":"\\ud800"}', "not_json"),
        ("product", changed("product", time=b"NaN"), "not_json"),
        ("product", b"[]", "wrong_type"),
        ("product", b"null", "wrong_type"),
        ("product", b'{"x":' * 100_000, "too_deep"),
        ("syslog", b'{"x":' * 100_000, "too_deep"),
        ("syslog", b"hello", "not_syslog"),
        ("syslog", b"", "not_syslog"),
        ("syslog", b"\x00\xff", "not_syslog"),
        ("product", changed("product", org_id=True), "wrong_type"),
        ("product", changed("product", event_id=b"1" * 30), "wrong_type"),
        ("product", changed("product", distinct_id=1.5), "wrong_type"),
        ("product", changed("product", name=5), "wrong_type"),
        ("product", changed("product", quantity=1.5), "wrong_type"),
        ("syslog", changed("syslog", ghost=True), "wrong_type"),
        ("users", changed("users", aliases=["a"] * 5), "wrong_type"),
        ("orgs", changed("orgs", account_value_usd=b"1e400"), "wrong_type"),
        ("product", changed("product", name=None), "missing_field"),
        ("product", changed("product", distinct_id=None), "missing_field"),
        ("product", changed("product", time=None), "missing_field"),
        ("chat", changed("chat", author=None), "missing_field"),
        ("chat", changed("chat", message_id=None), "missing_field"),
        ("chat", b'{"type":"presence","server":"s","time":1700000000}', "missing_field"),
        ("chat", b'{"type":"presence","online":1,"time":1700000000}', "missing_field"),
        ("syslog", changed("syslog", userid=None), "missing_field"),
        ("syslog", changed("syslog", org=None), "missing_field"),
        ("syslog", b"<13>1 - host app - - - hello", "missing_field"),
        ("syslog", b"<13>1 2024-03-04T10:00:00Z - app - - - hello", "missing_field"),
        ("transactions", changed("transactions", amount=None), "missing_field"),
        ("transactions", changed("transactions", status=None), "missing_field"),
        ("users", b'{"user_id":1}', "missing_field"),
        ("orgs", b"{}", "missing_field"),
        ("product", changed("product", distinct_id="a\x00b"), "bad_id"),
        ("product", changed("product", distinct_id="a\x1fb"), "bad_id"),
        ("users", changed("users", aliases=["a\x1fb"]), "bad_id"),
        ("product", changed("product", distinct_id=""), "blank_id"),
        ("product", changed("product", event_id=" \t"), "blank_id"),
        ("transactions", changed("transactions", status=""), "blank_id"),
        ("chat", changed("chat", in_reply_to=" "), "blank_id"),
        ("product", changed("product", name="x" * 41), "long_id"),
        ("orgs", changed("orgs", org_id="x" * 41), "long_id"),
        ("product", changed("product", time="yesterday"), "bad_time"),
        ("product", changed("product", time=0), "bad_time"),
        ("product", changed("product", time=-5.0), "bad_time"),
        ("product", changed("product", time=b"1e308"), "bad_time"),
        ("product", changed("product", time=b"1e400"), "bad_time"),
        ("product", changed("product", time=b"1" * 30), "bad_time"),
        ("product", changed("product", time=b"1" * 5000), "bad_time"),
        ("product", changed("product", time="1999-12-31T23:59:59Z"), "bad_time"),
        ("product", changed("product", time="0001-01-01T00:00:00+23:59"), "bad_time"),
        ("product", changed("product", time="9999-12-31T23:59:59-23:59"), "bad_time"),
        ("syslog", changed("syslog", created=b"1e400"), "bad_time"),
        ("syslog", changed("syslog", created=b"1" * 5000), "bad_time"),
        ("syslog", b"<13>1 2024-99-04T10:00:00Z host app - - - hello", "bad_time"),
        ("syslog", b"Foo  3 10:00:00 host app: hello", "bad_time"),
        ("syslog", b"Feb 31 10:00:00 host app: hello", "bad_time"),
        ("transactions", changed("transactions", amount="1.005"), "bad_amount"),
        ("transactions", changed("transactions", amount="1.0" + "0" * 30 + "1"), "bad_amount"),
        ("transactions", changed("transactions", amount="1e-2000000"), "bad_amount"),
        ("transactions", changed("transactions", amount="NaN"), "bad_amount"),
        ("transactions", changed("transactions", amount="Infinity"), "bad_amount"),
        ("transactions", changed("transactions", amount=b"1e400"), "bad_amount"),
        ("transactions", changed("transactions", amount="92233720368.55"), "bad_amount"),
        ("product", changed("product", quantity=2**63 - 1), "bad_quantity"),
        ("product", changed("product", quantity=-(2**62)), "bad_quantity"),
        ("orgs", changed("orgs", timezone="Mars/Olympus"), "bad_zone"),
        ("transactions", changed("transactions", currency="EUR"), "unknown_currency"),
        ("since", changed("since", properties=b"{}"), "missing_field"),
        ("since", changed("since", properties=None), "missing_field"),
        ("since", changed("since", properties={"created_at": None}), "missing_field"),
        ("since", changed("since", properties=[]), "wrong_type"),
        ("since", changed("since", properties={"created_at": True}), "wrong_type"),
        ("since", changed("since", properties={"created_at": {"at": 5}}), "wrong_type"),
        ("since", changed("since", properties={"created_at": "noon"}), "bad_time"),
        ("since", changed("since", properties={"created_at": 5}), "bad_time"),
        ("since", changed("since", properties=b'{"created_at":1e400}'), "bad_time"),
        ("since", changed("since", properties=b'{"created_at":' + b"1" * 5000 + b"}"), "bad_time"),
        ("since", changed("since", properties={"created_at": 1_150_244_186_112}), "bad_time"),
        ("moved", changed("moved", properties={}), "missing_field"),
        ("moved", changed("moved", properties={"signed_up_at": ""}), "bad_time"),
        ("moved", changed("moved", properties={"signed_up_at": 1_700_003_601}), "bad_time"),
        ("stated", changed("stated", quantity=None), "missing_field"),
        ("stated", changed("stated", quantity=152_710), "bad_quantity"),
        ("stated", changed("stated", quantity=2**63 - 1), "bad_quantity"),
    ],
)
def test_bad_input_gets_its_reason(source: str, raw: bytes, reason: str) -> None:
    assert reason_of(source, raw) == reason


def test_every_reason_of_the_contract_is_one_that_the_code_can_give() -> None:
    used = set()
    for package in (streams, agents, state):
        for path in Path(package.__path__[0]).glob("*.py"):
            text = path.read_text("utf-8")
            used |= {r for r in REASONS if re.search(rf'(?<=["\']){r}(?=["\'])', text.split("REASONS")[-1])}
    assert used == set(REASONS)


@pytest.mark.parametrize("source", READERS)
@examples(150)
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_read_or_rejected(source: str, raw: bytes) -> None:
    try_to_read(source, raw)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=50)
    | st.sampled_from(["presence", "A", "USD", "UTC", "2024-03-04T10:00:00+01:00", "1e99", "-", "0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
ODD_NUMBERS = (b"1" * 5000, b"1e308", b"-1e308", b"1e400", b"1e-400", b"-0.0", b"NaN", b"9223372036854775808")
ODD_TEXTS = (b'"\\ud800"', b'"\\udc00x"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"sNaN"', b'"1E+99999999999999999999"')
raw_values = st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS, b"[" * 5000 + b"]" * 5000])


@pytest.mark.parametrize("source", READERS)
@examples(60)
@given(data=st.data())
def test_any_json_is_read_or_rejected(source: str, data: st.DataObject) -> None:
    names = st.sampled_from([*RIGHT[source], "type", "online", "server", "currency", "properties", "since", "licenses"])
    fields = data.draw(st.dictionaries(names, json_values | raw_values, max_size=3))
    parts = []
    for name, value in (RIGHT[source] | fields).items():
        try:
            text = value if isinstance(value, bytes) else orjson.dumps(value)
        except (TypeError, ValueError):  # an integer beyond 64 bits, or a lone surrogate
            text = repr(value).encode() if isinstance(value, int) else b'"?"'
        parts.append(f'"{name}":'.encode() + text)
    try_to_read(source, b"{" + b",".join(parts) + b"}")


def try_to_read(source: str, raw: bytes) -> None:
    """Read *raw*; what comes out must be fit to be stored, what is rejected must be fit to be told."""
    try:
        found = READERS[source](raw)
    except Rejected as error:
        assert error.reason in REASONS
        orjson.dumps(error.detail)
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=type(found)) == found
    if isinstance(found, Reading):
        assert at("2000-01-01") <= found.time_ms < at("9999-12-31") + 86_400_000
        assert abs(found.amount) < 2**63
        assert not {"\x1f", "\x00"} & set(found.org + found.who + found.id + found.ref)


@pytest.mark.parametrize(
    ("source", "fields", "amount"),
    [
        ("since", {}, 1_000_000),
        ("since", {"properties": {"created_at": "2023-11-14T23:13:20.001+01:00"}}, NO_DURATION),  # a moment later
        ("since", {"properties": {"created_at": 1_700_000_000_000_000}}, 0),
        ("since", {"properties": {"created_at": 9_999_999_999}}, NO_DURATION),
        ("since", {"quantity": None, "properties": {"created_at": 1_150_244_186_113}}, 2**39 - 1),
        ("stated", {}, 7_200_000),
        ("stated", {"quantity": 0}, 0),
        ("stated", {"quantity": -1, "properties": [5]}, NO_DURATION),
        ("stated", {"quantity": 152_709}, 549_752_400_000),
        ("moved", {}, 800_000),
        ("moved", {"properties": {"signed_up_at": 1_700_003_600}}, -3_600_000),
        ("moved", {"properties": {"signed_up_at": "2000-01-01"}}, 753_315_200_000),
        ("since", {"name": "Juggled", "properties": [5]}, 2),  # no measure of a duration
    ],
)
def test_the_amount_of_a_measure_by_hour_is_how_long_before_it_began(
    source: str, fields: dict[str, Any], amount: int
) -> None:
    assert READERS[source](changed(source, **fields)).amount == amount


def test_an_exported_event_has_its_times_among_its_other_properties() -> None:
    properties = EVENT["properties"] | {"distinct_id": "ann", "time": 1_700_000_000, "quantity": 3}
    raw = orjson.dumps({"event": "Search", "properties": properties})
    assert [READERS[source](raw).amount for source in ("since", "stated", "moved")] == [1_000_000, 10_800_000, 800_000]


# --- times ---


@examples(200)
@given(st.integers(at("2000-01-02") * 1000, at("2100-01-01") * 1000), st.integers(-14 * 60, 14 * 60))
def test_an_iso_time_is_the_instant_it_names(time_us: int, offset_minutes: int) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    assert time_ms_of(moment.astimezone(zone).isoformat()) == time_us // 1000


@examples(200)
@given(st.integers(at("2000-01-01"), at("2100-01-01")))
def test_seconds_milliseconds_and_microseconds_are_told_apart_by_size(time_ms: int) -> None:
    assert time_ms_of(time_ms) == time_ms
    assert time_ms_of(time_ms * 1000 + 7) == time_ms
    assert time_ms_of(time_ms // 1000) == time_ms // 1000 * 1000
    assert time_ms_of(time_ms / 1000) == time_ms  # a fraction of a second loses no millisecond
    assert time_ms_of(float(time_ms)) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-04T10:00:00Z",
        "2024-03-04T10:00:00",
        "2024-03-04 10:00:00+00:00",
        "20240304T100000Z",
        "2024-03-04T15:30:00+05:30",
        "2024-03-04T10",
        "2024-W10-1T10:00",
        "2024-03-04T10:00:00.000999Z",
    ],
)
def test_all_forms_of_one_instant_are_one(text: str) -> None:
    assert time_ms_of(text) == at("2024-03-04T10:00")


def test_the_year_2000_is_in_and_the_moment_before_is_out() -> None:
    assert time_ms_of("2000-01-01T00:00:00Z") == 946_684_800_000
    with pytest.raises(Rejected, match="bad_time"):
        time_ms_of("1999-12-31T23:59:59.999Z")


# --- ids, quantities ---


@pytest.mark.parametrize(
    ("value", "text"), [("ann", "ann"), (5, "5"), (-5, "-5"), ("0", "0"), (2**64 - 1, str(2**64 - 1))]
)
def test_an_id_may_be_text_or_an_integer(value: str | int, text: str) -> None:
    assert checked_id(value, "id", LONGEST) == text


@pytest.mark.parametrize("value", [0, 1, -1, 9_223_372_036_854, -9_223_372_036_854])
def test_a_quantity_may_be_large_in_either_direction(value: int) -> None:
    assert checked_integer(value, "quantity") == value


def test_amounts_of_money_are_exact() -> None:
    read = READERS["transactions"]
    largest = ("92233720368.54", 9_223_372_036_854)
    for text, cents in (("0.1", 10), ("-12.10", -1210), largest, ("1E+3", 100_000), ("-0", 0)):
        assert read(changed("transactions", amount=text)).amount == cents == int(Decimal(text) * 100)
    assert read(changed("transactions", amount=b"0.30000000000000000")).amount == 30
