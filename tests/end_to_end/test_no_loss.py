"""The proof of no loss: workers are killed while history is played, and every figure is right in the end.

play ──► Kafka ──► two workers, killed again and again ──► Redis, metrics, tables
           └─────► recount (shares no code) ─────────────────► must be equal
"""

from __future__ import annotations

import random
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import state
from agents.simulate import directory, history, make_base
from reports.collect import Rest, by_label, read_metrics, read_raw, wait_at_rest
from reports.compare import Comparison, compare, compare_documents, expected_documents
from reports.recount import Recount, recount
from streams.sender import Sender
from streams.settings import Settings, override
from streams.topic_specs import topic_names
from streams.topics import create_topics
from tests.end_to_end.durable import documents_of, ledger_of, org_weeks, restored_shards
from tests.end_to_end.workers import Player, Workers, send_all

ORGS, USERS, WEEKS, KILLS, PLAY_SECONDS = 60, 600, 5, 6, 36.0
MODEL = tomllib.loads((Path(state.__file__).parent / "health.toml").read_text("utf-8"))


class Proof:
    """What one run has left: settings, the system at rest, its raw topics, its tables."""

    def __init__(self, settings: Settings, rest: Rest, kills: int, sent: int) -> None:
        self.settings, self.rest, self.kills, self.sent = settings, rest, kills, sent
        self.raw = read_raw(settings.kafka.brokers, settings.kafka.prefix)
        self.shards = restored_shards(settings)
        print(f"{len(self.raw)} raw messages as of {rest.as_of_ms}, {kills} kills")
        self.recount = recount(self.raw, MODEL, rest.as_of_ms)

    def as_of(self, as_of_ms: int) -> Recount:
        """Return the recount as of another moment; the same one while the hour is the same."""
        same = as_of_ms // 3_600_000 == self.recount.as_of_ms // 3_600_000
        return self.recount if same else recount(self.raw, MODEL, as_of_ms)


def settings_for(kafka: Any, redis_server: Any, name: str) -> Settings:
    return override(
        Settings(),
        {
            "kafka.brokers": kafka.bootstrap,
            "kafka.prefix": name,
            "kafka.application": f"{name}app",
            "kafka.session_timeout_seconds": 6.0,
            "kafka.transaction_timeout_seconds": 3.0,
            "redis.url": redis_server.url,
            "redis.prefix": f"{name}:",
            "calibration.every_seconds": 2.0,
            "checkpoint.every_seconds": 3.0,
            "metrics.org_limit": 1000,
        },
    )


