"""Fuzzed messages through a real Kafka and a real worker: it stays up, and every message is accounted for.

mangler ──► Kafka ──► worker process ──► dead letters, metrics, tables
              └─────► the same agents in this process ──► must be equal
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.ledger_sum import accounts_of
from reports.collect import Raw, by_label, read_metrics, read_raw
from state.activity import decode_record
from state.shard import Shard
from streams.bulk_sender import BulkSender, Record
from streams.settings import Settings, override
from streams.topic_specs import topic_names
from streams.topics import create_topics
from tests.end_to_end.durable import ledger_of, restored_shards
from tests.faults.extent import fresh_seed, times
from tests.faults.system import quick_settings, wait_until
from tests.faults.workers import Workers
from tests.fuzz.mangle import TOPICS, Mangler
from tests.fuzz.strict_house import Place, StrictHouse, check_letter
from tests.streams import kafka_topics

MESSAGES = times(5_000)
BLOCK = 100
#: No flood guard; and a busy machine is no fault here: a worker that starts anew would count from zero.
PATIENT = {
    "ingest.flood_ratio": 1.0,
    "kafka.session_timeout_seconds": 30.0,
    "kafka.transaction_timeout_seconds": 60.0,
}
EVENTS = "orgpulse_events_total"

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900 + MESSAGES // 100)]


def test_a_worker_survives_any_input_and_accounts_for_every_message(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    seed, now_ms = fresh_seed(), int(time.time() * 1000)
    settings = quick_settings(kafka.bootstrap, redis_server.url, f"fuzz{time.monotonic_ns() % 10**9}-")
    settings = override(settings, PATIENT)
    create_topics(settings)
    with Workers(settings, 1, tmp_path) as workers:
        started = time.monotonic()
        sent = asyncio.run(send(settings, fuzzed(seed, now_ms, settings.kafka.prefix)))
        wait_until(lambda: unread(workers.urls, sent), 90 + MESSAGES / 500)
        seconds = time.monotonic() - started
        (page,) = [read_metrics(url) for url in workers.urls]  # it is up, or there would be none
        workers.stop(0)
    raw = read_raw(settings.kafka.brokers, settings.kafka.prefix)
    letters = dead_letters(settings)
    house = read_again(raw, now_ms)
    reasons = Counter(letter["reason"] for letter in letters.values())
    print(f"{sent} messages, {sent / seconds:.0f}/s with start and rest, dead letters: {dict(reasons)}")
    assert len(raw) == sent == MESSAGES
    assert {place: letter["reason"] for place, letter in letters.items()} == house.reasons
    assert len(letters) > MESSAGES / 5 and len(reasons) > 9
    bytes_of = {record[:3]: record[3:5] for record in raw}
    for place, letter in letters.items():
        check_letter(letter, *bytes_of[place])
    check_ledger(settings, raw, letters, page)


def fuzzed(seed: int, now_ms: int, prefix: str) -> Iterable[Record]:
    """Yield records for all raw topics, in blocks."""
    chance, mangler = random.Random(seed), Mangler(seed, now_ms)
    for _ in range(MESSAGES // BLOCK):
        topic = chance.choice(TOPICS)
        for key, value in mangler.messages(topic, BLOCK):
            yield prefix + topic, key, value


async def send(settings: Settings, records: Iterable[Record]) -> int:
    """Send *records* and return how many Kafka has."""
    async with BulkSender(settings.kafka.brokers) as sender:
        return await sender.send(records)


def consumed(page: Any) -> Counter[str]:
    """Return topic → messages consumed."""
    return Counter({topic: int(n) for (topic, outcome), n in events(page).items() if outcome == "consumed"})


def events(page: Any) -> dict[tuple[str, str], float]:
    """Return (topic, outcome) → messages."""
    return {(dict(labels)["topic"], dict(labels)["outcome"]): n for labels, n in page.get(EVENTS, {}).items()}


def unread(urls: list[str], sent: int) -> str:
    """Say what the worker has not read yet."""
    assert urls, "the worker has ended"
    page = read_metrics(urls[0])
    done, lag = consumed(page), by_label(page, "orgpulse_lag_messages", "topic")
    left = {topic: n for topic, n in lag.items() if n and not topic.endswith(("activities", "summaries"))}
    raw_left = sent - sum(done[topic] for topic in TOPICS)
    return f"{raw_left} of {sent} unread, lag {left}" if raw_left or left else ""


def dead_letters(settings: Settings) -> dict[Place, dict[str, Any]]:
    """Return the dead letters by the place of their message; of ingest alone, each once."""
    kafka, found = settings.kafka, {}
    name = topic_names(settings).dead_letters
    for records in asyncio.run(kafka_topics.read_all(kafka.brokers, name, kafka.partitions)):
        for _, _, value in records:
            letter = orjson.loads(value or b"")
            # What shards and the park refuse depends on which topic was read first.
            if letter["reason"] != "park_full" and not letter["detail"].startswith("beyond"):
                place = (letter["topic"], letter["partition"], letter["offset"])
                assert place not in found
                found[place] = letter
    return found


def read_again(raw: list[Raw], now_ms: int) -> StrictHouse:
    """Let the same agents read the same records here."""
    house = StrictHouse(now_ms)
    for topic in ("users", "orgs", *TOPICS[:4]):
        for partition in sorted({record[1] for record in raw if record[0] == topic}):
            records = [record for record in raw if record[:2] == (topic, partition)]
            for first in range(0, len(records), 1000):
                house.take(topic, partition, [record[3:5] for record in records[first : first + 1000]])
    return house


def folded_shards(settings: Settings) -> list[Shard]:
    """Return the shards after all of their log, also what the worker had not read when it was stopped."""
    shards, kafka = restored_shards(settings), settings.kafka
    logs = asyncio.run(kafka_topics.read_all(kafka.brokers, topic_names(settings).activities, kafka.partitions))
    for shard, records in zip(shards, logs, strict=True):
        for offset, _, value in records:
            if offset >= shard.position:
                shard.apply(decode_record(value or b""), offset)
    return shards


def check_ledger(settings: Settings, raw: list[Raw], letters: dict[Place, dict[str, Any]], page: Any) -> None:
    """Check that tables and metrics account for every message of every source partition."""
    ledger, shards = ledger_of(settings), folded_shards(settings)
    for source, row in ledger.items():  # what was not read yet when the worker stopped is in the shards alone
        for at, name in enumerate(("accepted", "duplicate", "late")):
            row[name] = sum(shard.reception.outcomes.get(source, [0, 0, 0])[at] for shard in shards)
    assert not any(shard.reception.receipts.gaps for shard in shards)
    assert not [account for account in asyncio.run(accounts_of(settings, 0.0)) if account.gap]
    dead = Counter(place[:2] for place in letters)
    assert {source: row["consumed"] for source, row in ledger.items()} == Counter(record[:2] for record in raw)
    for source, row in ledger.items():
        settled = row["accepted"] + row["duplicate"] + row["late"] + row["waiting"] + row["dropped"]
        apart = row["apart"] + row["bot"]
        unread = row["parked"] - row["waiting"] - row["released"] - row["bot"] - row["dropped"]  # when it stopped
        assert row["consumed"] == settled + apart + row["dead_lettered"] + unread, (source, row)
        assert row["dead_lettered"] == dead[source], (source, row)
    shown = events(page)
    for topic in TOPICS:
        assert shown[topic, "consumed"] == sum(record[0] == topic for record in raw)
        assert shown[topic, "dead_lettered"] == sum(place[0] == topic for place in letters)
    print({f"{topic} {outcome}": int(n) for (topic, outcome), n in sorted(shown.items())})
