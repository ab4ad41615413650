"""Both sinks beside real workers, the long form of `test_killed`: every row is that of the topics in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import xxhash

from reports.collect import read_raw
from streams.settings import override
from tests.faults.extent import long_form, times
from tests.faults.system import Size, System
from tests.sinks.house import House
from tests.sinks.proof import differences, expected_weeks, filed_weeks, last_records, stored_weeks
from tests.sinks.server import LocalPostgres

ROUNDS = times(2)

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400 + 30 * ROUNDS)]


def test_nothing_is_lost_or_told_twice_when_sinks_and_the_database_are_killed(
    kafka: Any, redis_server: Any, postgres: LocalPostgres, database: str, tmp_path: Path
) -> None:
    files = tmp_path / "lake"
    changes = {
        "sink.postgres_url": database, "sink.parquet_directory": str(files), "sink.flush_seconds": 0.3,
        "sink.longest_pause_seconds": 1.0, "sink.chunk_records": 200, "worker.longest_pause_seconds": 2.0,
    }  # fmt: skip
    with System(kafka.bootstrap, redis_server.url, tmp_path, workers=1, size=Size(15, 80, 3)) as system:
        settings = override(system.settings, changes)
        (tmp_path / "p").mkdir()
        with (
            House(settings, "postgres", tmp_path, count=2) as tables,
            House(settings, "parquet", tmp_path / "p", count=2) as lake,
        ):
            for house in (tables, lake):
                house.start(0)
                house.start(1)
            player = system.play(6.0 * ROUNDS)
            for number in range(ROUNDS):
                for house in (tables, lake):
                    player.join(timeout=system.chance.uniform(0.2, 2.0))  # a random moment
                    victim = system.chance.randrange(2)
                    house.kill(victim)
                    house.start(victim)
                player.join(timeout=system.chance.uniform(0.2, 2.0))
                (postgres.kill if number % 2 else postgres.stop)()
                player.join(timeout=system.chance.uniform(0.2, 2.0))
                postgres.start()
            system.rest(300.0)
            tables.wait_stored("weeks", "scores", "product-events", "users", "orgs", "identities")
            lake.wait_stored("weeks")
            assert tables.kills == lake.kills == ROUNDS

            expected = expected_weeks(settings)
            found, filed = stored_weeks(postgres, database), filed_weeks(files)
            print(
                f"{len(expected)} rows of weeks, {tables.kills + lake.kills} sinks killed, database down {ROUNDS} times"
            )
            assert len(expected) > 150 and len({row["status"] for row in expected.values()}) > 1
            assert differences(expected, found) == []
            assert len(filed) == len(dict(filed)), "a reader sees a subject twice in a week"
            assert differences(expected, dict(filed)) == []
            _compare_rest(settings, postgres, database)


def _compare_rest(settings: Any, postgres: LocalPostgres, database: str) -> None:
    """Compare what else is in the tables with its topics."""
    documents = {key: json.loads(value) for key, (value, _) in last_records(settings, "scores").items()}
    told = dict(postgres.ask("SELECT subject, document FROM usage.live_score", url=database))
    assert len(told) > 50 and told == documents
    users = last_records(settings, "users")
    known = postgres.ask("SELECT user_id, fence FROM usage.app_user", url=database)
    assert len(known) > 50 and dict(known) == {name: offset for name, (_, offset) in users.items()}
    assert {job for (job,) in postgres.ask("SELECT name FROM usage.job_type", url=database)} == {
        job for value, _ in users.values() if (job := json.loads(value).get("job_type"))
    }
    read = ("product-events", "dead-letters")
    events, letters = (read_raw(settings.kafka.brokers, settings.kafka.prefix, [topic]) for topic in read)
    unread = {
        (letter["partition"], letter["offset"])
        for *_, value, _ in letters
        if (letter := json.loads(value or b"{}"))["topic"] == "product-events" and letter["reason"] != "too_late"
    }
    first: dict[str, tuple[int, int]] = {}
    for _, partition, offset, _, value, _ in events:
        if (partition, offset) in unread:
            continue
        event = json.loads(value or b"")
        if event.get("event") in ("$identify", "$create_alias"):
            continue  # says that two aliases are one person
        inner = event.get("properties") or {}
        name = str(event.get("event_id") or inner.get("$insert_id") or xxhash.xxh3_128_hexdigest(value or b""))
        first[name] = min(first.get(name, (offset, partition)), (offset, partition))
    kept = postgres.ask("SELECT event_id, fence, source_partition FROM usage.product_event", url=database)
    assert len(kept) > 1000 and {name: (fence, part) for name, fence, part in kept} == first
    assert not postgres.ask("SELECT FROM usage.sink_refused", url=database)
