"""The yardstick of `tests.bench.recovery`: a Faust app as its documentation has it, with one table by user.

Its changelog is filled with one record for each user, which holds what orgpulse keeps of them but for the ids of their
events (that favours the yardstick), in JSON, as tables have it unless told otherwise; then the app starts, with the
store in memory, and says when its table was recovered.

    python -m tests.bench.recovery_stock --bootstrap 127.0.0.1:9092 --users 100000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import faust
import numpy as np
import orjson

from state.week import WEEK_HOURS
from streams.model_file import load_model
from tests.bench.filled import USERS_PER_ORG, measures_of
from tests.bench.ground import load
from tests.streams.kafka_topics import make_topics

FIRST_HOUR = 480_000
_HEAD = "recovered: "


def values(users: int, events: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (user, what is kept of them): activities by hour and measure, first activity, score and contributions."""
    model, rng = load_model(""), np.random.default_rng(5)
    measures, width = measures_of(model), len(model.attributes)
    for user in range(users):
        hours: dict[str, dict[str, int]] = {}
        when = np.sort(rng.integers(WEEK_HOURS, size=events)).tolist()
        what = np.minimum(rng.pareto(0.9, events).astype(np.int64), len(measures) - 1).tolist()
        for hour, measure in zip(when, what, strict=True):
            counts = hours.setdefault(str(FIRST_HOUR + hour), {})
            counts[measures[measure]] = counts.get(measures[measure], 0) + 1
        parts = np.where(rng.random(width) < 0.4, rng.integers(0, 500, width), 0).tolist()
        yield f"o{user // USERS_PER_ORG}/u{user}", {
            "hours": hours, "since": FIRST_HOUR + when[0], "score": sum(parts), "previous": sum(parts) - 7,
            "coverage": 9000, "band": 2, "contributions": parts, "former": parts, "licensed": True,
        }  # fmt: skip


async def fill(bootstrap: str, topic: str, users: int, events: int, partitions: int) -> int:
    """Write the changelog; return its size in bytes."""
    size = 0

    def records() -> Iterator[tuple[str, int, bytes | None, bytes]]:
        nonlocal size
        for number, (user, value) in enumerate(values(users, events)):
            key, raw = orjson.dumps(user), orjson.dumps(value)
            size += len(key) + len(raw)
            yield topic, number, key, raw

    await load(bootstrap, partitions, records())
    return size


def run_app(bootstrap: str, name: str, users: int, partitions: int) -> None:
    """Run the app until its table is recovered, say so, and end the process.

    Raises:
        SystemExit: If not every user is there.
    """
    app = faust.App(
        name, broker=f"kafka://{bootstrap}", store="memory://", topic_partitions=partitions, web_enabled=False,
        datadir=f"/tmp/{name}", topic_disable_leader=True,
    )  # fmt: skip
    states = app.Table("states", default=dict)
    assigned = time.time()

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator,unused-ignore]  # Faust carries no usable types
    async def on_assigned(*_: Any, **__: Any) -> None:
        nonlocal assigned
        assigned = time.time()

    @app.agent(app.topic(f"{name}-events"))  # type: ignore[untyped-decorator,unused-ignore]
    async def count(stream: Any) -> None:
        async for event in stream:
            states[event["user"]] = event

    @states.on_recover  # type: ignore[untyped-decorator,unused-ignore]
    async def recovered() -> None:
        found = {"at": time.time(), "assigned": assigned, "processor": time.process_time(), "users": len(states)}
        os.write(1, (_HEAD + json.dumps(found) + "\n").encode())  # a Faust worker redirects print into its log
        os._exit(0 if len(states) == users else 1)

    faust.Worker(app, loglevel="error").execute_from_commandline()


def measure(bootstrap: str, users: int, events: int, partitions: int) -> dict[str, float]:
    """Return seconds from the process's start and from the assignment, processor seconds, and bytes a user."""
    name = f"stock-{uuid.uuid4().hex[:6]}"
    changelog = f"{name}-states-changelog"
    asyncio.run(make_topics(bootstrap, [changelog, f"{name}-events"], partitions))
    size = asyncio.run(fill(bootstrap, changelog, users, events, partitions))
    command = [sys.executable, "-m", "tests.bench.recovery_stock", "--bootstrap", bootstrap, "--users", str(users)]
    command += ["--partitions", str(partitions)]
    began = time.time()
    done = subprocess.run([*command, "--name", name], stdout=subprocess.PIPE, text=True, check=True, timeout=3600)
    found = json.loads(done.stdout.rpartition(_HEAD)[2])  # Faust writes to the terminal before it
    return {
        "users": found["users"],
        "from_start_seconds": found["at"] - began,
        "from_assignment_seconds": found["at"] - found["assigned"],
        "processor_seconds": found["processor"],
        "changelog_bytes_per_user": size / users,
    }


def main() -> None:
    """Run the app, or measure it and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=12, help="activities of a user in the week")
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.name:
        run_app(wanted.bootstrap, wanted.name, wanted.users, wanted.partitions)
        return
    print(json.dumps(measure(wanted.bootstrap, wanted.users, wanted.events, wanted.partitions)))


if __name__ == "__main__":
    main()
