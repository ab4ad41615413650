"""The tables on a real PostgreSQL, without Kafka: who is who, fences, repeated and late chunks, versions, odd rows."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agents.directory import DirectoryReader
from agents.sinks.errors import PositionMovedError, StoreRefusesError
from agents.sinks.intakes import Events, Intake, Links, Orgs, Users, Weeks
from agents.sinks.pg_connect import connect
from agents.sinks.pg_schema import bring_up, migrations
from agents.sinks.pg_store import PgStore, Written
from agents.sinks.place import Mark, Stretch
from state.identity import Directory
from streams.model_file import load_model
from streams.read_directory import DirectoryLimits
from streams.read_product import product_reader
from streams.settings import Settings
from streams.settings_sink import SinkSettings
from streams.topic_specs import topic_names
from tests.faults.extent import fresh_seed, times
from tests.sinks.house import said, week
from tests.sinks.server import LocalPostgres

LIMITS = DirectoryLimits(max_id=4096, max_aliases=20, max_value_bytes=65536)
MODEL = load_model("")
NOW_MS = 1_795_000_000_000


@dataclass
class Rec:
    """A record of a log."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = NOW_MS


class Log:
    """One partition of a topic that is stored chunk by chunk; `records` is all of it."""

    def __init__(self, url: str, topic: str, intake: Intake) -> None:
        self.settings = SinkSettings(postgres_url=url)
        self.topic, self.intake, self.records = topic, intake, list[Rec]()

    def add(self, *records: tuple[str, bytes, bytes | None]) -> None:
        """Append records, a second apart."""
        for _, key, value in records:
            self.records.append(Rec(len(self.records), key, value, NOW_MS + 1000 * len(self.records)))

    def store(self, begin: int = 0, end: int | None = None, size: int = 1000) -> Written:
        """Store a stretch of the log in chunks of *size*; return what became of the last one."""
        return asyncio.run(self._store(begin, len(self.records) if end is None else end, size))

    async def _store(self, begin: int, end: int, size: int) -> Written:
        store, written = PgStore(self.settings), Written()
        await store.prepare(create=True)
        try:
            marks = await store.marks({(self.topic, 0): "id"})
            await store.begin({(self.topic, 0): 0})
            for first in range(begin, end, size):
                last = min(first + size, end)
                taken = self.intake.take(self.records[first:last], 0, marks[self.topic, 0].epoch)
                stretch = Stretch(self.topic, 0, first, last)
                written = await store.write(self.intake.tables, stretch, marks[self.topic, 0].epoch, taken.changes)
        finally:
            await store.close()
        return written


def people(chance: random.Random, count: int) -> list[tuple[str, bytes, bytes | None]]:
    """Return entries of a few users who want the same few aliases."""
    names, aliases = (
        [f"u{n}" for n in range(6)],
        ["Ann@Example.org", "ann", "BOB@e.org", "bob", "x-1", "Ünï@e.org"],
    )
    found: list[tuple[str, bytes, bytes | None]] = []
    for _ in range(count):
        name = chance.choice(names)
        if chance.random() < 0.15:
            found.append(("users", name.encode(), None))
        else:
            email, username = chance.choice(aliases), chance.choice([*aliases, None])
            more = chance.sample(aliases, chance.randrange(3))
            found.append(said("users", name, user_id=name, org_id="o", email=email, username=username, aliases=more))
    return found


def links(chance: random.Random, count: int) -> list[tuple[str, bytes, bytes | None]]:
    """Return what operators and events say of the same aliases."""
    found: list[tuple[str, bytes, bytes | None]] = []
    for _ in range(count):
        alias = chance.choice(["ann@example.org", "bob", "x-1", "new"])
        by = chance.choice(["operator", "event"])
        user = chance.choice(["u0", "u1", "u9", *([None] if by == "operator" else [])])
        value = None if chance.random() < 0.2 else json.dumps({"alias": alias, "user_id": user, "by": by}).encode()
        found.append(("identities", alias.encode(), value))
    return found


