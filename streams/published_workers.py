"""What a worker says of itself in Redis, as typed values, with their spelling and decoding.

Invariant: a card holds absolute values of one moment, and says how old it is; a worker that has ended has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streams.published_decode import SCHEMA, Fields, Reading, moment_of, whole_of

CARDS = "workers"
"""Sorted set: name → when its card was written last, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that being ready takes."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class InputPartition:
    """A partition that a worker reads.

    Attributes:
        lag_messages: In the log and not yet committed; None = not known.
        last_commit: When a transaction of it was seen to commit last.
    """

    topic: str
    partition: int
    lag_messages: int | None
    last_commit: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCard:
    """One worker at one moment.

    Attributes:
        page: Address of its page, as it knows it.
        updated: When it said this, by its own clock.
        age_seconds: How long ago that was; None = not known.
        ready: Whether every check passes.
        partitions: What it reads.
        watermarks: Partition of activities that it owns → event time reached.
        ledger: Source topic → outcome → messages, its own part; the parts of all workers add up.
        gap_messages: Messages of its part of the ledger that were lost or came twice.
        backlog: Whether input waits longer than it should.
        kafka_brokers: Brokers there are, as the cluster says; None = not known.
        redis_pending_writes: Writes that wait for Redis.
        recovery_seconds: How long its last recovery took.
        rebalances: Changes of its partitions since the process began.
    """

    name: str
    page: str
    updated: datetime | None
    age_seconds: float | None
    ready: bool
    checks: tuple[Check, ...]
    partitions: tuple[InputPartition, ...]
    watermarks: Mapping[str, datetime]
    ledger: Mapping[str, Mapping[str, int]]
    gap_messages: int
    backlog: bool
    kafka_brokers: int | None
    redis_pending_writes: int | None
    recovery_seconds: float | None
    rebalances: int
    version: str


def card_key(name: str) -> str:
    """Return the key of a worker's card, without prefix."""
    return f"worker:{{{name}}}"


def card_fields(card: WorkerCard) -> dict[str, str]:
    """Return a card as the fields of its hash."""

    def text(value: float | None) -> str:
        return "" if value is None else str(value)

    return {
        "page": card.page,
        "updated": _iso(card.updated),
        "ready": "1" if card.ready else "0",
        "checks": json.dumps([[check.name, check.ok, check.detail] for check in card.checks]),
        "partitions": json.dumps(
            [[each.topic, each.partition, each.lag_messages, _iso(each.last_commit)] for each in card.partitions]
        ),
        "watermarks": json.dumps({partition: _iso(mark) for partition, mark in card.watermarks.items()}),
        "ledger": json.dumps({topic: dict(counts) for topic, counts in card.ledger.items()}),
        "gap_messages": str(card.gap_messages),
        "backlog": "1" if card.backlog else "0",
        "kafka_brokers": text(card.kafka_brokers),
        "redis_pending_writes": text(card.redis_pending_writes),
        "recovery_seconds": text(card.recovery_seconds),
        "rebalances": str(card.rebalances),
        "version": card.version,
        "schema": str(SCHEMA),
    }


def card_of(name: str, fields: Fields, now_seconds: float) -> WorkerCard | None:
    """Return a worker's card, or None when there is none.

    Raises:
        NewerSchemaError, UnreadableError: If it can't be read.
    """
    if "checks" not in fields:
        return None
    with Reading(f"worker {name}", fields):
        updated, recovery = moment_of(fields.get("updated")), fields.get("recovery_seconds")
        return WorkerCard(
            name=name,
            page=fields.get("page", ""),
            updated=updated,
            age_seconds=None if updated is None else max(0.0, now_seconds - updated.timestamp()),
            ready=fields.get("ready") == "1",
            checks=tuple(Check(str(each), bool(ok), str(said)) for each, ok, said in json.loads(fields["checks"])),
            partitions=tuple(_partition(*each) for each in json.loads(fields.get("partitions") or "[]")),
            watermarks=_watermarks(json.loads(fields.get("watermarks") or "{}")),
            ledger={
                topic: {outcome: int(number) for outcome, number in counts.items()}
                for topic, counts in json.loads(fields.get("ledger") or "{}").items()
            },
            gap_messages=int(fields.get("gap_messages") or 0),
            backlog=fields.get("backlog") == "1",
            kafka_brokers=whole_of(fields.get("kafka_brokers")),
            redis_pending_writes=whole_of(fields.get("redis_pending_writes")),
            recovery_seconds=float(recovery) if recovery else None,
            rebalances=int(fields.get("rebalances") or 0),
            version=fields.get("version", ""),
        )
    return None


def moment(seconds: float | None) -> datetime | None:
    """Return seconds since the epoch as a moment in UTC; None and 0 are none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _iso(time: datetime | None) -> str:
    return "" if time is None else time.isoformat().replace("+00:00", "Z")


def _partition(topic: Any, partition: Any, lag: Any, last_commit: Any) -> InputPartition:
    return InputPartition(str(topic), int(partition), None if lag is None else int(lag), moment_of(last_commit))


def _watermarks(found: Mapping[str, str]) -> dict[str, datetime]:
    return {partition: mark for partition, text in found.items() if (mark := moment_of(text)) is not None}
