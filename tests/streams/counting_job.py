"""The job that the transport's tests run: count values by partition in a table, in transactions.

Run as a module it is a worker process: `counting_job.py '{"app_id": …}'`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from faust.types import TP

from streams import restart
from streams.chunks import Outcome, add_chunk_agent
from streams.clock import WallClock
from streams.errors import OperatorError, StartAnewError
from streams.faust_app import ChunkApp, make_app, run_worker
from streams.restart import Restarts
from streams.tables import ChunkTable
from streams.transactions import TransactionSettings
from streams.transport import Chunk

#: Short, so that a killed or sleeping member is given up within a test's patience (seconds).
SESSION_SECONDS = 6.0


#: What to raise, by name.
FAILURES: dict[str, Callable[[str], Exception]] = {
    "": ValueError,
    "operator": lambda text: OperatorError(text, "Look into the chunk."),
    "anew": StartAnewError,
}


class CountingJob:
    """Counts how often each value came."""

    def __init__(self, app_id: str, bootstrap: str, topic: str, partitions: int, **options: Any) -> None:
        self.slow_seconds = float(options.pop("slow_seconds", 0.0))
        #: Raise when the chunk with this number (from 1) comes; 0 means never.
        self.fail_at = int(options.pop("fail_at", 0))
        #: What to raise then.
        self.failure = FAILURES[options.pop("failure", "")]
        origins = bool(options.pop("origins", False))
        transactions = TransactionSettings(**options.pop("transactions", {}))
        options.setdefault("session_timeout_seconds", SESSION_SECONDS)
        options.setdefault("drain_seconds", 10.0)
        self.app: ChunkApp = make_app(
            app_id,
            bootstrap,
            partitions=partitions,
            heartbeat_seconds=1.0,
            rebalance_timeout_seconds=20.0,
            transactions=transactions,
            **options,
        )
        self.table = ChunkTable(self.app, name="counts", partitions=partitions)
        self.app.tables.add(self.table)
        if origins:
            self.app.remember_origins()
        self.chunks: list[Chunk] = []
        add_chunk_agent(self.app, topic, lambda chunk: self.handle(chunk), name="count")

    async def handle(self, chunk: Chunk) -> Outcome | None:
        """Fold one chunk."""
        self.chunks.append(chunk)
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        if len(self.chunks) == self.fail_at:
            raise self.failure("the handler does not like this chunk")
        partition = chunk.tp.partition
        records = []
        for value, count in Counter(record.value for record in chunk.records).items():
            before = int(self.table.read(partition, value) or 0)
            records.append(self.table.stage(partition, value, b"%d" % (before + count)))
        return Outcome(records, chunk.next_offset)

    def totals(self) -> Counter[bytes]:
        """Return the counts of all partitions held in memory."""
        totals: Counter[bytes] = Counter()
        for partition in range(self.app.partitions):
            for key, value in self.table.items(partition):
                totals[key] += int(value)
        return totals


async def eventually(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    """Return as soon as *holds()*; fail when it does not within *seconds*."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(job: CountingJob) -> AsyncIterator[ChunkApp]:
    """Start the job's app, wait until chunks flow, and stop it afterwards, unless it failed by then."""
    starting = asyncio.create_task(job.app.start())
    try:
        await eventually(lambda: job.app.flowing or job.app.failure is not None)
        yield job.app
    finally:
        await job.app.stop()
        starting.cancel()


async def say_ready(_: frozenset[TP]) -> None:
    """Tell the parent process, at each recovery's end."""
    print("ready", flush=True)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    longest_pause = given.pop("restart_pause_seconds", None)
    failing_lives = given.pop("failing_lives", 1_000)
    restart.FIRST_PAUSE_SECONDS = given.pop("first_pause_seconds", restart.FIRST_PAUSE_SECONDS)
    restarts = Restarts(WallClock(), longest_pause or 0.0)
    print(f"life {restarts.life.restarts}", file=sys.stderr, flush=True)
    if restarts.life.restarts >= failing_lives:
        given["fail_at"] = 0
    job = CountingJob(**given)
    job.app.on_recovered = say_ready
    sys.exit(run_worker(job.app, [restarts], restarts if longest_pause is not None else None))