@pytest.fixture(scope="module")
def proof(kafka: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proof]:
    """Play, kill, wait for rest, kill the survivors too."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    settings = settings_for(kafka, redis_server, f"loss{chance.randrange(10**9)}-")
    create_topics(settings)
    base = make_base(seed, ORGS, USERS)
    people = list(directory(base))
    with Workers(settings, 2, tmp_path_factory.mktemp("workers")) as workers:
        with Sender([kafka.bootstrap]) as sender:
            send_all(sender, settings.kafka.prefix, people)
        wait_for_directory(workers, settings, len(base.users))
        messages = list(history(base, time.time(), WEEKS))
        player = Player(kafka.bootstrap, settings.kafka.prefix, messages, PLAY_SECONDS)
        player.start()
        for _ in range(KILLS):
            player.join(timeout=chance.uniform(0.5, 2 * PLAY_SECONDS / KILLS - 1.0))  # a random moment
            victim = chance.randrange(2)
            workers.kill(victim)
            workers.replace(victim)
        player.join()
        rest = wait_at_rest(
            workers.urls, partitions=settings.kafka.partitions, activities_topic=topic_names(settings).activities,
            settle_seconds=6.0, timeout_seconds=90.0, redis_url=settings.redis.url, redis_prefix=settings.redis.prefix,
        )  # fmt: skip
        assert player.acknowledged == len(messages)
        kills = workers.kills
        for number in range(2):
            workers.kill(number)  # nothing may depend on a clean end
        yield Proof(settings, rest, kills, len(people) + len(messages))


def wait_for_directory(workers: Workers, settings: Settings, users: int) -> None:
    """Wait until every worker knows everybody, and the shards know all orgs."""
    deadline = time.monotonic() + 60
    names = topic_names(settings)
    while time.monotonic() < deadline:
        try:
            pages = [read_metrics(url) for url in workers.urls]
        except OSError:
            pages = []
        known = [page.get("orgpulse_directory_users", {}).get((), 0.0) for page in pages]
        lags = [by_label(page, "orgpulse_lag_messages", "topic") for page in pages]
        owned = sum(len(page.get("orgpulse_watermark_timestamp_seconds", {})) for page in pages)
        read = [lag.get(topic, 0) == 0 for lag in lags for topic in (*names.directory, names.unresolved)]
        if known and min(known) >= users and all(read) and owned == settings.kafka.partitions:
            return
        time.sleep(0.2)
    raise AssertionError(f"the workers know {known} of {users} users: {lags}")


def tell(result: Comparison) -> str:
    lines = [f"{len(result.differences)} differences in {result.keys} keys, {result.fields} fields"]
    return "\n".join([*lines, *map(str, result.differences[:25])])


@pytest.mark.kafka
@pytest.mark.slow
def test_redis_and_prometheus_equal_the_recount_after_workers_were_killed(proof: Proof) -> None:
    result = compare(proof.recount, proof.rest, MODEL)
    print(tell(result), dict(result.kinds))
    assert proof.kills == KILLS
    assert result.kinds["user"] > USERS / 2 and result.kinds["latency"] > ORGS / 2
    assert result.kinds["metric"] > 4 * ORGS and result.kinds["totals"]
    assert not result.differences, tell(result)


@pytest.mark.kafka
@pytest.mark.slow
def test_the_comparison_sees_one_message_lost_and_one_counted_twice(proof: Proof) -> None:
    newest = max(  # an approved transaction of the last day counts in the rolling week of its org
        (r for r in proof.raw if r[0] == "transactions" and b'"status":"A"' in (r[4] or b"")), key=lambda r: r[2]
    )
    without = [r for r in proof.raw if r[0] != "transactions" or r[4] != newest[4]]
    fresh = re.sub(rb'"transaction_id":"[^"]*"', b'"transaction_id":"again"', newest[4] or b"")
    for raw in (without, [*proof.raw, (*newest[:2], 10**9, newest[3], fresh, newest[5])]):
        result = compare(recount(raw, MODEL, proof.rest.as_of_ms), proof.rest, MODEL)
        fields = {difference.field for difference in result.differences if difference.key.startswith("org:")}
        assert fields == {"transactions_count", "transactions_cents"}, tell(result)


@pytest.mark.kafka
@pytest.mark.slow
def test_the_durable_tables_alone_give_the_recount(proof: Proof) -> None:
    documents: dict[str, dict[str, Any]] = {}
    for shard in proof.shards:
        for key, fields in documents_of(shard, proof.settings).items():
            documents.setdefault(key, {}).update(fields)
    found = proof.as_of(min(shard.watermark_ms for shard in proof.shards))
    expected = expected_documents(found, MODEL, 0.8, 1)
    del expected["latency:{all}"]  # not a shard's
    result = Comparison()
    compare_documents(result, documents, expected, found, MODEL)
    print(tell(result))
    assert result.kinds["user"] == len(found.users)
    assert not result.differences, tell(result)


@pytest.mark.kafka
@pytest.mark.slow
def test_the_ledger_of_every_source_partition_closes(proof: Proof) -> None:
    ledger = ledger_of(proof.settings, proof.shards)
    expected = proof.recount.ledger.to_dict("index")
    sent = 0
    assert ledger.keys() == expected.keys()
    for source, ours in expected.items():
        theirs = ledger[source]
        settled = theirs["accepted"] + theirs["duplicate"] + theirs["late"] + theirs["waiting"] + theirs["park_dropped"]
        apart = theirs["apart"] + theirs["park_bot"]
        assert theirs["consumed"] == settled + apart + theirs["dead_lettered"], (source, theirs)
        assert theirs["forwarded"] + theirs["parked"] == settled + theirs["park_bot"], (source, theirs)
        for name in ("consumed", "accepted", "duplicate", "late", "dead_lettered", "waiting"):
            assert theirs[name] == ours.get(name, 0), (source, name, theirs, ours)
        assert apart == ours["ghost"] + ours["system"] + ours["bot"] + ours["directory"], (source, theirs)
        sent += theirs["consumed"]
    assert sent == proof.sent


@pytest.mark.kafka
@pytest.mark.slow
def test_the_weeks_of_every_org_equal_the_recount(proof: Proof) -> None:
    told = org_weeks(proof.settings)
    weeks = proof.recount.weeks
    expected = {place: row for place, row in weeks.to_dict("index").items() if any(row.values())}
    figures = {place: {name: row[name] for name in weeks.columns} for place, row in told.items()}
    figures = {place: row for place, row in figures.items() if any(row.values())}
    differ = {
        p: (figures.get(p), expected.get(p)) for p in figures.keys() | expected if figures.get(p) != expected.get(p)
    }
    assert not differ, f"{len(differ)} of {len(expected)} org weeks differ: {list(differ.items())[:10]}"
