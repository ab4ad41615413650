"""A message for every reason to refuse one, through a real worker: one letter each, with place, key and bytes.

product-events ──► too old for its partition, or only for its shard, one too many to wait …
others         ──► each reader's own reasons
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from agents.park import MAX_WAITING
from reports.collect import read_metrics
from streams.reading import REASONS
from streams.topic_specs import topic_names
from tests.faults.commands import orgpulse
from tests.faults.system import Size, System, wait_until
from tests.streams import kafka_topics

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

MOST_BYTES = 20_000
LATENESS_HOURS = 48
# Said of rows of tables (tests/agents/test_quarantine.py), of whole batches, of people too many (faults/test_abuse.py).
ELSEWHERE = {"bad_state", "batch_too_big", "too_many_users"}


class Bad(NamedTuple):
    """A message, and why it is refused."""

    reason: str
    topic: str
    value: bytes
    key: bytes = b"the key"


def iso(seconds_ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))


def product(**changes: Any) -> bytes:
    found = {"name": "Search", "distinct_id": "ann@a.example", "org_id": "acme", "time": iso(60)} | changes
    return json.dumps({name: value for name, value in found.items() if value is not None}).encode()


def paid(**changes: Any) -> bytes:
    found = {"transaction_id": "t", "org_id": "acme", "amount": "1.00", "currency": "USD", "status": "A"}
    return json.dumps({**found, "time": iso(60), **changes}).encode()


def refused() -> Iterator[Bad]:
    """Yield a message for each reason that a message alone can give."""
    yield Bad("too_big", "product-events", product(properties={"text": "x" * MOST_BYTES}))
    yield Bad("not_json", "product-events", b"\xff{nonsense")
    yield Bad("too_deep", "product-events", b'{"name":"Search","properties":' + b"[" * 9_000 + b"]" * 9_000 + b"}")
    yield Bad("not_syslog", "syslog-activities", b"good morning")
    yield Bad("wrong_type", "product-events", product(name=True))
    yield Bad("bad_time", "product-events", product(time=float("inf")).replace(b"Infinity", b"1e400"))
    yield Bad("missing_field", "product-events", product(name=None))
    yield Bad("missing_field", "chat-messages", b'{"type":"presence","server":"s","time":1700000000}')
    yield Bad("bad_id", "product-events", product(org_id="a{b}"))
    yield Bad("blank_id", "product-events", product(distinct_id="  "))
    yield Bad("long_id", "product-events", product(distinct_id="x" * 5_000))
    yield Bad("bad_time", "product-events", product(time="1999-12-31T23:59:59Z"))
    yield Bad("bad_time", "product-events", product(time=iso(-86_400)))
    yield Bad("bad_amount", "transactions", paid(amount="1.234"))
    yield Bad("bad_quantity", "product-events", product(quantity=2**62))
    yield Bad("bad_zone", "orgs", b'{"org_id":"mars","timezone":"Mars/Olympus"}', b"mars")
    yield Bad("unknown_currency", "transactions", paid(currency="XAU"))
    # Its partition has seen newer ones: the key of all of these is the same.
    yield Bad("too_late", "product-events", product(time=iso(3600 * (LATENESS_HOURS + 2))))


def letters(system: System) -> list[dict[str, Any]]:
    kafka = system.settings.kafka
    name = topic_names(system.settings).dead_letters
    parts = asyncio.run(kafka_topics.read_all(kafka.brokers, name, kafka.partitions))
    return [orjson.loads(value or b"") for records in parts for _, _, value in records]


def test_every_reason_gives_one_letter_with_the_bytes_of_its_message(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    changes = {"ingest.max_value_bytes": MOST_BYTES, "time.allowed_lateness_hours": LATENESS_HOURS}
    with System(kafka.bootstrap, redis_server.url, tmp_path, workers=1, size=Size(3, 50, 1), changes=changes) as system:
        system.send([("users", b"ann", b'{"user_id":"ann","org_id":"acme","email":"ann@a.example"}')])
        good = product(event_id="on time", time=iso(30))
        system.send([("product-events", b"the key", good)])
        wait_until(lambda: "" if consumed(system) >= 1 else "nothing read yet", 60)
        messages = list(refused())
        # In a partition of chat it is the first, so only the shard knows how late it is.
        late = {"message_id": "m", "author": "ann", "channel": "c", "org_id": "acme", "time": iso(3600 * 60)}
        messages.append(Bad("too_late", "chat-messages", json.dumps(late).encode(), b"late in its shard"))
        strangers = [product(distinct_id="nobody@a.example", event_id=str(n)) for n in range(MAX_WAITING + 1)]
        messages.append(Bad("park_full", "product-events", strangers[-1], b"one too many"))
        assert {bad.reason for bad in messages} | ELSEWHERE == set(REASONS)  # a new reason needs a message here

        system.send([("product-events", b"waits", value) for value in strangers[:-1]])
        wait_until(lambda: "" if consumed(system) >= MAX_WAITING else "those who wait are not read yet", 60)
        wait_until(lambda: "" if waiting(system) == MAX_WAITING else f"{waiting(system)} wait", 60)
        system.send([(bad.topic, bad.key, bad.value) for bad in messages])
        wait_until(lambda: "" if len(letters(system)) >= len(messages) else f"{len(letters(system))} letters", 60)

        found = sorted(
            (told["reason"], told["topic"], base64.b64decode(told["key"]), base64.b64decode(told["value"]))
            for told in letters(system)
        )
        expected = sorted((bad.reason, bad.topic, bad.key, bad.value[:MOST_BYTES]) for bad in messages)
        assert not (set(found) ^ set(expected)), sorted({one[:3] for one in set(found) ^ set(expected)})
        assert found == expected
        assert all(told["detail"] and told["offset"] >= 0 and told["time"] for told in letters(system))

        told = Counter((bad.topic, bad.reason) for bad in messages)
        page = read_metrics(system.workers.urls[0], ("orgpulse_dead_letters",))["orgpulse_dead_letters_total"]
        counts = {(dict(labels)["topic"], dict(labels)["reason"]): number for labels, number in page.items() if number}
        assert counts == told
        assert "The ledger closes" in orgpulse(system, "ledger")


def consumed(system: System) -> float:
    page = read_metrics(system.workers.urls[0], ("orgpulse_events",)).get("orgpulse_events_total", {})
    return sum(
        number for labels, number in page.items() if dict(labels) == {"topic": "product-events", "outcome": "consumed"}
    )


def waiting(system: System) -> int:
    return int(json.loads(orgpulse(system, "ledger", "--json"))["total"]["waiting"])
