"""Owns the topic every engine reads, and the oracle: exact counts of the same events by other code.

Invariant: the events depend on their number alone, so every run of the bench reads the same ones; those of an org
are in one partition, in order of time, with the org's id as key.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import duckdb
from aiokafka import AIOKafkaProducer

from tests.bench.small_job import FIRST_SECOND, ORGS, USERS_OF_AN_ORG, WEEK_SECONDS

PARTITIONS = 4
BATCH_BYTES = 1 << 19
Key = tuple[int, int, int]
"""Org, user, week (whole weeks since 1970)."""


def generate(events: int) -> Iterator[tuple[int, bytes]]:
    """Yield (org, JSON) of *events* events of four weeks, in order of time."""
    source = random.Random(7)
    for number in range(events):
        org = source.randrange(ORGS)
        second = FIRST_SECOND + number * 4 * WEEK_SECONDS // events
        yield org, b'{"org_id": %d, "user_id": %d, "time": %d.5, "name": "page_view", "properties": {"path": "/a"}}' % (
            org, source.randrange(USERS_OF_AN_ORG), second,
        )  # fmt: skip


async def fill(bootstrap: str, topic: str, events: int, lines: Path) -> None:
    """Write *events* events into *topic*, and the same as lines of JSON into the file *lines*."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="lz4", max_batch_size=BATCH_BYTES, linger_ms=0
    )
    await producer.start()
    try:
        batches = [producer.create_batch() for _ in range(PARTITIONS)]
        with lines.open("wb") as file:
            for org, value in generate(events):
                file.write(value + b"\n")
                key, partition = b"%d" % org, org % PARTITIONS
                if batches[partition].append(timestamp=None, key=key, value=value) is None:
                    await producer.send_batch(batches[partition], topic, partition=partition)
                    batches[partition] = producer.create_batch()
                    batches[partition].append(timestamp=None, key=key, value=value)
        for partition, batch in enumerate(batches):
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


def oracle(lines: Path) -> dict[Key, int]:
    """Return the counts of the events in *lines* (JSON, one a line), by DuckDB."""
    question = """
        SELECT org_id, user_id, CAST(floor("time" / 604800) AS BIGINT) AS week, count(*)
        FROM read_json(?, format = 'newline_delimited',
                       columns = {'org_id': 'BIGINT', 'user_id': 'BIGINT', 'time': 'DOUBLE'})
        GROUP BY ALL
    """
    with duckdb.connect() as engine:
        rows = engine.execute(question, [str(lines)]).fetchall()
    return {(org, user, week): count for org, user, week, count in rows}
