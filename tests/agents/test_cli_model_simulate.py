"""`orgpulse model simulate` reads a real installation's checkpoints and log, and says what a model would do to it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import state
from agents.cli_model import model
from agents.manifest import KEY, digest_of, manifest_of, part_key
from state.activity import Tick, encode_record
from state.limits import Limits
from state.shard import Shard
from streams.settings import Settings, override
from streams.topic_specs import topic_names
from tests.state.worlds import Act, at, rows_of, shipped_model
from tests.streams.kafka_topics import cut, fill, fill_in_transaction

NOON = at("2024-03-20T12:00")
SHIPPED = (Path(state.__path__[0]) / "health.toml").read_text("utf-8")
pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation whose few people are enough for cut points."""
    return override(settings, {"calibration.min_population": 5})


@pytest.fixture
def heavy_maps(tmp_path: Path) -> str:
    """A model in which searches weigh nothing like before and maps even more."""
    path = tmp_path / "new.toml"
    old = 'kind = "count"\nmeasures = ["search"]\nweight = 1'
    assert old in SHIPPED
    path.write_text(SHIPPED.replace(old, old.replace("weight = 1", "weight = 5")), "utf-8")
    return str(path)


def log_of(partition: int) -> list[bytes]:
    """Return an org's log: user n searches n times; two records of rows, and a tick."""
    acts = [(f"u{n}", i) for n in range(1, 9) for i in range(n)]
    rows = [Act(f"org{partition}", user, "search", NOON + i, k) for k, (user, i) in enumerate(acts, 1)]
    return [encode_record(r) for r in (rows_of(rows[:20]), rows_of(rows[20:], 20), Tick(NOON, 1))]


def keep_checkpoint(settings: Settings, partition: int, records: list[bytes]) -> None:
    """Put a checkpoint after *records* into the changelog, as a worker writes it."""
    from state.activity import decode_record

    shard = Shard(partition, shipped_model(), Limits())
    for offset, raw in enumerate(records):
        shard.apply(decode_record(raw), offset)
    pairs, digests = [], {}
    for name, raw in shard.checkpoint().items():
        pairs.append((part_key(name, 0), raw))
        digests[name] = [digest_of(raw)]
    pairs.append((KEY, manifest_of(shard.position, digests).dump()))
    names = topic_names(settings)
    asyncio.run(fill_in_transaction(settings.kafka.brokers, names.shard_changelog, partition, pairs))


def asked(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(model, ["simulate", *arguments], obj=settings, catch_exceptions=False)


def test_scores_are_told_under_both_models_from_checkpoints_and_log(settings: Settings, heavy_maps: str) -> None:
    brokers, activities = settings.kafka.brokers, topic_names(settings).activities
    assert "there is nothing to compare" in asked(settings, heavy_maps).stdout  # nothing ever happened
    for partition in (0, 1):
        asyncio.run(fill(brokers, activities, partition, log_of(partition)))
    plain = json.loads(asked(settings, heavy_maps, "--json").stdout)
    assert (plain["population"], plain["users"]["count"], plain["orgs"]["count"]) == (16, 16, 2)
    assert plain["calibrated"] == {"old": True, "new": True} and plain["as_of"] == "2024-03-20T12:00:00Z"
    assert plain["users"]["gains"][0]["user"] == "u8" and "searches" in plain["users"]["gains"][0]["causes"]
    assert {g["org"] for g in plain["orgs"]["gains"]} == {"org0", "org1"}

    # What lies before a checkpoint is not read again, and may be gone.
    keep_checkpoint(settings, 0, log_of(0)[:2])
    asyncio.run(cut(brokers, activities, 0, 2))
    found = asked(settings, heavy_maps, "--json")
    assert json.loads(found.stdout) == plain
    assert "0 of 4 records after the checkpoints read" in found.stderr

    one = asked(settings, heavy_maps, "--org", "org1")
    assert "16 active users, cut points of its own" in one.stdout and "org1/u8" in one.stdout
    assert "org0/u8" not in one.stdout and "searches +" in one.stdout
    assert asked(settings, heavy_maps, "--org", "nobody").exit_code == 2
    same = asked(settings, "", "--json")
    assert json.loads(same.stdout)["users"]["changed"] == 0


def test_a_log_that_no_longer_reaches_back_is_told(settings: Settings, heavy_maps: str) -> None:
    names = topic_names(settings)
    asyncio.run(fill(settings.kafka.brokers, names.activities, 0, log_of(0)))
    asyncio.run(cut(settings.kafka.brokers, names.activities, 0, 1))
    found = CliRunner().invoke(model, ["simulate", heavy_maps], obj=settings)
    assert found.exception is not None and "what lies between is gone" in str(found.exception)


def test_a_measure_that_was_not_counted_is_said(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(fill(settings.kafka.brokers, topic_names(settings).activities, 0, log_of(0)))
    path = tmp_path / "new.toml"
    text = SHIPPED.replace("[measures]", '[measures]\nread = { events = ["Read"] }')
    path.write_text(
        text + '\n[[attributes]]\nname = "reads"\nkind = "boolean"\nmeasures = ["read"]\nweight = 2\n', "utf-8"
    )
    found = asked(settings, str(path)).stdout
    assert "attribute reads (weight 2) is left out: read was not counted so far" in found
    assert "event 'Read' counts as 'other' here" in found
