"""The small job on this project's chunks: one fold, one table write a key, one transaction a chunk.

The job itself is `tests.bench.small_job.run_chunks`, unchanged; only what it does at its end is replaced.
"""

from __future__ import annotations

from tests.bench import small_job
from tests.bench.peers.jobs.marks import BROKER, EVENTS, NAME, TOPIC, mark


def report(events: int, began: float) -> None:
    """Note both moments; the process stays until the bench ends it."""
    mark("began", began)
    mark("ended")


if __name__ == "__main__":
    small_job.report = report
    small_job.run_chunks(BROKER, NAME, TOPIC, EVENTS)
