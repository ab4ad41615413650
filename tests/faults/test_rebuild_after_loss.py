"""A source topic that was made anew stops the workers, and a rebuild gives the right figures of what there is."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.simulate import history
from streams.settings import override
from streams.topic_specs import TopicNames, topic_names
from streams.topics import create_topics
from tests.faults import proof
from tests.faults.commands import orgpulse
from tests.faults.extent import long_form
from tests.faults.system import Size, System
from tests.streams import kafka_topics

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400), long_form]


def put_unreadable(system: System, topic: str, text: bytes) -> None:
    asyncio.run(kafka_topics.put(system.settings.kafka.brokers, topic, 0, b"k", text))


def letters_told(system: System, names: TopicNames) -> set[bytes]:
    """Return the bytes of the messages of product-events that dead letters were told of."""
    found = set()
    partitions = system.settings.kafka.partitions
    for records in asyncio.run(kafka_topics.read_all(system.settings.kafka.brokers, names.dead_letters, partitions)):
        for _, _, value in records:
            letter = orjson.loads(value or b"{}")
            if letter["topic"] == "product-events" and letter["partition"] == 0 and letter["value"]:
                found.add(base64.b64decode(letter["value"]))
    return found


def made_anew(system: System, topic: str) -> None:
    asyncio.run(kafka_topics.drop_topic(system.settings.kafka.brokers, topic))
    for _ in range(200):
        if topic not in asyncio.run(kafka_topics.topics(system.settings.kafka.brokers)):
            break
    create_topics(system.settings)


def test_a_source_made_anew_stops_the_workers_and_a_rebuild_computes_what_there_is(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    #  product-events  [unreadable 1][history ……]  made anew  [unreadable 2][other history …………]
    #  worker          reads ──────────────────────► refuses, twice        rebuild ──► reads on
    with System(kafka.bootstrap, redis_server.url, tmp_path, workers=1, size=Size(25, 150, 2)) as system:
        names = topic_names(system.settings)
        put_unreadable(system, names.product_events, b"unreadable 1")
        system.play(1.0)
        system.rest()
        assert b"unreadable 1" in letters_told(system, names)
        made_anew(system, names.product_events)
        assert system.workers.code_of(0) == 1
        system.workers.start(0)
        assert system.workers.code_of(0) == 1
        assert "was made anew" in system.workers.tail(0) and "orgpulse rebuild" in system.workers.tail(0)

        put_unreadable(system, names.product_events, b"unreadable 2")
        again = [m for m in history(system.base, system.at_rest.as_of_ms / 1000, 2) if m[0] == "product-events"]
        system.send(again[: len(again) // 10])  # few enough that many people are in none of them
        assert "Generation 1 is live" in orgpulse(system, "rebuild", "--yes", "--logs", str(tmp_path / "aside"))
        system.workers.start(0)
        system.wait_recovered()
        system.settings = override(system.settings, {"worker.generation": 1})
        system.rest()
        gone = [key for key, fields in system.at_rest.documents.items() if fields.get("deleted") == "1"]
        assert gone  # people whom only the former log knew: their keys are tombstones now
        for key in gone:
            del system.at_rest.documents[key]
        for wrong in (proof.shown(system), proof.kept(system), proof.weeks(system), proof.scores(system)):
            assert not wrong, wrong[:10]
        assert {b"unreadable 1", b"unreadable 2"} <= letters_told(system, names)
