"""Sinks are killed and PostgreSQL is stopped and killed under a stream; in the end the stores hold what topics say."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from reports.collect import read_raw
from streams.settings import Settings
from tests.faults.extent import fresh_seed, times
from tests.sinks.house import House, Record, sink_settings
from tests.sinks.proof import differences, expected_weeks, filed_weeks, last_records, stored_weeks
from tests.sinks.server import LocalPostgres
from tests.sinks.world import stream

KILLS = times(3)

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300 + 30 * KILLS)]


def test_every_row_is_that_of_the_topics_after_sinks_and_the_database_were_killed(
    kafka: Any, postgres: LocalPostgres, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    seed = fresh_seed()
    chance, files = random.Random(seed), tmp_path / "lake"
    settings = sink_settings(
        kafka.bootstrap, topic_prefix,
        {"sink.postgres_url": database, "sink.parquet_directory": str(files), "sink.chunk_records": 100,
         "sink.flush_seconds": 0.1, "worker.static_membership": True},
    )  # fmt: skip
    records = stream(chance, orgs=6, users=8)
    for number in range(3):  # nobody of this house wrote these
        records.insert(chance.randrange(len(records)), ("weeks", f"org:damaged|2026-W4{number}".encode(), b"no JSON"))
    (tmp_path / "lake-logs").mkdir()
    with (
        House(settings, "postgres", tmp_path) as tables,
        House(settings, "parquet", tmp_path / "lake-logs") as lake,
    ):
        tables.start()
        lake.start()
        sender = threading.Thread(target=_send_slowly, args=(tables, records, 3.0 * KILLS))
        sender.start()
        for number in range(KILLS):
            for house in (tables, lake):
                _pause(chance)
                house.kill()
                house.start()
            _pause(chance)
            (postgres.stop if number % 2 else postgres.kill)()
            _pause(chance)
            postgres.start()
        sender.join()
        tables.wait_stored("weeks", "scores", "product-events", "users", "orgs", "identities")
        lake.wait_stored("weeks")
        assert tables.kills == lake.kills == KILLS

        expected = expected_weeks(settings)
        found, filed = stored_weeks(postgres, database), filed_weeks(files)
        print(
            f"{len(records)} records, {len(expected)} weeks, {2 * KILLS} sinks killed, the database down {KILLS} times"
        )
        assert len(expected) > 500
        assert differences(expected, found) == []
        assert len(filed) == len(dict(filed)), "a reader sees a subject twice in a week"
        assert differences(expected, dict(filed)) == []
        _compare_rest(settings, postgres, database)
        letters = [json.loads(value or b"") for *_, value, _ in _raw(settings, "dead-letters")]
        assert sorted(letter["topic"] for letter in letters) == ["weeks"] * 6, "one letter a sink of each"


def test_the_comparison_sees_a_row_lost_and_a_row_that_came_back() -> None:
    row = {"score": 1}
    assert differences({"a": row}, {}) == ["a: missing"]
    assert differences({}, {"a": row}) == ["a: not in the topic"]
    assert differences({"a": row}, {"a": {"score": 2}}) == ["a: score is 2, not 1"]


def _pause(chance: random.Random) -> None:
    time.sleep(chance.uniform(0.1, 1.2))  # a random moment, not a wait for anything


def _send_slowly(house: House, records: list[Record], seconds: float) -> None:
    """Send *records* over about *seconds*."""
    step = max(1, len(records) // 20)
    for first in range(0, len(records), step):
        house.send(records[first : first + step])
        time.sleep(seconds / 20)


def _raw(settings: Settings, topic: str) -> list[Any]:
    return read_raw(settings.kafka.brokers, settings.kafka.prefix, [topic])


def _compare_rest(settings: Settings, postgres: LocalPostgres, database: str) -> None:
    """Compare what else is in the tables with its topics."""
    documents = {key: json.loads(value) for key, (value, _) in last_records(settings, "scores").items()}
    told = dict(postgres.ask("SELECT subject, document FROM usage.live_score", url=database))
    assert told and told == documents
    users = {name: (json.loads(value), offset) for name, (value, offset) in last_records(settings, "users").items()}
    known = postgres.ask(
        "SELECT user_id, email, j.name, fence FROM usage.app_user LEFT JOIN usage.job_type AS j USING (job_type_id)",
        url=database,
    )
    wanted = {(name, user["email"], user["job_type"], offset) for name, (user, offset) in users.items()}
    assert len(known) > 30 and set(known) == wanted
    aliases = postgres.ask("SELECT user_id, alias FROM usage.user_alias", url=database)
    assert set(aliases) == {(n, alias) for n, (user, _) in users.items() for alias in (n, user["email"].lower())}
    first: dict[str, tuple[int, int, Any]] = {}
    for _, partition, offset, _, value, _ in _raw(settings, "product-events"):
        event = json.loads(value or b"")
        name, place = event["event_id"], (offset, partition, event["properties"])
        first[name] = min(first.get(name, place), place, key=lambda each: each[:2])
    kept = postgres.ask("SELECT event_id, fence, source_partition, properties FROM usage.product_event", url=database)
    assert len(kept) > 300 and {name: tuple(rest) for name, *rest in kept} == first
