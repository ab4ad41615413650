"""The PostgreSQL sink on a real Kafka and a real PostgreSQL: what is stored, who is who, what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sinks.house import House, said, sink_settings, week
from tests.sinks.server import LocalPostgres

pytestmark = pytest.mark.kafka


@pytest.fixture
def house(kafka: Any, database: str, topic_prefix: str, tmp_path: Path) -> Any:
    """A sink on an empty database."""
    settings = sink_settings(kafka.bootstrap, topic_prefix, {"sink.postgres_url": database})
    with House(settings, "postgres", tmp_path) as found:
        yield found


def test_first(house: House, postgres: LocalPostgres, database: str) -> None:
    house.send(
        [
            week("org:acme", "2026-W47"),
            week("user:acme/ann", "2026-W47"),
            said("orgs", "acme", org_id="acme", name="Acme", account_value_usd=120000),
        ]
    )
    house.start()
    house.wait_stored("weeks", "orgs")
    print(house.said())
    print(postgres.ask("SELECT * FROM usage.user_score", url=database))
    print(postgres.ask("SELECT * FROM usage.company_score", url=database))
    print(house.page("ready"), [l for l in house.page("metrics").splitlines() if "sink" in l and l[0] != "#"])
    assert house.stop() == 0
