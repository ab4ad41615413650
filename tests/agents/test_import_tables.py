"""Tables and events: CSV, Parquet, queries; Segment and Snowplow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.importers.activities import read_activities
from agents.importers.events import FIELDS as EVENT_FIELDS
from agents.importers.events import read_events
from agents.importers.mapping import parse_rules
from agents.importers.snowplow import COLUMNS
from agents.importers.source import InputError, Row, Source
from agents.importers.sql import SqlEntry, covered, is_ordered
from agents.importers.transactions import FIELDS, read_transactions
from tests.agents.import_rows import FORMS, messages, problems, readings, rows_in, rows_of_text


def sales(*maps: str) -> Any:
    return lambda source: read_transactions(source, parse_rules(maps, FIELDS), delimiter=None)


def log(*maps: str) -> Any:
    fields = ("id", "org", "userid", "created", "ghost", "action")
    return lambda source: read_activities(source, parse_rules(maps, fields), delimiter=None)


def event(source: Source) -> Iterator[Row]:
    return read_events(source, (), org=None)


# --- Parquet ----------------------------------------------------------------------------------------


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_keeps_decimals_instants_nulls_and_nested_values(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 5, 10, 1, 1, 41000, UTC)
    file = parquet(
        tmp_path / "sales.parquet",
        transaction_id=pa.array(["t1", "t2", None, "t4"]),
        customer=pa.array([{"org": {"id": "acme"}}, {"org": {"id": "bolt"}}, {"org": None}, None]),
        amount=pa.array(
            [Decimal("12345678901234567.89"), Decimal("-0.10"), None, Decimal("1.00")], pa.decimal128(38, 2)
        ),
        status=pa.array(["A", "A", "A", "R"], pa.large_string()).dictionary_encode(),
        time=pa.array([moment] * 4, pa.timestamp("ns", "America/New_York")),
        note=pa.array([b"\xff", None, b"x", b"y"]),
    )
    rows = rows_in(file, sales("org_id=customer.org.id"))
    assert messages(rows) == [
        {"transaction_id": "t1", "org_id": "acme", "amount": "12345678901234567.89", "status": "A",
         "time": "2026-01-05T05:01:01.041000-05:00"},
        {"transaction_id": "t2", "org_id": "bolt", "amount": "-0.10", "status": "A",
         "time": "2026-01-05T05:01:01.041000-05:00"},
        {"transaction_id": "sales.parquet:3", "status": "A", "time": "2026-01-05T05:01:01.041000-05:00"},
        {"transaction_id": "t4", "amount": "1.00", "status": "R", "time": "2026-01-05T05:01:01.041000-05:00"},
    ]  # fmt: skip
    assert problems(rows) == [None, None, "no_org_id", "no_org_id"]
    assert [reading.amount for reading in readings("transactions", rows[1:2])] == [-10]


@pytest.mark.parametrize(
    ("kind", "problem", "text"),
    [
        (pa.timestamp("us"), "no_zone_read_as_utc", "2026-01-05T10:01:01.000041+00:00"),
        (pa.timestamp("s", "UTC"), None, "2026-01-05T10:01:01+00:00"),
        (pa.timestamp("ms", "+05:30"), None, "2026-01-05T15:31:01+05:30"),
        (pa.date32(), "no_zone_read_as_utc", "2026-01-05T00:00:00+00:00"),
    ],
)
def test_parquet_times_with_a_zone_keep_it_and_others_are_read_as_utc_and_said(
    kind: Any, problem: str | None, text: str, tmp_path: Path
) -> None:
    moment = pa.scalar(datetime(2026, 1, 5, 10, 1, 1, 41, UTC), pa.timestamp("us", "UTC")).cast(kind, safe=False)
    file = parquet(
        tmp_path / "x.parquet", org_id=["o"], amount=["1"], status=["A"], time=pa.array([moment.as_py()], kind)
    )
    rows = rows_in(file, sales())
    assert messages(rows)[0]["time"] == text
    assert problems(rows) == [problem]


def test_a_cell_of_parquet_that_python_has_no_room_for_costs_no_other_row(tmp_path: Path) -> None:
    text = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xffo"))
    times = pa.array([9_000_000_000_000_000_000, 1_767_603_661_000_000], pa.int64()).cast(pa.timestamp("us", "UTC"))
    file = parquet(tmp_path / "x.parquet", org_id=text, amount=["1", "2"], status=["A", "A"], time=times)
    rows = rows_in(file, sales())
    assert [message["org_id"] for message in messages(rows)] == ["\ufffd", "o"]
    assert problems(rows) == ["bad_time", None]
    assert len(readings("transactions", rows[1:])) == 1


def test_parquet_that_is_cut_off_or_lacks_a_column_says_so(tmp_path: Path) -> None:
    file = parquet(tmp_path / "x.parquet", Quantity=[1], time=[2])
    with pytest.raises(InputError, match="did you mean 'Quantity'"):
        rows_in(file, sales("amount=Quantty"))
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged"):
        rows_in(file, sales())


# --- queries ----------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A database with an activity log and sales."""
    file = tmp_path / "crm.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, org INT, userid TEXT, created TEXT, ghost INT)")
        rows = [(n, n % 3, f"u{n % 7}@example.org", f"2026-01-05 10:{n:02}:00", n % 5 == 0) for n in range(1, 60)]
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{file}"