def test_an_alias_leads_to_whom_the_workers_say_it_does(postgres: LocalPostgres, database: str) -> None:
    seed = fresh_seed()
    for number in range(times(3)):
        chance = random.Random(seed + number)
        users, said_of = Log(database, f"users-{number}", Users(LIMITS)), Log(database, f"ids-{number}", Links(LIMITS))
        users.add(*people(chance, 60))
        said_of.add(*links(chance, chance.randrange(8)))
        users.store(size=chance.choice([1, 7, 25, 100]))
        said_of.store(size=3)
        reader = DirectoryReader(Directory(), topic_names(Settings()), LIMITS)
        for topic, log in (("users", users), ("identities", said_of)):
            for record in log.records:
                reader.take(topic, record)
        wanted = {alias: person.user for alias, person in reader.directory.people.items()}
        assert wanted and dict(postgres.ask("SELECT * FROM usage.alias_user", url=database)) == wanted
        postgres.ask("TRUNCATE usage.app_user CASCADE", url=database)
        postgres.ask("TRUNCATE usage.identity_link", url=database)


def events_of(database: str) -> Log:
    """Return an empty log of product events."""
    reader = product_reader(MODEL.catalogue, 4096)
    return Log(database, "product-events", Events(reader, 65536, 3_600_000))


def event(event_id: str, who: Any, **more: Any) -> tuple[str, bytes, bytes | None]:
    """Return a product event."""
    return said("product-events", "k", event_id=event_id, name="Search", distinct_id=who, time=NOW_MS, **more)


def test_the_view_finds_people_by_mail_name_and_id_and_leaves_strangers_visible(
    postgres: LocalPostgres, database: str
) -> None:
    users, events = Log(database, "users", Users(LIMITS)), events_of(database)
    users.add(
        said("users", "7", user_id=7, org_id="acme", email="Ann@Example.ORG", username="ann", job_type="ops"),
        said("users", "8", user_id=8, org_id="acme", email="bob@example.org", username="bob"),
        said("users", "8", user_id=8, org_id="beta", email="rob@example.org", username="bob"),  # has changed
    )
    events.add(
        event("mail", "aNN@example.org"), event("name", "ann"), event("id", 7), event("case", "Ann"),
        event("old", "bob@example.org"), event("new", "ROB@example.org"), event("stranger", "eve@example.org"),
        event("gone", "eve@example.org", org_id="acme"),
    )  # fmt: skip
    users.store()
    events.store()
    rows = postgres.ask("SELECT event_id, user_id, org_id, job_type FROM usage.user_product_event", url=database)
    assert {event_id: tuple(rest) for event_id, *rest in rows} == {
        "mail": ("7", "acme", "ops"), "name": ("7", "acme", "ops"), "id": ("7", "acme", "ops"),
        "case": (None, None, None), "old": (None, None, None), "new": ("8", "beta", None),
        "stranger": (None, None, None), "gone": (None, "acme", None),
    }  # fmt: skip
    users.add(("users", b"7", None))
    users.store(begin=3)
    (left,) = postgres.ask("SELECT count(*) FROM usage.user_product_event WHERE user_id = '7'", url=database)
    assert left == (0,), "who is gone from the directory has no events any more"


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


def weeks_of(database: str) -> Log:
    """Return an empty log of weeks."""
    return Log(database, "weeks", Weeks(MODEL))


def scores(server: LocalPostgres, url: str) -> list[tuple[Any, ...]]:
    """Return what is stored of users' weeks."""
    return server.ask("SELECT user_id, week, status, score::text, fence FROM usage.user_score ORDER BY 1, 2", url=url)


def test_a_repeated_chunk_and_one_of_a_process_that_was_asleep_change_nothing(
    postgres: LocalPostgres, database: str
) -> None:
    log = weeks_of(database)
    log.add(week("user:o/a", "2026-W40"), week("user:o/b", "2026-W40", score="10.00"))
    log.add(("weeks", b"user:o/a|2026-W40", None), week("user:o/b", "2026-W40", score="20.00", state="restated"))
    log.store()
    wanted = [("b", "2026-W40", "restated", "20.00", 3)]
    assert scores(postgres, database) == wanted
    for begin, end in ((0, 2), (0, 4), (1, 3), (2, 4)):
        written = log.store(begin, end)
        assert scores(postgres, database) == wanted and not written.rows
    with pytest.raises(PositionMovedError):
        log.add(*[week("user:o/c", "2026-W40")] * 3)
        log.store(5, 6)  # the one before was not stored
    assert scores(postgres, database) == wanted


