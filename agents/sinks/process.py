"""Runs a sink: services in order, health, figures, what a failure means.

Owns a sink's life around its handlers. Invariant: ready means that topics exist, partitions are assigned, and the
store takes writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from faust.types import TP

from agents.sinks.errors import LeavingError, StoreAwayError
from agents.sinks.figures import SinkFigures
from agents.sinks.patience import Patience
from agents.topic_guard import TopicGuard
from streams.clock import Clock, WallClock
from streams.faust_app import ChunkApp, make_app
from streams.http import HttpServer
from streams.kafka_watch import KafkaWatch
from streams.metrics import Metrics
from streams.recovery import ShrunkenLogError
from streams.restart import Restarts
from streams.settings import Settings
from streams.stalls import StallWatch
from streams.task_service import TaskService
from streams.topic_ids import RecreatedTopicError
from streams.topic_specs import needed_copies, topic_names
from streams.transactions import TransactionSettings
from streams.worker import run_worker

_STATUS_SECONDS = 1.0
_LONGEST_STANDSTILL_SECONDS = 300.0
_REBALANCE_SECONDS = 15.0
"""So long a rebalance waits for the store; the other processes wait with it."""
Found = TypeVar("Found")
_MAX_IDLE_SECONDS = 7 * 86_400.0
"""A chunk may wait for the store for days: the group must not take that for the end of the process."""


class Process:
    """One sink's process; `kind` is postgres or parquet."""

    def __init__(self, settings: Settings, kind: str, clock: Clock | None = None) -> None:
        self.settings, self.kind, self.clock = settings, kind, clock or WallClock()
        self.topics = topic_names(settings)
        self.metrics, self.figures = Metrics(tenant=settings.worker.tenant), SinkFigures(kind)
        self.metrics.started.set(self.clock.now())
        self.metrics.registry.register(self.figures)
        self.patience = Patience(kind, self.clock, self.figures, settings.sink.longest_pause_seconds)
        self.restarts = Restarts(self.clock, settings.worker.longest_pause_seconds, self.metrics)
        self.app = self._app()
        self.app.on_lost = self._on_lost
        self.guard = TopicGuard(settings, "sink")
        #: (topic, partition) → offset after what is stored.
        self.stored: dict[tuple[str, int], int] = {}

    def leaving(self) -> bool:
        """Say whether partitions are being given up, or the process ends."""
        return bool(self.app.should_stop or not self.app.flow_control.is_active())

    async def briefly(self, work: Callable[[], Awaitable[Found]]) -> Found:
        """Return what *work* on the store leads to, in the middle of a rebalance: others wait for it.

        Raises:
            StoreAwayError: If the store stays away; then the process begins anew, and waits before it joins.
        """
        until = time.monotonic() + _REBALANCE_SECONDS
        try:
            return await self.patience.until(work, lambda: bool(self.app.should_stop or time.monotonic() > until))
        except LeavingError:
            raise StoreAwayError("rebalance", self.patience.check()[2]) from None

    def run(self, prepare: Callable[[], Awaitable[Any]], services: Sequence[Any] = ()) -> int:
        """Run until SIGTERM or SIGINT, beginning with *prepare* once the store is there; return the exit code."""
        kafka_settings, web = self.settings.kafka, self.settings.web
        kafka = KafkaWatch(
            kafka_settings, self.app.expected_topics, needed_copies(self.settings), self.app.transactions,
            self.clock, self.metrics,
        )  # fmt: skip
        http = HttpServer(
            web.host, self.settings.sink.port, self.metrics.registry, lambda: self._checks(kafka), web_settings=web
        )
        stalls = StallWatch(
            self.app, lambda: kafka.check()[1] and self.patience.well, lambda: 0, self.fail,
            limit_seconds=_LONGEST_STANDSTILL_SECONDS,
        )  # fmt: skip
        store = StoreReady(self.patience, prepare)
        row = [http, self.restarts, kafka, self.guard, store, *services, Status(self), stalls]
        return run_worker(self.app, row, self.restarts if self.settings.worker.restart else None)

    def fail(self, error: BaseException) -> None:
        """End this life of the process with *error*, unless it has failed already."""
        self.app.failure = self.app.failure or error

    def ids(self, tps: frozenset[TP]) -> dict[tuple[str, int], str]:
        """Return the id of the topic of each of *tps*."""
        return {(tp.topic, tp.partition): self.app.layouts[tp.topic].id for tp in tps}

    def _checks(self, kafka: KafkaWatch) -> list[tuple[str, bool, str]]:
        live = len(self.app.live)
        return [
            self.restarts.check(),
            kafka.check(),
            ("topics", not self.guard.problem, self.guard.problem or "all there"),
            ("partitions", self.app.flowing, f"{live} assigned"),
            self.patience.check(),
        ]

    def _on_lost(self, reason: BaseException) -> None:
        """Say what helps a sink: its remedies are others than a worker's."""
        if isinstance(reason, ShrunkenLogError):
            reason.remedy = (
                f"Messages went before they were stored. `orgpulse sink {self.kind} --from-start` goes on with what the"
                " topics still hold."
            )
        elif isinstance(reason, RecreatedTopicError):
            reason.remedy = "Start the sink again: it reads the new topic from its beginning."
        elif isinstance(reason, StoreAwayError):
            self.figures.failed(reason.kind, began=self.patience.well)

    def _app(self) -> ChunkApp:
        kafka = self.settings.kafka
        return make_app(
            f"{kafka.application}-sink-{self.kind}", kafka, partitions=kafka.partitions,
            instance_id=self.settings.worker.name if self.settings.worker.static_membership else None,
            max_chunk=self.settings.sink.chunk_records, session_timeout_seconds=kafka.session_timeout_seconds,
            heartbeat_seconds=min(3.0, kafka.session_timeout_seconds / 4),
            broker_max_poll_interval=_MAX_IDLE_SECONDS,
            transactions=TransactionSettings(
                transaction_timeout_seconds=kafka.transaction_timeout_seconds,
                max_record_bytes=kafka.max_message_bytes,
            ),
        )  # fmt: skip


class StoreReady:
    """A service that waits for the store and prepares it."""

    def __init__(self, patience: Patience, prepare: Callable[[], Awaitable[Any]]) -> None:
        self._patience, self._prepare = patience, prepare

    async def start(self) -> None:
        """Return when the store is prepared.

        Raises:
            OperatorError: If it refuses.
        """
        await self._patience.until(self._prepare, lambda: False)

    async def stop(self) -> None:
        """Nothing to end."""


class Status(TaskService):
    """A service that brings figures of the transport into the metrics."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def _run(self) -> None:
        mine, rebalances = self._process, 0
        while True:
            mine.figures.bring(mine.app, mine.stored)
            mine.metrics.rebalances.add(mine.app.rebalances - rebalances)
            rebalances = mine.app.rebalances
            await asyncio.sleep(_STATUS_SECONDS)
