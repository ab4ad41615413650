"""Rows that nobody expects, on a real PostgreSQL: stored safely, or found and refused; the rest is stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sinks.intakes import Orgs, Users
from agents.sinks.pg_store import PgStore, Written
from agents.sinks.place import Stretch
from agents.sinks.safe_text import fit_json
from tests.sinks.house import said, week
from tests.sinks.logs import LIMITS, NOW_MS, Log, Rec, event, events_of, scores, weeks_of
from tests.sinks.server import LocalPostgres

HOSTILE = {
    "nul": '{"a":"x\\u0000y","b\\u0000":1}',
    "big": '{"a":1e999999,"b":' + "9" * 400 + ',"c":-1e-400000}',
    "emoji": '{"a":"\\ud83d\\ude00"}',
    "deep": '{"a":' + "[" * 900 + "]" * 900 + "}",
    "twice": '{"a":1,"a":2}',
    "exact": '{"a":0.10000000000000000001,"b":1E+2}',
    "plain": '["no object", null]',
}


def test_hostile_texts_are_stored_safely_or_become_letters(postgres: LocalPostgres, database: str) -> None:
    log = events_of(database)
    head = f'{{"name":"Search","distinct_id":"Robert\'); DROP TABLE product_event;--","time":{NOW_MS},'
    for name, properties in HOSTILE.items():
        log.add(("product-events", b"", f'{head}"event_id":"{name}","properties":{properties}}}'.encode()))
    log.add(("product-events", b"", f'{head}"event_id":"bytes","properties":{{"a":"'.encode() + b'\xff\xfe"}}'))
    log.add(("product-events", b"", f'{head}"event_id":"unit","unit":"a\\u0000b\\\\N\\t\\n"}}'.encode()))
    longest = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(4000))  # does not compress
    log.add(event(longest, "ann"), event("last", "ann"), event("huge", "ann", quantity=10**30), ("", b"", b"\x00\xff"))
    taken = log.intake.take(log.records, 0, 0)
    written = log.store()
    # Nested that deep with nothing in it to mend, it is stored as it came.
    assert set(written.refused) == {9} and "index" in written.refused[9]
    assert (taken.counts["skipped"], taken.counts["mended"], taken.letters) == (2, 4, [])
    rows = dict(postgres.ask("SELECT event_id, properties::text FROM usage.product_event", url=database))
    assert set(rows) == {*HOSTILE, "bytes", "unit", "last"}
    assert json.loads(rows["nul"]) == {"a": "x\ufffdy", "b\ufffd": 1}
    assert json.loads(rows["big"]) == {"a": "1e999999", "b": "9" * 400, "c": "-1e-400000"}
    assert json.loads(rows["emoji"]) == {"a": "😀"} and json.loads(rows["twice"]) == {"a": 2}
    assert rows["exact"] == '{"a": 0.10000000000000000001, "b": 100}'
    assert json.loads(rows["bytes"]) == {"a": "\ufffd\ufffd"}
    (unit,) = postgres.ask("SELECT unit FROM usage.product_event WHERE event_id = 'unit'", url=database)
    assert unit == ("a\ufffdb\\N\t\n",)
    assert written.rows["product_event", "stored"] == len(rows)


TEXTS = st.text(st.characters(codec=None, exclude_categories=[]) | st.sampled_from('\x00\ud800\udfff\\"\u2028'))
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,7})?", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def test_postgresql_takes_whatever_json_comes_in(postgres: LocalPostgres, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:

        @settings(max_examples=100, deadline=None, derandomize=True)
        @given(VALUES, NUMBERS, st.booleans())
        def takes(value: Any, number: str, ascii_only: bool) -> None:
            raw = f'{{"v":{json.dumps(value, ensure_ascii=ascii_only)},"n":{number}}}'.encode("utf-8", "surrogatepass")
            text, mended = fit_json(raw)
            ((stored,),) = connection.execute("SELECT %s::jsonb -> 'v'", (text,)).fetchall()
            if not mended:
                assert stored == value

        takes()


def test_long_names_of_dimensions_are_cut_and_odd_entries_do_no_harm(postgres: LocalPostgres, database: str) -> None:
    users, orgs = Log(database, "users", Users(LIMITS)), Log(database, "orgs", Orgs(LIMITS))
    users.add(said("users", "a", user_id="a", org_id="o", job_type="j" * 9000, display_name="x\u0000y"))
    orgs.add(
        said("orgs", "o", org_id="o", name="n" * 9000, account_value_usd=10**25, licenses=2**63, group_type="g\u2028"),
        said("orgs", "p", org_id="p", account_value_usd=49_999.99),
        ("orgs", b"q", b'{"org_id":"q","account_value_usd":1e400}'),
    )
    users.store()
    assert orgs.store().refused == {}
    assert postgres.ask("SELECT length(name) FROM usage.job_type", url=database) == [(500,)]
    rows = postgres.ask(
        "SELECT org_id, account_value_usd, licenses, g.name FROM usage.org LEFT JOIN usage.group_type AS g"
        " USING (group_type_id) ORDER BY 1", url=database,
    )  # fmt: skip
    assert [tuple(map(str, row)) for row in rows] == [
        ("o", str(10**25), str(2**63), "g "), ("p", "49999.99", "None", "SMB")
    ]  # fmt: skip


def test_rows_that_do_not_fit_are_found_among_many_and_told_again_until_the_offset_is_out(
    postgres: LocalPostgres, database: str
) -> None:
    log = weeks_of(database)
    log.add(*[week(f"user:o/{number}", "2026-W40") for number in range(300)])
    bad = {7: "1000.00", 123: "1000.00", 299: "1000.00"}  # numeric(5, 2) ends below 1000
    for at, score in bad.items():
        log.records[at].value = week(f"user:o/{at}", "2026-W40", score="999.00")[2]
        log.records[at].value = (log.records[at].value or b"").replace(b'"999.00"', f'"{score}"'.encode())
    odd = [Rec(300, b"user:o/x|2026-W40", week("user:o/x", "2026-W40", counts={"a": 2**63})[2])]
    assert [error.reason for _, error in log.intake.take(odd, 0, 0).letters] == ["wrong_type"]
    assert len(log.intake.take(log.records, 0, 0).letters) == 3, "a score above 999.99 is no percentage"
    for at in bad:
        log.records[at].value = week(f"user:o/{at}", "2026-W40")[2]
    changes = log.intake.take(log.records, 0, 0).changes
    spoiled = [_spoiled(change) if change.fence in bad else change for change in changes]

    async def write() -> Written:
        store = PgStore(log.settings)
        await store.prepare(create=True)
        await store.marks({("weeks", 0): "id"})
        await store.begin({("weeks", 0): 0})
        try:
            await store.write(log.intake.tables, Stretch("weeks", 0, 0, 300), 0, spoiled)
            return await store.write(log.intake.tables, Stretch("weeks", 0, 0, 300), 0, spoiled)  # its offset got lost
        finally:
            await store.close()

    written = asyncio.run(write())
    assert set(written.refused) == set(bad) and not written.rows
    assert len(scores(postgres, database)) == 297


def _spoiled(change: Any) -> Any:
    row = list(change.row)
    row[row.index("final") + 1] = "100000.00"
    return type(change)(change.table, change.key, tuple(row), change.fence)