def test_a_lower_fence_does_not_replace_a_row_even_without_a_position(postgres: LocalPostgres, database: str) -> None:
    log = weeks_of(database)
    log.add(week("user:o/a", "2026-W40", score="10.00"), week("user:o/a", "2026-W40", score="20.00"))
    log.store()
    postgres.ask("UPDATE usage.sink_position SET next_offset = 0", url=database)
    assert log.store(0, 1).rows == {("user_score", "unchanged"): 1}
    assert scores(postgres, database) == [("a", "2026-W40", "final", "20.00", 1)]


def test_what_a_topic_made_anew_says_counts_more(postgres: LocalPostgres, database: str) -> None:
    log = weeks_of(database)
    log.add(*[week("user:o/a", "2026-W40", score="10.00")] * 5)
    log.store()
    store = PgStore(log.settings)
    mark = asyncio.run(store.marks({("weeks", 0): "another id"}))
    assert mark == {("weeks", 0): Mark(1, None)}
    again = weeks_of(database)
    again.add(week("user:o/a", "2026-W40", score="30.00"))

    async def write() -> None:
        await store.begin({("weeks", 0): 0})
        changes = again.intake.take(again.records, 0, 1).changes
        await store.write(again.intake.tables, Stretch("weeks", 0, 0, 1), 1, changes)
        await store.close()

    asyncio.run(write())
    assert [row[3] for row in scores(postgres, database)] == ["30.00"]


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


def test_an_older_schema_is_brought_up_to_date_and_a_newer_one_is_left_alone(
    postgres: LocalPostgres, database: str
) -> None:
    steps = migrations()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))

    async def up(which: Sequence[Any], create: bool = True) -> list[str]:
        connection = await connect(database, "usage", 20.0)
        try:
            return await bring_up(connection, "usage", list(which), create=create)
        finally:
            await connection.close()

    with pytest.raises(StoreRefusesError, match="no tables of orgpulse"):
        asyncio.run(up(steps, create=False))
    assert asyncio.run(up(steps[:1])) == [steps[0].name]
    postgres.ask("INSERT INTO usage.job_type (name) VALUES ('kept')", url=database)
    with pytest.raises(StoreRefusesError, match="has version 1, not 2"):
        asyncio.run(up(steps, create=False))
    assert asyncio.run(up(steps)) == [step.name for step in steps[1:]]
    assert asyncio.run(up(steps)) == []
    assert postgres.ask("SELECT name FROM usage.job_type", url=database) == [("kept",)]
    postgres.ask("INSERT INTO usage.schema_version VALUES (99, 'of tomorrow')", url=database)
    with pytest.raises(StoreRefusesError, match="has version 99"):
        asyncio.run(up(steps))


def test_companies_are_shown_with_their_latest_week_and_its_change(postgres: LocalPostgres, database: str) -> None:
    log, orgs = weeks_of(database), Log(database, "orgs", Orgs(LIMITS))
    orgs.add(said("orgs", "acme", org_id="acme", name="Acme", account_value_usd=70_000))
    log.add(
        week("org:acme", "2026-W45", score="40.00"), week("org:acme", "2026-W46", score="55.50"),
        week("org:acme", "2026-W47", score=None, state="provisional"), week("org:beta", "2026-W46", score="1.00"),
        week("org:gap", "2026-W40", score="10.00"), week("org:gap", "2026-W46", score="30.00"),
        week("org:year", "2025-W52", score="10.00"), week("org:year", "2026-W01", score="30.00"),
    )  # fmt: skip
    log.store()
    orgs.store()
    rows = postgres.ask(
        "SELECT org_id, name, group_type, account_value_usd::int, week, score::text, band, change::text"
        " FROM usage.company_score ORDER BY 1", url=database,
    )  # fmt: skip
    assert rows == [
        ("acme", "Acme", "Enterprise", 70_000, "2026-W46", "55.50", "healthy", "15.50"),
        ("beta", None, None, None, "2026-W46", "1.00", "at_risk", None),
        ("gap", None, None, None, "2026-W46", "30.00", "healthy", None),
        ("year", None, None, None, "2026-W01", "30.00", "healthy", "20.00"),
    ]
