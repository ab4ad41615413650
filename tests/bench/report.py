"""Times `orgpulse report all` over the base of the known shape, read from a real topic, and the memory it takes.

The base's 206,000 records lie in Kafka, with former rows, tombstones and rows that don't count among them. The
command runs as a process of its own; its time is from start to end, its memory the most it ever held.

    python -m tests.bench.report
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from aiokafka import AIOKafkaProducer

from deploy.local.kafka import LocalKafka
from deploy.local.redis import LocalRedis
from streams.settings import Settings, environment_of, override
from streams.topic_specs import topic_names
from streams.topics import create_topics
from tests.reports.history_base import Base, make, week_rows

MOST_SECONDS, MOST_GIB = 60.0, 2.0


async def fill(settings: Settings, base: Base) -> int:
    """Send the base's rows of weeks; return how many."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.brokers, compression_type="lz4", linger_ms=20, max_batch_size=262_144
    )
    await producer.start()
    topic, count, last = topic_names(settings).weeks, 0, None
    try:
        for key, value in week_rows(base):
            org = key.partition(b"|")[0].partition(b"/")[0]
            last = await producer.send(topic, value, key, partition=zlib.crc32(org) % settings.kafka.partitions)
            count += 1
        await producer.flush()
        if last is not None:
            await last
    finally:
        await producer.stop()
    return count


def main() -> None:
    """Measure and print; end with 1 if it takes more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the report in this folder")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = wanted.out or folder / "report"
        with LocalKafka(folder / "kafka") as kafka, LocalRedis(folder / "redis") as redis:
            settings = override(Settings(), {"kafka.brokers": kafka.bootstrap, "redis.url": redis.url})
            create_topics(settings)
            print(f"{asyncio.run(fill(settings, make())):,} records in Kafka")
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "agents.cli", "report", "all", "--out", str(out)],
                env={**os.environ, **environment_of(settings)}, capture_output=True, text=True,
            )  # fmt: skip
            seconds = time.monotonic() - began
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(done.stderr)
        # The largest of all children so far; the servers are not among them before they end.
        gib = used.ru_maxrss / 2**20
        print(done.stdout[-400:])
        print(f"{seconds:.1f} s ({used.ru_utime - before:.1f} s of processor time), {gib:.2f} GiB at most")
        if seconds > MOST_SECONDS or gib > MOST_GIB:
            raise SystemExit(f"more than {MOST_SECONDS:g} s or {MOST_GIB:g} GiB")


if __name__ == "__main__":
    main()
