"""All workers together as the page of system health shows them.

Invariant: figures of several workers are added up only where each holds a part of its own; what nobody says is a dash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.worker_card import GAP, LIFE_SECONDS
from streams.published_workers import WorkerCard

OUTCOMES = ("consumed", "accepted", "duplicate", "late", "dead_lettered", "waiting", "apart", GAP)


@dataclass(frozen=True, slots=True)
class TopicInput:
    """One input topic over all workers."""

    topic: str
    partitions: int
    lag_messages: int | None
    last_commit: datetime | None


@dataclass(frozen=True, slots=True)
class Mark:
    """How far event time is in a partition, and who says so."""

    partition: str
    worker: str
    time: datetime
    age_seconds: float


@dataclass(frozen=True, slots=True)
class HealthView:
    """What the page shows; the worker that answers comes first."""

    workers: list[WorkerCard]
    all_ready: bool
    inputs: list[TopicInput]
    marks: list[Mark]
    ledger: list[tuple[str, list[int | None]]]
    outcomes: tuple[str, ...]
    gap_messages: int
    lag_messages: int


def health_view(own: WorkerCard, others: Sequence[WorkerCard] | None) -> HealthView:
    """Return all workers together; *others* None = they are not known."""
    workers = [own, *(each for each in others or () if (each.age_seconds or 0) <= LIFE_SECONDS)]
    inputs = _inputs(workers)
    return HealthView(
        workers,
        all(each.ready for each in workers),
        inputs,
        _marks(workers),
        _ledger(workers),
        OUTCOMES,
        sum(each.gap_messages for each in workers),
        sum(each.lag_messages or 0 for each in inputs),
    )


def page_of(card: WorkerCard) -> str:
    """Return a worker's address if it is one that may be linked to: what Redis holds could be anything."""
    return card.page if card.page.startswith(("http://", "https://")) else ""


def _inputs(workers: Sequence[WorkerCard]) -> list[TopicInput]:
    topics: dict[str, list[Any]] = {}
    for worker in workers:
        for each in worker.partitions:
            topics.setdefault(each.topic, []).append(each)
    found = []
    for topic, parts in sorted(topics.items()):
        lags = [each.lag_messages for each in parts if each.lag_messages is not None]
        commits = [each.last_commit for each in parts if each.last_commit is not None]
        places = {each.partition for each in parts}
        found.append(TopicInput(topic, len(places), sum(lags) if lags else None, max(commits, default=None)))
    return found


def _marks(workers: Sequence[WorkerCard]) -> list[Mark]:
    found = []
    for worker in workers:
        for partition, time in worker.watermarks.items():
            now = worker.updated.timestamp() if worker.updated is not None else time.timestamp()
            found.append(Mark(partition, worker.name, time, max(0.0, now - time.timestamp())))
    return sorted(found, key=lambda mark: (len(mark.partition), mark.partition, mark.worker))


def _ledger(workers: Sequence[WorkerCard]) -> list[tuple[str, list[int | None]]]:
    topics: dict[str, dict[str, int]] = {}
    for worker in workers:
        for topic, counts in worker.ledger.items():
            total = topics.setdefault(topic, {})
            for outcome, count in counts.items():
                total[outcome] = total.get(outcome, 0) + count
    return [(topic, [counts.get(outcome) for outcome in OUTCOMES]) for topic, counts in sorted(topics.items())]
