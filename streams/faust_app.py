"""Owns the Faust application: its settings, its hooks, and who may write when.

Invariant: nothing listens on a port, the right to write is taken before anything
is read, and it is given up only after the chunks under way have ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

import streams.transport  # noqa: F401  # registers the broker scheme kchunk
from streams.chunks import ChunkDriver
from streams.held_back import HeldBack
from streams.kafka_access import Brokers, addresses, faust_credentials
from streams.lanes import LaneOf, own_lane, torn_lanes
from streams.origins import Origins
from streams.positions import Position, positions_of
from streams.recovery import SafeTables, check_topics, check_whole
from streams.tables import ChunkTable
from streams.topic_ids import Layout, check_same, note_of
from streams.topic_watch import TopicWatch
from streams.transactions import Outgoing, Transactions, TransactionSettings
from streams.worker import run_worker

Hook = Callable[[frozenset[TP]], Awaitable[None]]


class TornLaneError(RuntimeError):
    """Only a part of a lane was assigned here; another worker has the rest, and each would fence the other."""


class ChunkBoot(BootStrategy):  # type: ignore[misc]  # Faust carries no usable types
    """Starts Kafka, agents and tables, and no web server, leader or reply consumer."""

    def kafka_consumer(self) -> Iterable[Any]:
        """Return the consumer alone."""
        return [self.app.consumer]

    def web_server(self) -> Iterable[Any]:
        """Return nothing: nothing may listen."""
        return []


class ChunkApp(faust.App):  # type: ignore[misc]  # Faust carries no usable types
    """A Faust app whose agents take chunks and whose effects leave in transactions.

    Hooks, all optional, each given the source partitions concerned:
    `on_owned` after the right to write was taken and before anything is read;
    `on_recovered` after the tables were filled and before the first chunk;
    `on_revoke` when chunks under way have ended, with the right to write still
    held (never for partitions that `on_recovered` has not ended for);
    `on_lost` once, with the reason, when the worker fails.
    """

    BootStrategy = ChunkBoot

    def __init__(
        self,
        app_id: str,
        *,
        transactions: Transactions,
        partitions: int,
        max_chunk: int,
        drain_seconds: float,
        commit_seconds: float = 0.0,
        **options: Any,
    ) -> None:
        self.transactions = transactions
        self.partitions = partitions
        self.max_chunk = max_chunk
        #: How far apart the beginnings of a lane's commits are at least, unless much waits.
        self.commit_seconds = commit_seconds
        self.drain_seconds = drain_seconds
        self.on_owned: Hook | None = None
        self.on_recovered: Hook | None = None
        self.on_revoke: Hook | None = None
        self.on_lost: Callable[[BaseException], None] | None = None
        #: Partitions that each topic the app reads must have, by name.
        self.expected_topics: dict[str, int] = {}
        #: Those among them that only the app writes.
        self.kept_topics: set[str] = set()
        #: What holds raw messages back, where there is a quota.
        self.held_back: HeldBack | None = None
        #: What the brokers said last: what is held back is not fetched, so fetches do not tell how much waits.
        self.asked_ends: dict[TP, int] = {}
        #: What may become one record of those that go out in one transaction.
        self.bundle: Callable[[Sequence[Outgoing]], Sequence[Outgoing]] = lambda records: records
        #: Where the state comes from, if the app remembers that.
        self.origins: Origins | None = None
        #: What the topics were when partitions were taken over last.
        self.layouts: dict[str, Layout] = {}
        #: Why the worker failed, or None.
        self.failure: BaseException | None = None
        #: Seconds from the last assignment to the first chunk.
        self.recovery_seconds = 0.0
        #: Whether chunks flow: assigned, recovered, not stopping.
        self.flowing = False
        #: Whether what was assigned is being recovered: nothing of it is handled yet.
        self.recovering = False
        self._watch = TopicWatch(self)
        self._live: set[TP] = set()
        self._assigned_at = 0.0
        self._releasing = asyncio.Lock()
        self._home: asyncio.AbstractEventLoop | None = None
        super().__init__(app_id, **options)
        self.chunks = ChunkDriver(self)

    @property
    def rebalances(self) -> int:
        """Rebalances since the start."""
        count: int = self.rebalancing_count
        return count

    @property
    def live(self) -> frozenset[TP]:
        """Source partitions whose chunks are handled here now."""
        return frozenset(self._live)

    def committed_offset(self, tp: TP) -> int | None:
        """Return the committed offset of *tp* (owned here), or None when there is none."""
        mine = self.transactions.committed.get(tp)
        found: int | None = self.consumer.committed_offset(tp) if mine is None else mine
        return found

    async def ask_ends(self) -> dict[TP, int]:
        """Return the end of what may be read of each live source partition, from the brokers."""
        found: dict[TP, int] = await self.consumer._thread.ends(self._live)
        self.asked_ends = found
        return found

    def positions(self, ends: Mapping[TP, int] | None = None) -> dict[TP, Position]:
        """Return how far each live source partition is handled; asks no broker.

        How much waits is known from the last fetch, or from *ends* (see `ask_ends`) if that is more.
        """
        return positions_of(self, ends)

    async def take_over(self, tps: set[TP], changelogs: set[TP]) -> bool:
        """Become the only writer for *tps*, whose tables have *changelogs*; say whether that worked (else: failure)."""
        self._assigned_at = time.monotonic()
        if self.should_stop:
            return True
        self.recovering = True
        try:
            await self._look_at_topics()
            await self.transactions.disown(self.transactions.owned - tps)
            widths = {t: n for t, n in self.expected_topics.items() if t not in self.tables.changelog_topics}
            if torn := torn_lanes(self.transactions.lane_of, tps, widths):
                raise TornLaneError(f"partitions that are committed together were assigned apart: {', '.join(torn)}")
            await self.transactions.own(tps)
            check_whole(await self.consumer._thread.first_offsets(changelogs))
            if self.on_owned is not None:
                await self.on_owned(frozenset(tps))
        except Exception as error:  # noqa: BLE001  # any error ends the worker
            await self.crash(error)
            return False
        return True

    def remember_origins(self) -> None:
        """Keep a table `origins` that tells state from another log than the one that is read."""
        table = ChunkTable(self, name="origins", partitions=self.partitions)
        self.tables.add(table)
        self.origins = Origins(table)

    async def _look_at_topics(self) -> None:
        """Note ids and partitions of the topics, and begin to watch them."""
        found = await self.consumer._thread.layouts(self.expected_topics)
        check_topics(self.expected_topics, {topic: layout.partitions for topic, layout in found.items()})
        # A topic that goes and comes back leads to a rebalance before the watch looks, and may be left out of it.
        check_same(self.layouts, found)
        self.layouts = found
        self.transactions.notes = {topic: note_of(topic, self.kept_topics, found) for topic in found}
        self._watch.start()

    async def recovered(self, tps: set[TP]) -> None:
        """Let the application recover *tps*; called before the first chunk."""
        if self.on_recovered is not None:
            await self.on_recovered(frozenset(tps))
        self._live = set(tps)

    def on_flowing(self) -> None:
        """Note that chunks flow from now on."""
        self.recovery_seconds = time.monotonic() - self._assigned_at
        self.flowing, self.recovering = True, False

    async def release(self, tps: set[TP]) -> None:
        """Finish chunks under way, let the application write its last, give up the right to write."""
        self.flowing = self.recovering = False
        if self.failure is not None:
            return
        async with self._releasing:
            owned = self.transactions.owned & tps
            live = frozenset(owned & self._live)
            try:
                await self.chunks.drain(self.drain_seconds)
                if live and self.on_revoke is not None:
                    async with asyncio.timeout(self.drain_seconds):
                        await self.on_revoke(live)
                await self.transactions.disown(owned)
            except Exception as error:  # noqa: BLE001  # any error ends the worker
                await self.chunks.fail(error)
                return
            self._live -= owned
            for tp in owned:
                self.chunks.handled.pop(tp, None)
            self.tables.drop({tp.partition for tp in owned})

    async def _stop_consumer(self) -> None:
        """Drain instead of Faust's wait for acknowledgements."""
        self._watch.stop()
        consumer = self._consumer
        if consumer is None:
            return
        try:
            assignment = consumer.assignment()
        except ConsumerNotStarted:
            return
        consumer.stop_flow()
        self.flow_control.suspend()
        if assignment:
            consumer.pause_partitions(assignment)
        self.flow_control.clear()
        await self.release(assignment)
        await self._stop_fetcher()
        await self.tables.stop()

    async def start(self) -> None:
        """Start everything, and remember the loop that it lives in."""
        self._home = asyncio.get_running_loop()
        await super().start()

    async def crash(self, reason: BaseException) -> None:
        """Fail, because of *reason*; from any thread: services are told in the loop that they live in."""
        self._note_failure(reason)
        if self._home in (None, asyncio.get_running_loop()):
            await super().crash(reason)
        else:
            assert self._home is not None
            asyncio.run_coroutine_threadsafe(super().crash(reason), self._home)

    def _crash(self, reason: BaseException) -> None:
        self._note_failure(reason)
        super()._crash(reason)

    def _note_failure(self, reason: BaseException) -> None:
        """Note the first reason; called on every way into a crash."""
        if self.failure is None:
            self.failure = reason
            self.flowing = self.recovering = False
            if self.on_lost is not None:
                self.on_lost(reason)

    def _create_directories(self) -> None:
        """Create nothing: all state is in memory and in Kafka."""