def test_a_query_gives_activities_with_ghosts_and_the_system_apart(base: str) -> None:
    rows = rows_in(SqlEntry(base, "SELECT * FROM log WHERE created LIKE '%:%' ORDER BY id"), log())
    assert len(rows) == 59
    assert messages(rows)[4] == {
        "id": 5, "org": 2, "userid": "u5@example.org", "created": "2026-01-05T10:05:00+00:00", "ghost": 1,
    }  # fmt: skip
    found = readings("activities", rows)
    assert [reading.apart for reading in found[:6]] == ["", "", "system", "", "ghost", "system"]
    assert found[0].id == "s1"


def test_a_query_without_order_is_read_only_if_its_rows_have_ids(base: str) -> None:
    named = SqlEntry(base, "SELECT org, userid, created, id FROM log")
    assert not named.ordered
    assert named.key == "", "nothing is remembered of it"
    assert len(rows_in(named, log())) == 59
    nameless = SqlEntry(base, "SELECT org, userid, created FROM log")
    with pytest.raises(InputError, match="ORDER BY"):
        rows_in(nameless, log())
    ordered = rows_in(SqlEntry(base, "SELECT org, userid, created FROM log ORDER BY created"), log())
    assert messages(ordered)[2]["id"].endswith(":3")


@pytest.mark.parametrize(
    ("url", "sql", "said"),
    [
        ("sqlite:///{base}", "SELECT nothing FROM nowhere", "the database refuses"),
        ("sqlite:///{base}", "DELETE FROM log", "it has to be a SELECT"),
        ("sqlite:///{base}", "SELECT id, id FROM log", "two columns called 'id'"),
        ("nosuch://u:geheim@h/b", "SELECT 1", "not one that SQLAlchemy knows"),
        ("u:geheim@h/b", "SELECT 1", "not one that SQLAlchemy knows"),
        ("postgresql://u:geh%40eim@127.0.0.1:1/b", "SELECT 1", "the database refuses"),
        ("mysql://u:geheim@127.0.0.1:1/b", "SELECT 1", "is not installed"),
    ],
)
def test_a_query_that_fails_says_why_without_the_password(base: str, url: str, sql: str, said: str) -> None:
    address = url.replace("sqlite:///{base}", base)
    with pytest.raises(InputError, match=said) as caught:
        rows_in(SqlEntry(address, sql), log())
    assert "geheim" not in str(caught.value)
    assert "geh@eim" not in str(caught.value)
    assert len(rows_in(SqlEntry(base, "SELECT * FROM log"), log())) == 59, "nothing was deleted"


