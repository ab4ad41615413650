"""Tells the other workers' pages, through Redis, how this worker is.

Owns the card: taken together from the metrics that the worker sets anyway, written every few seconds, gone soon after
the worker is. Invariant: it writes absolute values, and nothing depends on its being written: Redis away is told
elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import socket
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streams.clock import Clock
from streams.metric_kinds import Level
from streams.metrics import Metrics
from streams.published_workers import CARDS, Check, InputPartition, WorkerCard, card_fields, card_key, moment
from streams.redis_access import async_redis_client
from streams.settings import Settings
from streams.task_service import TaskService

EVERY_SECONDS = 10.0
LIFE_SECONDS = 30
FORGOTTEN_SECONDS = 3600
"""How long the name of a worker that ended stays in the list of names."""
_STOP_SECONDS = 1.0
_ANYWHERE = ("0.0.0.0", "::")
GAP = "gap"
"""Outcome under which the ledger of a card tells what was lost or came twice."""
Checks = Callable[[], Sequence[tuple[str, bool, str]]]

_log = structlog.get_logger(__name__)


def make_card(
    name: str, page: str, metrics: Metrics, checks: Sequence[tuple[str, bool, str]], now: float
) -> WorkerCard:
    """Return what a worker says of itself at the moment *now*, seconds since the epoch."""
    ledger: dict[str, dict[str, int]] = {}
    for (topic, _, outcome), count in metrics.ledger.values.items():
        counts = ledger.setdefault(topic, {})
        counts[outcome] = counts.get(outcome, 0) + int(count)
    for (topic, _), lost in metrics.ledger_gap.values.items():
        counts = ledger.setdefault(topic, {})
        counts[GAP] = counts.get(GAP, 0) + int(lost)
    inputs = metrics.lag.values.keys() | metrics.last_commit.values.keys()
    recovery = metrics.recovery_duration.value()
    return WorkerCard(
        name=name,
        page=page,
        updated=moment(now),
        age_seconds=0.0,
        ready=all(ok for _, ok, _ in checks),
        checks=tuple(Check(*each) for each in checks),
        partitions=tuple(
            InputPartition(
                topic, int(number), _whole(metrics.lag, topic, number), _at(metrics.last_commit, topic, number)
            )
            for topic, number in sorted(inputs, key=lambda each: (each[0], int(each[1])))
        ),
        watermarks={
            partition: mark
            for (partition,), seconds in sorted(metrics.watermark.values.items(), key=lambda each: int(each[0][0]))
            if (mark := moment(seconds)) is not None
        },
        ledger={topic: ledger[topic] for topic in sorted(ledger)},
        gap_messages=int(sum(metrics.ledger_gap.values.values())),
        backlog=bool(metrics.backlog.value()),
        kafka_brokers=_whole(metrics.kafka_brokers),
        redis_pending_writes=_whole(metrics.redis_pending),
        recovery_seconds=None if recovery is None else round(recovery, 3),
        rebalances=int(metrics.rebalances.value()),
        version=f"{next(iter(metrics.build_info.values))[0]}, Python {platform.python_version()}",
    )


def page_address(url: str, host: str) -> str:
    """Return where others reach what listens on *host*; on every address it is by this machine's name.

    >>> page_address("http://127.0.0.1:6066", "127.0.0.1")
    'http://127.0.0.1:6066'
    """
    if host not in _ANYWHERE:
        return url
    return f"{url.partition(':')[0]}://{socket.gethostname()}:{url.rpartition(':')[2]}"


class CardWriter(TaskService):
    """A service that writes the card."""

    def __init__(self, settings: Settings, card: Callable[[], WorkerCard], clock: Clock) -> None:
        """Prepare, without connecting; *card* gives how the worker is at the moment."""
        redis = settings.redis
        self._redis: Any = async_redis_client(redis, retry=Retry(NoBackoff(), 1))
        self._prefix, self._name, self._card, self._clock = redis.prefix, settings.worker.name, card, clock
        self._failed = False

    async def stop(self) -> None:
        """End, and take the card away: this worker is no more."""
        await super().stop()
        with contextlib.suppress(RedisError, OSError):  # it goes by itself; a worker must end in time
            async with asyncio.timeout(_STOP_SECONDS):
                await self._redis.delete(self._prefix + card_key(self._name))
        await self._redis.aclose()

    async def _run(self) -> None:
        while True:
            try:
                await self._write()
                self._failed = False
            except (RedisError, OSError) as error:
                if not self._failed:
                    _log.info("this worker's card was not written", error=str(error))
                self._failed = True
            await asyncio.sleep(EVERY_SECONDS)

    async def _write(self) -> None:
        key, names, now = self._prefix + card_key(self._name), self._prefix + CARDS, self._clock.now()
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.hset(key, mapping=card_fields(self._card()))
            pipe.expire(key, LIFE_SECONDS)
            pipe.zadd(names, {self._name: now})
            pipe.zremrangebyscore(names, "-inf", now - FORGOTTEN_SECONDS)
            pipe.expire(names, FORGOTTEN_SECONDS)
            await pipe.execute()


def _whole(level: Level, *labels: str) -> int | None:
    value = level.value(*labels)
    return None if value is None else int(value)


def _at(level: Level, *labels: str) -> Any:
    return moment(level.value(*labels))
