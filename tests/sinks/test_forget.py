"""A person's rows go from PostgreSQL, and events and entries of theirs are not stored again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.forget_names import Names
from agents.forget_places import in_postgres, remove_from_postgres, rows_in_postgres
from agents.forget_remove import put_on_list
from streams.suppression import suppression_of
from tests.faults.forgetting import key_file
from tests.sinks.house import House, said, sink_settings, week
from tests.sinks.logs import event
from tests.sinks.server import LocalPostgres

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.security]
ANN = Names("8812", ("8812", "ann@example.org"))


@pytest.fixture
def house(kafka: Any, database: str, topic_prefix: str, tmp_path: Path) -> Iterator[House]:
    """A sink with an empty database; it is not started."""
    changes = {"sink.postgres_url": database, "privacy.suppression_key_file": key_file(tmp_path)}
    with House(sink_settings(kafka.bootstrap, topic_prefix, changes), "postgres", tmp_path) as found:
        yield found


def test_rows_of_somebody_forgotten_go_and_none_comes_again(
    house: House, postgres: LocalPostgres, database: str
) -> None:
    house.send(
        [
            said("users", "8812", user_id="8812", org_id="o", email="Ann@example.org"),
            said("users", "9", user_id="9", org_id="o", email="bob@example.org"),
            event("e1", "Ann@Example.org"), event("e2", "8812"), event("e3", "bob@example.org"),
            event("e4", "bob@example.org", properties={"sent_to": "ann@example.org"}),
            week("user:o/8812", "2026-W40"), week("user:o/9", "2026-W40"), week("org:o", "2026-W40"),
            said("identities", "kiosk", alias="kiosk", user_id="8812", by="operator"),
        ]
    )  # fmt: skip
    house.start()
    house.wait_stored("users", "product-events", "weeks", "identities")
    found, looked = asyncio.run(in_postgres(house.settings, ANN))
    assert looked and sorted(set(found)) == [
        "app_user", "identity_link", "product_event", "product_event.properties", "user_alias", "user_score",
    ]  # fmt: skip
    rows = asyncio.run(rows_in_postgres(house.settings, ANN))
    assert [row["email"] for row in rows["app_user"]] == ["Ann@example.org"]
    assert sorted(row["event_id"] for row in rows["product_event"]) == ["e1", "e2"]

    suppressed = suppression_of(house.settings)
    assert asyncio.run(put_on_list(house.settings, suppressed, ANN.all, "2026-01-01T00:00:00Z")) == 2
    house.kill()  # the list is read before anything else at the next start
    assert asyncio.run(remove_from_postgres(house.settings, ANN)) == 5
    house.send(
        [
            event("e5", "Ann@Example.org"), event("e6", "bob@example.org"),
            said("users", "8812", user_id="8812", org_id="o", email="Ann@example.org"),
        ]
    )  # fmt: skip
    house.start()
    house.wait_stored("users", "product-events")
    left, _ = asyncio.run(in_postgres(house.settings, ANN))
    assert left == ["product_event.properties"], "what others said of them is told, not taken from others"
    stored = postgres.ask("SELECT event_id FROM usage.product_event ORDER BY 1", url=database)
    assert [event_id for (event_id,) in stored] == ["e3", "e4", "e6"]
    assert postgres.ask("SELECT user_id FROM usage.user_score", url=database) == [("9",)]