def make_app(
    app_id: str,
    bootstrap: Brokers,
    *,
    partitions: int,
    instance_id: str | None = None,
    max_chunk: int = 5_000,
    fetch_bytes: int = 4 * 1024 * 1024,
    session_timeout_seconds: float = 45.0,
    heartbeat_seconds: float = 3.0,
    rebalance_timeout_seconds: float = 120.0,
    drain_seconds: float = 30.0,
    standby_replicas: int = 0,
    transactions: TransactionSettings | None = None,
    lane_of: LaneOf = own_lane,
    **options: Any,
) -> ChunkApp:
    """Return an app in the consumer group *app_id*; each value is reasoned in DECISIONS.md.

    *bootstrap* is where Kafka is and how one gets in; *instance_id* makes the
    membership static; *standby_replicas* other workers follow each table, so that
    they can take it over without reading it all; *lane_of* says which partitions are committed together;
    *options* are further Faust settings.
    """
    return ChunkApp(
        app_id,
        transactions=Transactions(bootstrap, app_id, transactions, lane_of=lane_of),
        partitions=partitions,
        max_chunk=max_chunk,
        drain_seconds=drain_seconds,
        broker=[f"kchunk://{server}" for server in addresses(bootstrap)],
        broker_credentials=faust_credentials(bootstrap),
        store="memory://",
        TableManager=SafeTables,
        topic_partitions=partitions,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=standby_replicas,
        broker_session_timeout=session_timeout_seconds,
        broker_heartbeat_interval=heartbeat_seconds,
        broker_request_timeout=max(90.0, session_timeout_seconds),
        broker_rebalance_timeout=rebalance_timeout_seconds,
        broker_commit_interval=5.0,
        consumer_max_fetch_size=fetch_bytes,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=instance_id,
        producer_acks=-1,
        producer_linger=0.02,
        producer_threaded=False,
        producer_request_timeout=60.0,
        producer_compression_type="lz4",
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        web_enabled=False,
        **options,
    )


__all__ = ["ChunkApp", "Hook", "Position", "make_app", "run_worker"]
