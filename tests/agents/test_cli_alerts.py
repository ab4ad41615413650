"""`orgpulse alerts`: what the shard raised is listed, and what people say of it comes back from the log."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
import redis
from click.testing import CliRunner, Result

from agents.alert_documents import AlertDocuments
from agents.cli_alerts import alerts
from agents.documents import Documents
from agents.routing import Router
from deploy.local.redis import LocalRedis
from state.activity import decode_record
from state.effects import Alert, OrgScore
from streams.fenced_write import SCRIPT, Write, pack
from streams.reader import Reader
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.state.test_alerts import MODEL, World, usual
from tests.streams.kafka_topics import read_all


class Told:
    """A world whose alerts are told to a real Redis, as a worker would."""

    def __init__(self, settings: Settings, world: World) -> None:
        self.settings, self.world = settings, world
        self.documents = Documents(MODEL, topic_names(settings), 0, 1)
        self._spell = AlertDocuments(self.documents)
        self.redis: Any = redis.Redis.from_url(settings.redis.url, decode_responses=True)

    def tell(self, *, again: bool = False) -> None:
        shard = self.world.shard
        writes = [self.documents.org(d, shard.position, 0)[1] for d in shard.documents() if isinstance(d, OrgScore)]
        said = [d for d in shard.documents() if isinstance(d, Alert)] if again else self.world.said
        writes += [self._spell.write(alert, shard.position, 0, again=again) for alert in said]
        self._put(writes)
        self.world.said = []

    def _put(self, writes: list[Write]) -> None:
        keys, payload = pack([(write, ()) for write in writes], self.settings.redis.prefix)
        self.redis.eval(SCRIPT, len(keys), *keys, payload, "1000", "100", "1000")

    def changes(self) -> list[tuple[str, str]]:
        with Reader(self.settings.redis.url, self.settings.redis.prefix) as reader:
            return [(change.org, change.band or "") for change in reader.changes() if change.cause == "alert"]

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(alerts, arguments, obj=self.settings, catch_exceptions=False)


@pytest.fixture
def told(settings: Settings, redis_server: LocalRedis, topic_prefix: str) -> Told:
    store = msgspec.structs.replace(settings.redis, url=redis_server.url, prefix=topic_prefix)
    world = usual()
    world.silent = {"acme"}
    world.live(3)
    assert world.told == [("acme", "raised")]
    return Told(msgspec.structs.replace(settings, redis=store), world)


def test_an_alert_is_listed_acknowledged_and_muted_through_the_log(told: Told) -> None:
    assert "no open alerts" in told.run("list").stdout
    told.tell()
    (one,) = json.loads(told.run("list", "--json").stdout)
    assert (one["org"], one["rule"], one["former"], one["acknowledged_by"]) == ("acme", "fall", "90.00", None)
    assert "fell" in told.run("list").stdout

    assert "acknowledged by kim" in told.run("ack", "acme", "--by", "kim").stdout
    assert "muted for 2 days" in told.run("mute", "acme", "--days", "2").stdout
    names, kafka = topic_names(told.settings), told.settings.kafka
    partition = Router(names, kafka.partitions, kafka.max_message_bytes).partition("acme")
    records = asyncio.run(read_all(kafka.brokers, names.activities, kafka.partitions))
    assert [len(found) for number, found in enumerate(records) if number != partition] == [0] * (kafka.partitions - 1)
    for _, _, value in records[partition]:
        told.world.apply(decode_record(value or b""))
    told.world.live(1 / 24)
    told.tell()
    (one,) = json.loads(told.run("list", "--json").stdout)
    assert one["acknowledged_by"] == "kim" and one["muted_until"]
    assert told.changes() == [("acme", "raised")], "a note is no new episode"


def test_the_stream_has_one_entry_an_episode_however_often_it_is_told(told: Told) -> None:
    told.world.said = []  # the worker died before it told Redis
    told.tell(again=True)
    told.tell(again=True)
    assert told.changes() == [("acme", "raised")]
    told.world.silent = set()
    told.world.live(9)
    told.world.said = []
    told.tell(again=True)
    told.tell(again=True)
    assert told.changes() == [("acme", "raised"), ("acme", "resolved")]
    assert "no open alerts" in told.run("list").stdout


def test_notes_on_what_is_not_there_are_refused(told: Told) -> None:
    told.tell()
    for arguments, said in ((("ack", "bolt"), '"bolt" has no open alert'), (("mute", "nobody"), 'no org "nobody"')):
        found = told.run(*arguments)
        assert found.exit_code != 0 and said in found.output
