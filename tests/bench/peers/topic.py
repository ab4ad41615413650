"""Owns the topic every engine reads, and the oracle: exact counts of the same events by other code.

Invariant: the events depend on their number alone, so every run of the bench reads the same ones; those of an org
are in one partition, in order of time, with the org's id as key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from tests.bench.ground import load
from tests.bench.small_job import PARTITIONS, generate

Key = tuple[int, int, int]
"""Org, user, week (whole weeks since 1970)."""


async def fill(bootstrap: str, topic: str, events: int, lines: Path) -> None:
    """Write *events* events into *topic*, and the same as lines of JSON into the file *lines*."""
    with lines.open("wb") as file:

        def written() -> Iterator[tuple[str, int, bytes | None, bytes]]:
            for org, value in generate(events):
                file.write(value + b"\n")
                yield topic, org, b"%d" % org, value

        await load(bootstrap, PARTITIONS, written())


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
