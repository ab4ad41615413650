"""Who is who, and how companies stand: the views on a real PostgreSQL, beside the workers' own directory."""

from __future__ import annotations

import json
import random

from agents.directory import DirectoryReader
from agents.sinks.intakes import Links, Orgs, Users
from state.identity import Directory
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.faults.extent import fresh_seed, times
from tests.sinks.house import said, week
from tests.sinks.logs import LIMITS, Log, event, events_of, weeks_of
from tests.sinks.server import LocalPostgres


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
    for number in range(times(4)):
        chance = random.Random(seed + number)
        users, said_of = Log(database, f"users-{number}", Users(LIMITS)), Log(database, f"ids-{number}", Links(LIMITS))
        users.add(*people(chance, 60))
        said_of.add(*links(chance, chance.randrange(8)))
        users.store(size=chance.choice([1, 5, 10, 20]))
        said_of.store(size=3)
        reader = DirectoryReader(Directory(), topic_names(Settings()), LIMITS)
        for topic, log in (("users", users), ("identities", said_of)):
            for record in log.records:
                reader.take(topic, record)
        wanted = {alias: person.user for alias, person in reader.directory.people.items()}
        assert wanted and dict(postgres.ask("SELECT * FROM usage.alias_user", url=database)) == wanted
        postgres.ask("TRUNCATE usage.app_user CASCADE", url=database)
        postgres.ask("TRUNCATE usage.identity_link", url=database)


def test_an_alias_given_up_and_claimed_again_in_one_chunk_is_claimed_anew(
    postgres: LocalPostgres, database: str
) -> None:
    def entry(name: str, username: str | None) -> tuple[str, bytes, bytes | None]:
        return said("users", name, user_id=name, org_id="o", username=username)

    users = Log(database, "users", Users(LIMITS))
    users.add(entry("a", "x"), entry("b", "x"), entry("c", "y"), entry("d", "y"))
    users.add(entry("a", None), entry("a", "x"), ("users", b"c", None), entry("c", "y"), entry("b", "x"))
    users.store(0, 4)
    first = "SELECT alias, user_id FROM usage.alias_user WHERE alias IN ('x', 'y') ORDER BY 1"
    assert postgres.ask(first, url=database) == [("x", "a"), ("y", "c")]
    users.store(4)
    assert postgres.ask(first, url=database) == [("x", "b"), ("y", "d")]


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
