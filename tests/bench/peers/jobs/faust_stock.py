"""The small job as Faust's documentation writes it: one table write an event, a changelog record for each."""

from __future__ import annotations

from typing import Any

import faust

from tests.bench.peers.jobs.marks import BROKER, EVENTS, FOLDER, NAME, PARTITIONS, TOPIC, WEEK_SECONDS, mark
from tests.bench.small_job import Event


def main() -> None:
    """Run the worker until the bench ends it."""
    app = faust.App(
        NAME, broker=f"kafka://{BROKER}", store="memory://", topic_partitions=PARTITIONS, web_enabled=False,
        datadir=str(FOLDER / "data"), topic_disable_leader=True,
    )  # fmt: skip
    counts = app.Table("counts", default=int)
    seen = 0

    @app.agent(app.topic(TOPIC, value_type=Event))
    async def count(stream: Any) -> None:
        nonlocal seen
        async for event in stream:
            if not seen:
                mark("began")
            counts[f"{event.org_id}/{event.user_id}/{int(event.time) // WEEK_SECONDS}"] += 1
            seen += 1
            if seen == EVENTS:
                mark("ended")

    faust.Worker(app, loglevel="error").execute_from_commandline()


if __name__ == "__main__":
    main()
