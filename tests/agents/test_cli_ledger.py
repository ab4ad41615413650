"""`orgpulse ledger` against a real Kafka: traffic is no gap, and a gap is said."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from agents.cli_ledger import ledger
from agents.ledger import SHARD
from state.activity import Rows, encode_record
from state.ledger import SourceLedger, dump_shares
from streams.log_state import TopicMissingError
from streams.settings import Settings, load_settings
from streams.topic_specs import topic_names
from tests.state.worlds import Act, rows_of
from tests.streams.kafka_topics import fill, fill_in_transaction

SOURCE = ("product-events", 0)
pytestmark = pytest.mark.kafka


def rows(number: int, before: int) -> Rows:
    return replace(rows_of([Act("a", "b", "search", 1, before + n) for n in range(number)], before), before=before)


def keep(settings: Settings, key: str, value: bytes) -> None:
    names = topic_names(settings)
    asyncio.run(fill_in_transaction(settings.kafka.brokers, names.ledger_changelog, 0, [(key.encode(), value)]))


def asked(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(ledger, ["--wait", "0", *arguments], obj=settings, catch_exceptions=False)


def test_a_gap_is_told_from_what_is_on_its_way(settings: Settings) -> None:
    brokers, names = settings.kafka.brokers, topic_names(settings)
    assert asked(settings).output == "The ledger closes: all 0 messages are accounted for.\n"

    keep(settings, SOURCE[0], SourceLedger(9, 8, 1).dump())
    asyncio.run(fill(brokers, names.activities, 1, [encode_record(rows(5, 0)), encode_record(rows(3, 5))]))
    found = asked(settings)  # nobody has folded them yet
    assert "closes so far: of 9 messages 1 are accounted for, 8 in flight, no gap" in found.output
    assert found.exit_code == 0

    keep(settings, SOURCE[0], SourceLedger(13, 12, 1).dump())  # four more were sent, and are nowhere
    aborted = [(b"", encode_record(rows(4, 8)))]
    asyncio.run(fill_in_transaction(brokers, names.activities, 1, aborted, abort=True))
    found = asked(settings, "--json")
    said = json.loads(found.output)
    assert (found.exit_code, said["closes"], said["gap"], said["total"]["lost"]) == (1, False, 4, 4)
    assert said["partitions"][0]["in_flight"] == 8

    keep(settings, SHARD, dump_shares({SOURCE: [10, 2, 1, 0, 5]}))  # a shard has counted five of them twice
    found = asked(settings)
    assert found.exit_code == 1 and "does NOT close: " in found.output and "5 counted twice" in found.output


def test_a_missing_topic_is_told_with_its_remedy(settings: Settings) -> None:
    with pytest.raises(TopicMissingError) as error:
        asked(
            load_settings(None, {"ORGPULSE_KAFKA_BROKERS": settings.kafka.brokers, "ORGPULSE_KAFKA_APPLICATION": "no"})
        )
    assert "topics create" in error.value.remedy


def test_help_explains_every_column() -> None:
    said = CliRunner().invoke(ledger, ["--help"]).output
    for word in ("consumed =", "in flight", "lost, twice", "Exits with 1"):
        assert word in said
