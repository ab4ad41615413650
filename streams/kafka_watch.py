"""Owns the knowledge whether Kafka is there: asked in the background, told on /ready and in the metrics.

Invariant: it only looks and says; whoever reads or writes has its own patience, and nothing waits for this but the
start of the worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError

from streams.clock import Clock
from streams.kafka_access import Brokers, aiokafka_options, shown
from streams.kafka_trouble import why_shut
from streams.metrics import Metrics
from streams.task_service import TaskService
from streams.transactions import Transactions

ASK_SECONDS = 3.0
"""How often the cluster is asked while it answers."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 5.0
"""Between two questions while it does not; the pause doubles."""
REQUEST_TIMEOUT_MS = 2_000
PATIENCE_SECONDS = 8.0
"""For one whole question: a frozen broker costs a request's timeout before the next is asked."""
SLOW_COMMIT_SECONDS = 5.0
"""A transaction that takes longer than this shows that Kafka is not well, whatever it answers."""
_TELL_AGAIN_SECONDS = 30.0

_log = structlog.get_logger(__name__)


class KafkaWatch(TaskService):
    """A service: `start` returns when Kafka answers for the first time."""

    def __init__(
        self,
        brokers: Brokers,
        topics: Iterable[str],
        needed_copies: int,
        transactions: Transactions,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Prepare; *needed_copies* is how many in-sync copies of a partition a write takes."""
        self._brokers, self._topics, self._needed = brokers, frozenset(topics), needed_copies
        self._transactions, self._clock, self._metrics = transactions, clock, metrics
        self._client: AIOKafkaClient | None = None
        self._answered = asyncio.Event()
        self._nodes = 0
        self._problem, self._tries = "not asked yet", 0
        self._since, self._told_at = clock.now(), 0.0

    async def start(self) -> None:
        """Begin, and return once Kafka answers."""
        await super().start()
        await self._answered.wait()

    async def stop(self) -> None:
        """End."""
        await super().stop()
        await self._let_go()

    def check(self) -> tuple[str, bool, str]:
        """Return whether Kafka is there; if not, what is wrong and since when."""
        problem = self._problem or self._slow_commit()
        if not problem:
            return "kafka", True, f"{self._nodes} brokers answer"
        if not self._problem:
            return "kafka", False, problem
        since = datetime.fromtimestamp(self._since, UTC).isoformat(timespec="seconds")
        return "kafka", False, f"{problem}, since {since} ({self._tries} tries)"

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            problem = await self._ask()
            self._note(problem, pause)
            up = not problem
            self._metrics.kafka_up.set(int(up and not self._slow_commit()))
            self._metrics.kafka_brokers.set(self._nodes)
            if up:
                pause = FIRST_PAUSE_SECONDS
                self._answered.set()
            await asyncio.sleep(ASK_SECONDS if up else pause)
            if not up:
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _note(self, problem: str, pause_seconds: float) -> None:
        """Keep what was found; say it when it begins, ends, and every half minute in between."""
        began = bool(problem) and (not self._problem or not self._tries)
        if began:
            self._since, self._tries = self._clock.now(), 0
            self._metrics.kafka_outages.add(1)
        if problem:
            self._tries += 1
            self._metrics.kafka_retries.add(1, "look")
            if began or time.monotonic() - self._told_at >= _TELL_AGAIN_SECONDS:
                self._told_at = time.monotonic()
                _log.warning("waiting for Kafka", problem=problem, tries=self._tries, next_try_seconds=pause_seconds)
        elif self._problem and self._tries:
            _log.warning("Kafka is back", away_seconds=round(self._clock.now() - self._since, 1))
            self._tries = 0
        self._problem = problem

    async def _ask(self) -> str:
        """Return what is wrong with the cluster; empty when nothing is."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if self._client is None:
                    self._client = AIOKafkaClient(
                        **aiokafka_options(self._brokers),
                        client_id="orgpulse-watch",
                        request_timeout_ms=REQUEST_TIMEOUT_MS,
                    )
                    await self._client.bootstrap()
                found = await self._client.fetch_all_metadata()
        except (KafkaError, OSError, TimeoutError) as error:
            await self._let_go()
            self._nodes = 0
            trouble = await why_shut(self._brokers, seconds=REQUEST_TIMEOUT_MS / 1000)
            if trouble is not None and not trouble.away:
                return trouble.text
            return f"no broker answers at {shown(self._brokers)} ({type(error).__name__})"
        self._nodes = len(found.brokers())
        return unwritable(found, self._topics, self._needed)

    def _slow_commit(self) -> str:
        """Say which commit takes too long; empty when none does."""
        name, seconds = self._transactions.slowest()
        return f"the commit of {name} takes {seconds:.0f} s by now" if seconds >= SLOW_COMMIT_SECONDS else ""

    async def _let_go(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def unwritable(found: ClusterMetadata, topics: frozenset[str], needed_copies: int) -> str:
    """Say which partitions of *topics* can't be written to; empty when all can. A topic that isn't there has none."""
    headless, short = [], []
    for topic in sorted(topics & found.topics()):
        for number in sorted(found.partitions_for_topic(topic) or ()):
            part = found._partitions[topic][number]
            if part.leader < 0:
                headless.append(f"{topic}-{number}")
            elif len(part.isr) < needed_copies:
                short.append(f"{topic}-{number}")
    if headless:
        return f"{len(headless)} partitions have no leader: {', '.join(headless[:3])}"
    if short:
        return f"{len(short)} partitions have fewer than {needed_copies} copies in sync: {', '.join(short[:3])}"
    return ""
