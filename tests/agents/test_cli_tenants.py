"""Tenants on the command line: a command for one of them, the list, their topics, everything of one taken away."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from agents import cli
from agents.worker_card import make_card
from streams.held_back import CHECK
from streams.metrics import Metrics
from streams.namespace import namespace_of
from streams.published_workers import CARDS, card_fields, card_key
from streams.settings import load_settings, override
from streams.topic_specs import group_of, topic_names
from streams.topics import connected_admin
from tests.streams import kafka_topics

FILE = """\
[kafka]
brokers = "{brokers}"
prefix = "{name}"
application = "{name}app"
partitions = 1

[redis]
url = "{redis}"
prefix = "{name}:"

[tenants.acme]
events_per_second = 500

[tenants.acme-2]
"""


def run(path: Path | None, *arguments: str, **variables: str) -> Result:
    """Run a command with only these variables of ours."""
    blank: dict[str, str | None] = {name: None for name in os.environ if name.startswith("ORGPULSE_")}
    option = ["--config", str(path)] if path else ["--config", os.devnull]
    return CliRunner().invoke(cli.orgpulse, [*option, *arguments], env=blank | variables)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orgpulse.toml"
    path.write_text(FILE.format(brokers="127.0.0.1:1", redis="redis://127.0.0.1:1/0", name=""), "utf-8")
    path.write_text(path.read_text("utf-8").replace('prefix = ":"', 'prefix = "o:"'), "utf-8")
    return path


@pytest.mark.parametrize(
    "command", ["worker", "listen", "doctor", "topics", "score", "import", "forget", "acl", "ledger"]
)
def test_where_there_are_tenants_a_command_wants_to_know_whose_data_it_is_about(command: str, file: Path) -> None:
    done = run(file, command, *(["check"] if command == "topics" else []))
    assert done.exit_code == 2 and "not said whose data this is about" in done.output
    assert "acme, acme-2" in done.output and "--tenant none" in done.output


@pytest.mark.parametrize("said", [("--tenant", "acme"), ("ORGPULSE_TENANT",)])
def test_a_command_runs_for_the_tenant_that_is_named(said: tuple[str, ...], file: Path) -> None:
    options, variables = (said, {}) if len(said) > 1 else ((), {said[0]: "acme"})
    rights = json.loads(run(file, *options, "acl", "kafka", "--format", "json", **variables).output)
    assert rights["principal"] == "User:t.acme.app-worker"
    assert all(right["name"].startswith("t.acme.") for right in rights["rights"])
    line = run(file, *options, "acl", "redis", **variables).output
    assert " ~t:acme:o:* " in line


def test_the_option_wins_over_the_variable_and_none_is_what_runs_beside(file: Path) -> None:
    shown = run(file, "--tenant", "acme-2", "settings", "--changed", ORGPULSE_TENANT="acme").output
    assert 'tenant = "acme-2"' in shown
    rights = run(file, "--tenant", "none", "acl", "kafka", "--format", "json", ORGPULSE_TENANT="acme").output
    assert json.loads(rights)["principal"] == "User:app-worker"


def test_an_unknown_tenant_is_told_with_the_file_and_those_there_are(file: Path) -> None:
    done = run(file, "--tenant", "acne", "ledger")
    assert done.exit_code == 2 and f'{file} has no tenant "acne"' in done.output and "acme, acme-2" in done.output
    assert run(None, "--tenant", "acme", "ledger").exit_code == 2


def test_without_tenants_nothing_is_asked(tmp_path: Path) -> None:
    assert run(None, "acl", "kafka").exit_code == 0
    done = run(None, "tenants")
    assert done.exit_code == 2 and "names no tenants" in done.output


def test_a_tenant_whose_kafka_is_away_is_told_and_the_next_one_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.cli_tenants._WAIT_SECONDS", 0.2)
    done = run(file, "tenants", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and [each["tenant"] for each in found] == ["acme", "acme-2"]
    assert all(each["problem"] and each["topics"] is None for each in found)


def test_the_brokers_hold_a_tenants_producers_to_its_bytes(file: Path) -> None:
    file.write_text(file.read_text("utf-8").replace("events_per_second = 500", "bytes_per_second = 1048576"), "utf-8")
    script = run(file, "--tenant", "acme", "acl", "kafka", "--role", "listen").output
    assert "--add-config producer_byte_rate=1048576 --entity-type users --entity-name t.acme.app-listen" in script
    strimzi = json.loads(
        run(file, "--tenant", "acme", "acl", "kafka", "--role", "import", "--format", "strimzi").output
    )
    assert strimzi["spec"]["quotas"] == {"producerByteRate": 1048576}
    assert "quotas" not in run(file, "--tenant", "acme", "acl", "kafka", "--format", "strimzi").output
    assert "byte_rate" not in run(file, "--tenant", "acme-2", "acl", "kafka", "--role", "listen").output


@pytest.mark.kafka
def test_topics_are_made_for_all_and_everything_of_one_is_taken_away(
    kafka: Any, redis_server: Any, tmp_path: Path, topic_prefix: str
) -> None:
    path = tmp_path / "orgpulse.toml"
    path.write_text(FILE.format(brokers=kafka.bootstrap, redis=redis_server.url, name=topic_prefix), "utf-8")
    acme, other = (load_settings(path, {}, tenant=name) for name in ("acme", "acme-2"))
    listed = run(path, "tenants", "--json")
    assert listed.exit_code == 1 and [each["missing_topics"] for each in json.loads(listed.stdout)] == [22, 22]
    assert run(path, "tenants", "create").exit_code == 0
    assert run(path, "tenants", "create", "acme").output == "acme: topics are there, 0 changed\n"

    later = override(acme, {"worker.generation": 3})  # as after a rebuild, and a backfill; a neighbour with a prefix
    more = [topic_names(later).activities, topic_names(namespace_of(acme, "check")).weeks, group_of(later) + "-shard"]
    neighbours = ["t.acme.x" + topic_prefix + "weeks", f"t.acme.{topic_prefix}weeks-of-others"]
    asyncio.run(kafka_topics.make_topics(kafka.bootstrap, [*more, *neighbours], 1))
    client: Any = Redis.from_url(redis_server.url, decode_responses=True)
    for settings in (acme, other):
        metrics = Metrics()
        metrics.lag.set(1234, topic_names(settings).product_events, 0)
        card = make_card("worker-7", "", metrics, [(CHECK, True, "held to its quota of 500 messages/s")], 1e9)
        client.hset(settings.redis.prefix + card_key("worker-7"), mapping=card_fields(card))
        client.zadd(settings.redis.prefix + CARDS, {"worker-7": 1e9})
        client.set(settings.redis.prefix + "[x]*", "1")
        asyncio.run(kafka_topics.fill(kafka.bootstrap, topic_names(settings).weeks, 0, [b"a"]))
    listed = run(path, "tenants", "--json")
    first, second = json.loads(listed.stdout)
    assert listed.exit_code == 0 and (first["topics"], first["missing_topics"]) == (25, 0)
    assert (first["workers"], first["lag_messages"], first["held_back"]) == (["worker-7"], 1234, True)
    assert (first["events_per_second"], second["events_per_second"]) == (500, 0)
    text = run(path, "tenants").output
    assert "500 messages/s" in text and "1,234" in text and f"t.acme-2.{topic_prefix}" in text

    asked = run(path, "tenants", "remove", "acme")
    assert asked.exit_code == 2 and "Say --yes" in asked.output
    assert run(path, "tenants", "remove", "nobody", "--yes").exit_code == 2
    done = run(path, "tenants", "remove", "acme", "--yes")
    assert done.exit_code == 0 and "deleted 25 topics, 0 groups, 3 keys" in done.output, done.output
    assert "t_acme_usage" in done.output
    with connected_admin(acme) as admin:
        there = set(admin.list_topics())
    assert {name for name in there if name.startswith("t.acme.") and topic_prefix in name} == set(neighbours)
    assert len([name for name in there if name.startswith("t.acme-2." + topic_prefix)]) == 22
    assert (
        not list(client.scan_iter(f"t:acme:{topic_prefix}*"))
        and len(list(client.scan_iter(f"t:acme-2:{topic_prefix}*"))) == 3
    )
    again = run(path, "tenants", "remove", "acme", "--yes")
    assert again.exit_code == 0 and "deleted 0 topics" in again.output
