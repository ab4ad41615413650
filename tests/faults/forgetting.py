"""What a test of forgetting needs: topics that are compacted within seconds, and the recount without somebody.

Invariant: which of a person's messages counted before they were forgotten is read from the log of activities, message
by message, so the recount needs to know nothing of when that was.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from kafka.admin import ConfigResource, ConfigResourceType

from agents.forget_names import Names
from agents.simulate import Message
from agents.simulate_base import SimulatedUser, user_message
from reports.recount import SOURCES, Raw, recount
from streams.log_state import stretches
from streams.raw_scan import configs_of, extents_of, raw_records
from streams.settings import Settings
from streams.topic_specs import topic_names, topic_specs
from streams.topics import connected_admin
from tests.faults.identity_proof import counted_under
from tests.faults.system import MODEL, OPTIONS, System

QUICK = {
    "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "100",
    "max.compaction.lag.ms": "1000", "min.compaction.lag.ms": "0",
}  # fmt: skip
"""Configuration with which the broker compacts at its next look (every 15 s as shipped)."""
KEY = "a key of forty-two characters for the list"


def key_file(folder: Path) -> str:
    """Return the path of a key."""
    path = folder / "suppression.key"
    path.write_text(KEY)
    return str(path)


def compact_quickly(settings: Settings) -> None:
    """Let the broker compact the compacted topics of *settings* as soon as it can."""
    specs = [spec for spec in topic_specs(settings) if spec.compacted]
    with connected_admin(settings) as admin:
        admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, spec.name, {**spec.configs, **QUICK}) for spec in specs]
        )


def anything(system: System, somebody: SimulatedUser) -> list[Message]:
    """Return messages of everybody but *somebody*, of unknown people and of the directory, new ones at each call."""
    now, mark = time.time(), time.monotonic_ns()
    others = [user for user in system.base.users if user is not somebody]
    who = [user.email for user in others if not user.bot] + [f"nobody-{mark}-{n}@example.org" for n in range(40)]
    events = [
        {"event_id": f"{mark}-{n}", "name": "Search", "distinct_id": name, "time": now} for n, name in enumerate(who)
    ]
    found = [Message("product-events", None, orjson.dumps(event)) for event in events]
    return found + [user_message(system.base, user) for user in others]


def everything_raw(settings: Settings) -> dict[str, list[Any]]:
    """Return all records of all topics, committed or not, by topic."""
    names = topic_names(settings)
    topics = [getattr(names, field) for field in names.__struct_fields__]

    async def read() -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {topic: [] for topic in topics}
        brokers, extents = settings.kafka.brokers, await extents_of(settings.kafka.brokers, topics)
        async for tp, records in raw_records(brokers, extents, lambda *_: None):
            found[tp.topic] += records
        return found

    return asyncio.run(read())


def recount_without(system: System, names: Names) -> Counter[tuple[str, int]]:
    """Put into *system* the recount by the rule; return how many messages were kept out, by source partition.

    Messages of theirs that were never counted are taken out of the raw ones, and are expected to be set apart.
    """
    counted, out = counted_under(system.settings), Counter[tuple[str, int]]()
    kept: list[Raw] = []
    for record in system.raw:
        topic, partition, offset, key, value, _ = record
        theirs = topic in (*SOURCES, "users") and value is not None and names.is_in_record(key, value)
        back = topic == "users" and theirs and offset >= _first_end(system, names, partition)
        if (theirs and topic in SOURCES and (topic, partition, offset) not in counted) or back:
            out[topic, partition] += 1
        else:
            kept.append(record)
    system.raw[:] = kept
    found = recount(kept, MODEL, system.at_rest.as_of_ms, replace(OPTIONS, forgotten=names.all))
    for place, number in out.items():
        found.ledger.loc[place, "consumed"] += number
        found.ledger.loc[place, "suppressed"] += number
    system.__dict__["recount"] = found
    return out


def _first_end(system: System, names: Names, partition: int) -> int:
    """Return the offset of the first end of one of their entries in a partition of `users`."""
    ends = [
        offset
        for topic, number, offset, key, value, _ in system.raw
        if topic == "users" and number == partition and value is None and (key or b"").decode() in names.all
    ]
    return min(ends, default=1 << 62)


def configs(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the configuration of every topic."""
    return configs_of(settings, [spec.name for spec in topic_specs(settings)])


async def committed_records(settings: Settings, topic: str) -> list[Any]:
    """Return the committed records of *topic*."""
    extents = await extents_of(settings.kafka.brokers, [topic])
    starts = {tp: extent.start for tp, extent in extents.items()}
    ends = {tp: extent.end for tp, extent in extents.items()}
    return [record async for _, record in stretches(settings.kafka.brokers, starts, ends, whole=True)]


def ends_in_users(system: System, names: Names) -> int:
    """Return how many ends of their entries `users` was sent."""
    return sum(t == "users" and v is None and (k or b"").decode() in names.all for t, _, _, k, v, _ in system.raw)
