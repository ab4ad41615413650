"""Measures one small job twice: as Faust's documentation writes it, and on the chunk transport.

The job: count events per organisation, user and week, in a table with a changelog.
Both read the same topic from its beginning and are timed from their first event to
their last; for the chunk transport the last commit is included.

    python -m tests.bench.small_job --events 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import faust
import msgspec

from deploy.local.kafka import LocalKafka
from streams.chunks import Outcome, add_chunk_agent
from streams.faust_app import make_app, run_worker
from streams.tables import ChunkTable
from streams.transport import Chunk
from tests.bench.ground import load
from tests.streams.kafka_topics import make_topics

PARTITIONS = 4
ORGS, USERS_OF_AN_ORG = 50, 70
WEEK_SECONDS = 7 * 24 * 3600
FIRST_SECOND = 1_700_000_000


class Event(faust.Record, serializer="json"):
    """An event as the vanilla app sees it."""

    org_id: int
    user_id: int
    time: float


class Row(msgspec.Struct):
    """An event as the chunk job sees it."""

    org_id: int
    user_id: int
    time: float


def report(events: int, began: float) -> None:
    """Print the outcome and end the process; how long a worker takes to stop is not the question."""
    line = json.dumps({"events": events, "seconds": time.perf_counter() - began})
    os.write(1, line.encode() + b"\n")  # a Faust worker redirects print into its log
    os._exit(0)


def run_vanilla(bootstrap: str, name: str, topic: str, events: int) -> None:
    """Run the documented form: one table write an event."""
    app = faust.App(
        name, broker=f"kafka://{bootstrap}", store="memory://", topic_partitions=PARTITIONS, web_port=16066,
        datadir=f"/tmp/{name}", topic_disable_leader=True,
    )  # fmt: skip
    counts = app.Table("counts", default=int)
    seen, began = 0, 0.0

    @app.agent(app.topic(topic, value_type=Event))
    async def count(stream: Any) -> None:
        nonlocal seen, began
        async for event in stream:
            began = began or time.perf_counter()
            counts[f"{event.org_id}/{event.user_id}/{int(event.time) // WEEK_SECONDS}"] += 1
            seen += 1
            if seen == events:
                report(seen, began)

    faust.Worker(app, loglevel="error").execute_from_commandline()


def run_chunks(bootstrap: str, name: str, topic: str, events: int) -> None:
    """Run the same on chunks: one fold, one table write a key, one transaction a chunk."""
    app = make_app(name, bootstrap, partitions=PARTITIONS)
    table = ChunkTable(app, name="counts", partitions=PARTITIONS)
    app.tables.add(table)
    decode = msgspec.json.Decoder(Row).decode
    done, began = 0, 0.0

    def fold(chunk: Chunk) -> Outcome:
        nonlocal began
        began = began or time.perf_counter()
        rows = [decode(record.value) for record in chunk.records]
        found = Counter([(row.org_id, row.user_id, int(row.time) // WEEK_SECONDS) for row in rows])
        partition, records = chunk.tp.partition, []
        for parts, count in found.items():
            key = b"%d/%d/%d" % parts
            records.append(table.stage(partition, key, b"%d" % (int(table.read(partition, key) or 0) + count)))

        def committed() -> None:
            nonlocal done
            done += len(rows)
            if done == events:
                report(done, began)

        return Outcome(records, chunk.next_offset, committed)

    add_chunk_agent(app, topic, fold, name="count")
    sys.exit(run_worker(app))


def generate(events: int) -> Iterator[tuple[int, bytes]]:
    """Yield (org, JSON) of *events* events of four weeks, in order of time."""
    source = random.Random(7)
    for number in range(events):
        org = source.randrange(ORGS)
        second = FIRST_SECOND + number * 4 * WEEK_SECONDS // events
        yield org, b'{"org_id": %d, "user_id": %d, "time": %d.5, "name": "page_view", "properties": {"path": "/a"}}' % (
            org, source.randrange(USERS_OF_AN_ORG), second,
        )  # fmt: skip


async def fill(bootstrap: str, topic: str, events: int) -> None:
    """Write *events* events, those of an org into one partition."""
    await load(bootstrap, PARTITIONS, ((topic, org, None, value) for org, value in generate(events)))


def measure(bootstrap: str, job: str, events: int) -> float:
    """Return events per second of *job* over a fresh topic."""
    name = f"bench-{job}-{uuid.uuid4().hex[:6]}"
    asyncio.run(make_topics(bootstrap, [f"{name}-events", f"{name}-counts-changelog"], PARTITIONS))
    asyncio.run(fill(bootstrap, f"{name}-events", events))
    command = [sys.executable, "-m", "tests.bench.small_job", "--bootstrap", bootstrap, "--events", str(events)]
    done = subprocess.run(
        [*command, "--job", job, "--name", name], stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    outcome = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    return float(outcome["events"] / outcome["seconds"])


def main() -> None:
    """Measure both jobs and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", help="an existing broker; without it one is started")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--vanilla-events", type=int, default=20_000)
    parser.add_argument("--job", choices=["vanilla", "chunks"])
    parser.add_argument("--name")
    args = parser.parse_args()
    if args.job:
        run = run_vanilla if args.job == "vanilla" else run_chunks
        run(args.bootstrap, args.name, f"{args.name}-events", args.events)
        return
    with ExitStack() as stack:
        if args.bootstrap is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orgpulse-bench-")))
            args.bootstrap = stack.enter_context(LocalKafka(directory, heap_mb=1024)).bootstrap
        vanilla = measure(args.bootstrap, "vanilla", args.vanilla_events)
        chunks = measure(args.bootstrap, "chunks", args.events)
    print(f"{'job':<10}{'events':>12}{'events/s':>12}")
    print(f"{'vanilla':<10}{args.vanilla_events:>12,}{vanilla:>12,.0f}")
    print(f"{'chunks':<10}{args.events:>12,}{chunks:>12,.0f}")
    print(f"{'ratio':<10}{'':>12}{chunks / vanilla:>12,.1f}")
    print(json.dumps({"vanilla": round(vanilla), "chunks": round(chunks), "ratio": round(chunks / vanilla, 1)}))


if __name__ == "__main__":
    main()
