"""Runs one worker: services in order, hooks of the group, health.

Owns the worker's life around the pipeline. Invariant: ready means that topics
exist, partitions are assigned and recovered, the directory is read and Redis
answers.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from faust.types import TP

from agents.collector import FreedMemory, Settled, collector_paused
from agents.count_people import PARTITION as CENSUS_PARTITION
from agents.directory import DirectoryReader, directory_limits_of
from agents.generation_watch import GenerationWatch
from agents.page.server import Page
from agents.routing import Router
from agents.tell_again import TellAgain
from agents.tick import Ticker
from agents.topic_guard import TopicGuard
from agents.transport_figures import TransportFigures
from agents.wiring import Pipeline, build
from agents.worker_card import CardWriter, make_card, page_address
from streams.clock import Clock, WallClock
from streams.faust_app import ChunkApp
from streams.held_back import CHECK
from streams.http import HttpServer
from streams.kafka_watch import KafkaWatch
from streams.log_reader import Follower, read_stretch
from streams.metrics import Metrics
from streams.model_file import load_model
from streams.published_workers import WorkerCard
from streams.redaction import cover
from streams.redis_access import connect_of
from streams.redis_sink import RedisSink, Source
from streams.restart import Restarts
from streams.settings import Settings
from streams.stalls import StallWatch
from streams.task_service import TaskService
from streams.topic_specs import needed_copies, topic_specs
from streams.worker import run_worker

_log = structlog.get_logger(__name__)
_STATUS_SECONDS = 1.0
_LONG_COMMIT_SECONDS = 2.0


class Background(TaskService):
    """A service that lets the sink write; a sink that fails (not Redis: that is waited for) ends the worker."""

    def __init__(self, sink: RedisSink, app: ChunkApp) -> None:
        self._sink, self._app = sink, app

    async def _run(self) -> None:
        try:
            await self._sink.run()
        except Exception as error:  # noqa: BLE001  # any error ends the worker
            self._app.failure = self._app.failure or error

    async def stop(self) -> None:
        """Write what is pending, then end."""
        await self._sink.drain(5.0)
        await super().stop()


class Worker:
    """One worker process, assembled."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings, self.clock = settings, clock or WallClock()
        shown = settings.metrics
        self._settled = Settled()
        self.metrics = Metrics(
            shown.orgs, shown.org_limit, series_limit=shown.series_limit, tenant=settings.worker.tenant
        )
        self.metrics.started.set(self.clock.now())
        self.pipeline: Pipeline = build(settings, load_model(settings.model.file), self.clock, self.metrics)
        pipe, topics = self.pipeline, self.pipeline.topics
        self.metrics.churn_threshold.set(pipe.model.bands.at_risk / 10_000)
        redis = settings.redis
        again = TellAgain(pipe.fold, pipe.people, Router(topics, settings.kafka.partitions, 1).partition)
        self.sink = RedisSink(
            redis.url, redis.prefix, redis.ttl_hours * 3600, redis.batch, redis.max_pending_writes,
            self.metrics, self.clock, Source(again.everything, again.total, again.unknown),
            timeout_seconds=redis.timeout_seconds, connect=connect_of(redis),
        )  # fmt: skip
        # A transaction has a time limit, and telling again none.
        self.sink.may_tell = lambda: pipe.app.transactions.slowest()[1] < _LONG_COMMIT_SECONDS
        if settings.worker.aside == "no":
            pipe.fold.sink = pipe.people.sink = self.sink
        self.generation = GenerationWatch(settings, self.fail)
        known = DirectoryReader(pipe.directory, topics, directory_limits_of(settings))
        suppressed = pipe.suppressed
        suppressed.fail = self.fail

        def take(topic: str, record: Any) -> None:
            if topic == topics.suppressed:
                suppressed.take(record)
            else:
                known.take(topic, record)

        self.directory = Follower(settings.kafka, [*known.followed, topics.suppressed], take)
        self.guard = TopicGuard(settings)
        self.restarts = Restarts(self.clock, settings.worker.longest_pause_seconds, self.metrics)
        self.kafka = KafkaWatch(
            settings.kafka, (spec.name for spec in topic_specs(settings)), needed_copies(settings),
            pipe.app.transactions, self.clock, self.metrics,
        )  # fmt: skip
        self.page = Page(settings, self.card, self.clock)
        self.http = HttpServer(
            settings.web.host, settings.web.port, self.metrics.registry, self.checks, self.page.extend,
            web_settings=settings.web,
        )  # fmt: skip
        self.metrics.others.append(self.http.figures)
        self.ticker = Ticker(pipe.app, pipe.fold, settings, topics.activities, self.clock, self.metrics)
        pipe.app.on_owned, pipe.app.on_recovered = self._on_owned, self._on_recovered
        pipe.app.on_revoke = self._on_revoke

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code."""
        self._settled.begin()
        status = Status(self)
        redis: list[TaskService] = []
        if self.settings.worker.aside == "no":
            redis = [Background(self.sink, self.pipeline.app), CardWriter(self.settings, self.card, self.clock)]
        waiting = [self.http, self.restarts, self.kafka, self.guard, self.generation, self.directory]
        app, fold = self.pipeline.app, self.pipeline.fold
        stalls = StallWatch(
            app, lambda: self.kafka.check()[1], lambda: app.tables.recovery.restored_records + fold.replayed, self.fail
        )
        services = [*waiting, *redis, status, self.ticker, stalls, FreedMemory()]
        return run_worker(self.pipeline.app, services, self.restarts if self.settings.worker.restart else None)

    def fail(self, error: BaseException) -> None:
        """End this life of the worker with *error*, unless it has failed already."""
        self.pipeline.app.failure = self.pipeline.app.failure or error

    def checks(self) -> list[tuple[str, bool, str]]:
        """Return (name, passed, detail) of everything that being ready takes."""
        app = self.pipeline.app
        live = sorted(f"{tp.topic}-{tp.partition}" for tp in app.live)
        found = [
            self.restarts.check(),
            self.kafka.check(),
            ("topics", not self.guard.problem, self.guard.problem or "all there"),
            ("directory", self.directory.is_caught_up, self.directory.last_error or "read"),
            ("partitions", app.flowing and bool(live), f"{len(live)} assigned and recovered"),
            ("redis", *((True, "not told: aside") if self.settings.worker.aside != "no" else self.sink.status)),
        ]
        if app.held_back is not None:
            found.append((CHECK, True, app.held_back.told()))
        if self.settings.worker.tenant:
            found.append(("tenant", True, self.settings.worker.tenant))
        return [(name, well, cover(detail)) for name, well, detail in found]

    def card(self) -> WorkerCard:
        """Return how this worker is."""
        url, name = page_address(self.http.url, self.settings.web.host), self.settings.worker.name
        return make_card(name, url, self.metrics, self.checks(), self.clock.now())

    async def _on_owned(self, tps: frozenset[TP]) -> None:
        kept = {tp.partition for tp in tps if tp.topic == self.pipeline.topics.activities}
        gone = [p for p in self.pipeline.fold.shards if p not in kept]
        for partition in gone:
            self.pipeline.fold.drop(partition)
            self.pipeline.ledger.drop(partition)
        if gone:
            self._settled.let_go()
        if not any(tp.topic == self.pipeline.topics.summaries for tp in tps):
            self.pipeline.people.drop()

    async def _on_recovered(self, tps: frozenset[TP]) -> None:
        topics, fold = self.pipeline.topics, self.pipeline.fold
        brokers = self.settings.kafka

        async def replay(partition: int, start: int, end: int) -> object:
            return read_stretch(brokers, topics.activities, partition, start, end)

        with collector_paused():
            await self._set_aside(tps)
            for tp in sorted(tps):
                committed = self.pipeline.app.committed_offset(tp) or 0
                if tp.topic == topics.activities:
                    await fold.restore(tp.partition, committed, replay)
                elif tp.topic == topics.summaries:
                    self.pipeline.people.restore(committed)
        if self.settings.worker.generation and self.settings.worker.aside == "no":
            self.sink.request_resync("what a former generation knew may be gone")
        for partition in sorted({tp.partition for tp in tps if tp.topic != topics.summaries}):
            self.pipeline.ledger.show_all(partition)
        self._settled.settle()

    async def _set_aside(self, tps: frozenset[TP]) -> None:
        """Take out of the tables what cannot be read, before anybody reads it."""
        app, topics, quarantine = self.pipeline.app, self.pipeline.topics, self.pipeline.quarantine
        for tp in sorted(tps):
            if tp.topic in (topics.activities, topics.summaries):
                width = 1 if tp.topic == topics.summaries else self.settings.kafka.partitions
                records = quarantine.clear(tp.partition, width=width)
                if records:
                    await app.transactions.commit(tp, app.chunks.handled[tp], records)

    async def _on_revoke(self, tps: frozenset[TP]) -> None:
        topics, fold, app = self.pipeline.topics, self.pipeline.fold, self.pipeline.app
        for tp in sorted(tps):
            if tp.topic == topics.activities and tp.partition in fold.shards:
                position = fold.shards[tp.partition].position
                await app.transactions.commit(tp, position, fold.final(tp.partition))
                fold.drop(tp.partition)
            elif tp.topic == topics.summaries and tp.partition == CENSUS_PARTITION:
                self.pipeline.people.drop()
            self.metrics.drop_source(tp.topic, tp.partition)
            self.pipeline.ledger.drop(tp.partition)
        self._settled.let_go()


class Status(TaskService):
    """A service that brings figures from the transport into the metrics."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def _run(self) -> None:
        pipe, metrics, clock = self._worker.pipeline, self._worker.metrics, self._worker.clock
        figures = TransportFigures(pipe.app, metrics, pipe.topics.activities)
        while True:
            figures.bring(clock.now())
            metrics.directory_users.set(len(pipe.directory))
            await asyncio.sleep(_STATUS_SECONDS)
