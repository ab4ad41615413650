"""Reads what an installation leaves behind in Kafka: shards, ledgers, weeks.

Invariant: uses nothing of a running worker, only committed records.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from agents.alert_documents import AlertDocuments
from agents.chat_documents import ChatDocuments
from agents.documents import Documents
from agents.ledger_sum import Sums, sums_of
from agents.manifest import whole
from agents.wiring import limits_of
from state.activity import decode_record
from state.effects import Alert, ChatCounts, LatencyMonth, OrgScore, UserScore
from state.shard import Shard
from streams.log_reader import read_stretch
from streams.model_file import load_model
from streams.settings import Settings
from streams.topic_specs import group_of, topic_names
from tests.streams import kafka_topics


def restored_shards(settings: Settings) -> list[Shard]:
    """Return every partition's shard from its checkpoint and the log up to the committed offset."""
    return asyncio.run(_restored(settings))


async def _restored(settings: Settings) -> list[Shard]:
    kafka, names = settings.kafka, topic_names(settings)
    model, limits, shards = load_model(settings.model.file), limits_of(settings), []
    tables = await _tables(settings, names.shard_changelog)
    for partition, table in enumerate(tables):
        shard = Shard(partition, model, limits)
        if table:
            shard.restore(whole(table))
        end = await kafka_topics.committed(kafka.brokers, group_of(settings), names.activities, partition) or 0
        async for offset, value in read_stretch(kafka.brokers, names.activities, partition, shard.position, end):
            shard.apply(decode_record(value), offset)
        shards.append(shard)
    return shards


def documents_of(shard: Shard, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what the shard says, spelled as in Redis."""
    spell = Documents(shard.model, topic_names(settings), 0, settings.latency.min_count)
    found: dict[str, dict[str, Any]] = {}
    for effect in shard.documents():
        if isinstance(effect, UserScore):
            write = spell.user(effect, shard.position, shard.partition)[1]
        elif isinstance(effect, OrgScore):
            write = spell.org(effect, shard.position, shard.partition)[1]
        elif isinstance(effect, Alert):
            write = AlertDocuments(spell).write(effect, shard.position, shard.partition, again=True)
        elif isinstance(effect, ChatCounts):
            write = ChatDocuments(spell).write(effect, shard.position, shard.partition)
        elif isinstance(effect, LatencyMonth):
            write = spell.latency_month(effect, shard.position, shard.partition)
        else:
            write = spell.latency(effect, shard.position, shard.partition)
        found[write.key] = dict(write.fields)
        for ranking, member, score in write.ranks:
            if score is not None:
                found.setdefault(ranking, {})[member] = score
    return found


def ledger_of(settings: Settings) -> Sums:
    """Return by source partition what became of its messages, from the ledger alone."""
    return asyncio.run(sums_of(settings))


def org_weeks(settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    """Return (org, ISO week) → the last row told."""
    rows = {}
    for table in asyncio.run(_tables(settings, topic_names(settings).weeks)):
        for raw in table.values():
            row = orjson.loads(raw)
            if row["user"] is None:
                rows[row["org"], row["week"]] = row
    return rows


async def _tables(settings: Settings, topic: str) -> list[dict[bytes, bytes]]:
    """Return key → last value of a compacted topic, by partition."""
    found = []
    for records in await kafka_topics.read_all(settings.kafka.brokers, topic, settings.kafka.partitions):
        last = {key: value for _, key, value in records if key is not None}
        found.append({key: value for key, value in last.items() if value is not None})
    return found
