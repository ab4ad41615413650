"""Writes the passing of time into the log of every owned partition.

Owns when a shard evaluates and what time it is told. Live, time is the wall
clock's; while history is read it is the data's own (tick without a time): a
partition counts as live when its newest event is less than an hour old, or
when nothing has come for a while and nothing waits. Invariant: time reaches a
shard only through its log.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents.fold import FoldAgent
from state.activity import Tick, encode_record
from streams.clock import Clock
from streams.faust_app import ChunkApp
from streams.kafka_access import aiokafka_options
from streams.metrics import Metrics
from streams.patient_client import patient
from streams.settings import Settings
from streams.task_service import TaskService

_log = structlog.get_logger(__name__)
_LIVE_SECONDS = 3600.0
_IDLE_SECONDS = 5.0
_LOOKS_A_TICK = 5  # how often in a tick's time is looked who is due: what comes waits for the look, too
_BACKLOG_MESSAGES = 25_000
_QUIET_TICK_SECONDS = 0.5
_ORGS_SECONDS = 1.0  # an org has many users: its figures change with nearly every tick
_MAPS_SECONDS = 30.0


@dataclass(slots=True)
class _Pace:
    """When a partition was last ticked and told to say what, and which round it is in."""

    last_tick: float = 0.0
    last_orgs: float = 0.0
    last_maps: float = 0.0
    round: int = 0
    round_began: float = 0.0
    was_busy: bool = False


@dataclass
class Ticker(TaskService):
    """A service that writes ticks; start and stop."""

    app: ChunkApp
    fold: FoldAgent
    settings: Settings
    topic: str
    clock: Clock
    metrics: Metrics
    _paces: dict[int, _Pace] = field(default_factory=dict)

    async def _run(self) -> None:
        while True:
            producer = patient(AIOKafkaProducer(**aiokafka_options(self.settings.kafka), acks="all", linger_ms=0))
            try:
                await producer.start()
                while True:
                    await self._tick_all(producer)
                    await asyncio.sleep(self.settings.time.tick_seconds / _LOOKS_A_TICK)
            except (KafkaError, OSError, TimeoutError) as error:
                _log.warning("ticks can't be written; trying again", error=repr(error))
                await asyncio.sleep(1.0)
            finally:
                await producer.stop()

    async def _tick_all(self, producer: AIOKafkaProducer) -> None:
        lag = sum(position.lag for tp, position in self.app.positions().items() if tp.topic != self.topic)
        backlog = lag > _BACKLOG_MESSAGES
        self.metrics.backlog.set(int(backlog))
        if not self.app.flowing:
            return
        times = self.settings.time
        busy = times.backlog_tick_seconds if backlog else times.tick_seconds
        quiet = max(busy, _QUIET_TICK_SECONDS)
        now = self.clock.now()
        due = []
        for partition in list(self.fold.shards):
            pace = self._paces.setdefault(partition, _Pace())
            every = busy if partition in self.fold.changed else quiet
            if _is_due(pace.last_tick, every, now):
                pace.last_tick = now
                self.fold.changed.discard(partition)
                due.append(await producer.send(self.topic, self._tick(partition, pace, now, lag), partition=partition))
        if due:
            await asyncio.gather(*due)

    def _tick(self, partition: int, pace: _Pace, now: float, lag: int) -> bytes:
        idle = lag == 0 and now - self.fold.last_rows_at.get(partition, 0.0) >= _IDLE_SECONDS
        came_to_rest = idle and pace.was_busy
        pace.was_busy = not idle
        if came_to_rest or now - pace.round_began >= self.settings.calibration.every_seconds:
            pace.round, pace.round_began = int(now * 1000), now
        live = idle or self.fold.shards[partition].watermark_ms / 1000 >= now - _LIVE_SECONDS
        wall = self.settings.time.clock == "wall"
        catching_up = lag > _BACKLOG_MESSAGES or (wall and not live)
        orgs, maps = _is_due(pace.last_orgs, _ORGS_SECONDS, now), _is_due(pace.last_maps, _MAPS_SECONDS, now)
        pace.last_orgs, pace.last_maps = now if orgs else pace.last_orgs, now if maps else pace.last_maps
        return encode_record(Tick(int(now * 1000) if wall and live else 0, pace.round, catching_up, orgs, maps))


def _is_due(last: float, every_seconds: float, now: float) -> bool:
    """Say whether *every_seconds* have passed since *last*, or the clock went back."""
    return now - last >= every_seconds or now < last
