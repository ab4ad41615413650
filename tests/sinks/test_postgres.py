"""The PostgreSQL sink as a process, on a real Kafka and a real PostgreSQL: outages, mistakes, a database set back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.sinks.errors import StoreRefusesError
from agents.sinks.pg_store import PgStore
from streams.settings import override
from tests.sinks.house import House, sink_settings, wait_until, week
from tests.sinks.server import PASSWORD, LocalPostgres

pytestmark = pytest.mark.kafka


@pytest.fixture
def house(kafka: Any, database: str, topic_prefix: str, tmp_path: Path) -> Iterator[House]:
    """A sink with an empty database; it is not started."""
    changes = {"sink.postgres_url": database, "sink.timeout_seconds": 2.0, "worker.static_membership": True}
    with House(sink_settings(kafka.bootstrap, topic_prefix, changes), "postgres", tmp_path) as found:
        yield found


def stored(server: LocalPostgres, url: str) -> set[str]:
    """Return the users whose weeks are stored; none while there is no table."""
    try:
        return {user for (user,) in server.ask("SELECT user_id FROM usage.user_score", url=url)}
    except Exception as error:  # noqa: BLE001  # the table may be away, or the server: then the test waits
        return {repr(error)}


def test_a_database_that_is_away_asleep_or_set_back_is_waited_for_and_filled(
    house: House, postgres: LocalPostgres, database: str
) -> None:
    def wait_for(*users: str) -> None:
        wait_until(lambda: "" if (found := stored(postgres, database)) == set(users) else f"{found}")

    def wait_away(said: str) -> None:
        wait_until(lambda: "" if said in house.checks().get("postgres", (True, ""))[1] else f"{house.checks()}")
        assert house.checks()["postgres"][0] is False
        assert 'orgpulse_sink_up{sink="postgres"} 0.0' in house.page("metrics")

    postgres.stop()
    house.send([week("user:o/a", "2026-W40")])
    house.start()
    wait_away("refused")  # before it has ever been there
    postgres.start()
    wait_for("a")
    wait_until(lambda: "" if all(ok for ok, _ in house.checks().values()) else f"{house.checks()}")

    postgres.signal_all(signal.SIGSTOP)
    try:
        house.send([week("user:o/b", "2026-W40")])
        wait_away("no answer within 2 s")
    finally:
        postgres.signal_all(signal.SIGCONT)
    wait_for("a", "b")

    postgres.ask("DROP SCHEMA usage CASCADE", url=database)
    house.send([week("user:o/c", "2026-W40")])
    assert house.ended() == 1, "tables that go under it are for somebody to look at"
    assert "sink postgres --create" in house.said()
    house.start()
    wait_for("a", "b", "c")
    metrics = house.page("metrics")
    assert 'orgpulse_sink_rows_total{outcome="stored",sink="postgres",table="user_score"} 3.0' in metrics

    # Set back to a backup: what is missing comes again, though Kafka holds later offsets of the group.
    postgres.ask("DELETE FROM usage.user_score WHERE user_id <> 'a'", url=database)
    postgres.ask("UPDATE usage.sink_position SET next_offset = 1 WHERE next_offset > 1", url=database)
    house.send([week("user:o/d", "2026-W40")])
    wait_for("a", "b", "c", "d")

    # What somebody deletes by hand is filled in when it is asked for.
    postgres.ask("DELETE FROM usage.user_score", url=database)
    done = house.once("--from-start")
    assert done.exit_code == 0 and done.stdout.startswith("12 partitions will be read again"), done
    house.send([week("user:o/e", "2026-W40")])
    wait_for("a", "b", "c", "d", "e")

    postgres.stop()
    house.send([week("user:o/f", "2026-W40")])
    wait_away("refused")
    assert house.stop() == 0, "it need not be there for an end"
    assert PASSWORD not in house.said()


def test_mistakes_that_somebody_has_to_mend_are_named_with_a_remedy(
    house: House, postgres: LocalPostgres, database: str
) -> None:
    name = database.rpartition("/")[2]
    postgres.ask(f"CREATE ROLE {name}_low LOGIN PASSWORD 'low'")
    low = postgres.url(name, f"{name}_low", "low")
    mistakes = {
        "password": (
            {"sink.postgres_url": postgres.url(name, password="falsch-1")},
            "password authentication",
            "_FILE",
        ),
        "database": ({"sink.postgres_url": postgres.url("nowhere")}, "does not exist", "createdb"),
        "role": ({"sink.postgres_url": postgres.url(name, "nobody_known")}, "password authentication", "postgres_url"),
        "rights": ({"sink.postgres_url": low}, "permission denied", "Grant it"),
        "address": ({"sink.postgres_url": database.replace(PASSWORD, "geh@im/1")}, "can't be read", "%40"),
        "port": ({"sink.postgres_url": database.replace("127.0.0.1:", "127.0.0.1:x")}, "can't be read", "host:port"),
        "schema": ({"sink.migrate": False}, "schema usage has no tables of orgpulse", "--create"),
    }
    for changes, wanted, remedy in mistakes.values():
        mine = override(house.settings, changes).sink
        with pytest.raises(StoreRefusesError) as refused:
            asyncio.run(PgStore(mine).prepare(create=mine.migrate))
        assert wanted in refused.value.message and remedy in refused.value.remedy
    house.start(changes=mistakes["password"][0])
    assert house.ended() == 1
    said = house.said()
    assert "password authentication" in said and "_FILE" in said and "Traceback" not in said
    assert "falsch-1" not in said and PASSWORD not in said

    once = house.once("--create")
    assert once.exit_code == 0 and once.stdout.startswith("schema usage applied 0001"), once
    assert house.once("--create").stdout == "schema usage is up to date\n"
    ended = house.once("--create", changes={"sink.postgres_url": postgres.url(name, password="falsch-1")})
    assert ended.exit_code == 1 and "password authentication" in ended.stderr and "falsch-1" not in ended.stderr
    # With the rights of the guide alone, on tables that somebody else made, it works.
    for grant in (
        f"GRANT USAGE ON SCHEMA usage TO {name}_low",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA usage TO {name}_low",
    ):
        postgres.ask(grant, url=database)
    house.send([week("user:o/a", "2026-W40")])
    house.start(changes={"sink.postgres_url": low, "sink.migrate": False})
    wait_until(lambda: "" if stored(postgres, database) == {"a"} else house.said()[-500:])