def test_the_password_is_covered_in_every_spelling_and_does_not_change_the_memory() -> None:
    url = "postgresql://app:p%40ss@db/crm"
    assert "p@ss" not in covered("could not connect with p@ss or p%40ss", url)
    one, other = SqlEntry(url, "SELECT 1 ORDER BY 1"), SqlEntry(url.replace("p%40ss", "new"), "SELECT 1 ORDER BY 1")
    assert one.key == other.key
    assert one.key != SqlEntry(url.replace("crm", "shop"), "SELECT 1 ORDER BY 1").key, "another base is another import"
    assert is_ordered("select * from t order\nby id")
    assert not is_ordered("select ' order by ' from t")


# --- CSV --------------------------------------------------------------------------------------------


def test_csv_of_another_encoding_and_delimiter_is_read(tmp_path: Path) -> None:
    text = 'org_id;amount;status;time;note\r\nMüller;1,5;A;2026-01-05;"a;b"\r\n'
    rows = rows_of_text(text.encode("latin-1"), sales())
    assert problems(rows) == ["not_utf8"]
    assert messages(rows)[0]["org_id"] == "M�ller"
    file = tmp_path / "sales.csv"
    file.write_bytes(text.encode("utf-16"))
    assert messages(rows_in(file, sales()))[0]["org_id"] == "Müller"


def test_activities_from_csv_take_marks_as_they_are_written() -> None:
    text = "id,org,userid,created,ghost\n1,7,ann,1767603661,0\n2,7,ann,2026-01-05T10:00:00Z,true\n"
    text += ",7,bob,1767603661000,812\n"
    rows = rows_of_text(text, log(), "log.csv")
    assert [(m["id"], m["created"], m["ghost"]) for m in messages(rows)] == [
        ("1", 1767603661, 0), ("2", "2026-01-05T10:00:00Z", 1), ("log.csv:4", 1767603661000, 812),
    ]  # fmt: skip
    assert [reading.apart for reading in readings("activities", rows)] == ["", "ghost", "ghost"]


# --- events -----------------------------------------------------------------------------------------


def test_segments_calls_become_events_and_links() -> None:
    rows = rows_in(FORMS / "segment" / "calls.jsonl", event)
    assert messages(rows) == [
        {"event_id": "ajs-next-1", "name": "File Uploaded", "distinct_id": "u-7", "time": "2026-01-05T09:01:02.441Z",
         "quantity": 3, "properties": {"bytes": 1048576, "quantity": 3, "ratio": 0.1}},
        {"event_id": "ajs-next-2", "name": "Viewed a Page", "distinct_id": "anon-1", "time": "2026-01-05T09:02:00.000Z",
         "properties": {"path": "/pricing", "title": "Pricing", "name": "Pricing", "category": "Site"}},
        {"event": "$identify", "properties": {"distinct_id": "u-7", "time": "2026-01-05T09:03:00.000Z",
                                              "$identified_id": "u-7", "$anon_id": "anon-1"}},
        {"event": "$create_alias", "properties": {"distinct_id": "u-8", "time": "2026-01-05T09:04:00.000Z",
                                                  "alias": "anon-9"}},
    ]  # fmt: skip
    assert problems(rows) == [None, None, None, "names_one_alias", None, "group_call"]
    assert b'"ratio":0.10' in (rows[0].value or b""), "numbers keep their digits"
    assert [(reading.who, reading.link) for reading in readings("events", rows)] == [
        ("u-7", ""), ("anon-1", ""), ("u-7", "anon-1"), ("u-8", "anon-9"),
    ]  # fmt: skip
    rules = parse_rules(["org_id=context.groupId"], EVENT_FIELDS)
    mapped = rows_in(FORMS / "segment" / "calls.jsonl", lambda s: read_events(s, rules, org=None))
    assert messages(mapped)[0]["org_id"] == "acme"


SNOWPLOW = {
    "app_id": "shop", "platform": "web", "etl_tstamp": "2026-01-05 09:02:00.000",
    "collector_tstamp": "2026-01-05 09:01:01.041", "event": "unstruct", "event_id": "c6ef3124-b53a-4b13-a233-0088f79d",
    "user_id": "ann@example.org", "user_ipaddress": "192.0.2.7", "domain_userid": "3b1d1a375044eede",
    "page_urlpath": "/cart", "useragent": "Mozilla/5.0", "derived_tstamp": "2026-01-05 09:01:00.500",
    "event_vendor": "org.example", "event_name": "add_to_cart", "event_format": "jsonschema", "event_version": "1-0-0",
    "unstruct_event": '{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",'
                      '"data":{"schema":"iglu:org.example/add_to_cart/jsonschema/1-0-0","data":{"sku":"A1","pieces":2}}}',
}  # fmt: skip


def test_snowplows_lines_and_json_give_the_same_events() -> None:
    struct = {**SNOWPLOW, "event": "struct", "event_name": "event", "se_category": "video", "se_action": "play",
              "user_id": "", "unstruct_event": "", "derived_tstamp": ""}  # fmt: skip
    lines = (
        "\n".join("\t".join(row.get(name, "") for name in COLUMNS) for row in (SNOWPLOW, struct)) + "\nshort\tline\n"
    )
    rows = rows_of_text(lines, event)
    assert messages(rows[:2]) == [
        {"event_id": SNOWPLOW["event_id"], "name": "add_to_cart", "distinct_id": "ann@example.org",
         "time": "2026-01-05T09:01:00.500000+00:00",
         "properties": {"app_id": "shop", "platform": "web", "page_urlpath": "/cart", "sku": "A1", "pieces": 2}},
        {"event_id": SNOWPLOW["event_id"], "name": "play", "distinct_id": "3b1d1a375044eede",
         "time": "2026-01-05T09:01:01.041000+00:00",
         "properties": {"app_id": "shop", "platform": "web", "page_urlpath": "/cart", "se_category": "video"}},
    ]  # fmt: skip
    assert (rows[2].value, rows[2].problem) == (b"short\tline", "other_number_of_columns")
    as_json = {name: value for name, value in SNOWPLOW.items() if name != "unstruct_event"} | {
        "collector_tstamp": "2026-01-05T09:01:01.041Z", "derived_tstamp": "2026-01-05T09:01:00.500Z",
        "unstruct_event_org_example_add_to_cart_1": {"sku": "A1", "pieces": 2},
    }  # fmt: skip
    other = messages(rows_of_text(json.dumps(as_json), event))[0]
    assert other == messages(rows[:1])[0] | {"time": "2026-01-05T09:01:00.500Z"}
    assert [reading.time_ms for reading in readings("events", rows[:2])] == [1767603660500, 1767603661041]


def test_a_mixpanel_export_as_one_array_is_read_by_its_elements() -> None:
    one = {"event": "Search", "properties": {"distinct_id": "u", "time": 1767603661, "$insert_id": "a", "q": "]"}}
    rows = rows_of_text(json.dumps([one, one], indent=2), event)
    assert messages(rows) == [one, one]


def test_events_come_from_tables_too(tmp_path: Path) -> None:
    when = datetime(2026, 1, 5, 10, tzinfo=timezone(timedelta(hours=1)))
    file = parquet(
        tmp_path / "e.parquet", name=["Upload"], distinct_id=[7], time=pa.array([when]), quantity=[3],
        properties=pa.array([{"bytes": 5, "tags": ["a"]}]), other=["x"],
    )  # fmt: skip
    assert messages(rows_in(file, event)) == [
        {"event_id": "e.parquet:1", "name": "Upload", "distinct_id": 7, "quantity": 3,
         "time": "2026-01-05T10:00:00+01:00", "properties": {"bytes": 5, "tags": ["a"]}}
    ]  # fmt: skip
    text = "name,distinct_id,time,quantity\nUpload,ann,2026-01-05T10:00:00Z,3\n"
    assert messages(rows_of_text(text, event))[0]["quantity"] == 3
