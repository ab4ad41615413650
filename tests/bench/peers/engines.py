"""Lists the engines: how each is had, started and read.

Invariant: an engine is an entry here and one job (`jobs/`, `java/`); nothing else knows any of them by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version as installed_version
from pathlib import Path

from tests.bench.peers import check
from tests.bench.peers.install import java_command, java_version, python_of, python_version

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
JVM = ("-Xmx1g", "-XX:+UseG1GC")
FLINK_JVM = (*JVM, "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED")


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine: *command* may install it first, and raises LocalError if it can't be had.

    *ends* says how the end of a run is seen: `offsets` (the group's committed offsets are at the topic's end, looked
    at from outside) or `mark` (the job says so). *settles* names offsets that must be committed before the result is
    read, without their counting. *result* is the topic with the result, `{name}` standing for the job's name and
    `{topic}` for the source; *ours_to_make* whether the bench makes it.
    """

    name: str
    label: str
    version: Callable[[], str]
    command: Callable[[], Sequence[str | Path]]
    result: str
    decode: check.Decode
    ends: str
    state: str
    durable: str
    settles: bool = False
    ours_to_make: bool = True
    part: bool = False
    environment: dict[str, str] = field(default_factory=dict)


_ENGINES = (
    Engine(
        "ours", "orgpulse", lambda: "this tree",
        lambda: [sys.executable, "-m", "tests.bench.peers.jobs.ours"],
        "{name}-counts-changelog", check.text_counts, "offsets",
        "memory, changelog in Kafka, exactly once",
        "the transaction with counts and source offsets is committed",
    ),
    Engine(
        "kafka-streams", "Kafka Streams", lambda: java_version("kafka-streams"),
        lambda: java_command("kafka-streams", JVM),
        "{name}-counts-changelog", check.long_counts, "offsets",
        "RocksDB with cache, changelog in Kafka, exactly once (v2), 2 threads",
        "the transaction with changelog and source offsets is committed", ours_to_make=False,
        environment={"PEERS_THREADS": "2"},
    ),
    Engine(
        "flink", "Flink", lambda: java_version("flink"), lambda: java_command("flink", FLINK_JVM),
        "{name}-result", check.text_counts, "offsets",
        "heap, checkpoints on disk each second, transactional sink, exactly once, parallelism 2",
        "the checkpoint is complete and its source offsets are committed", environment={"PEERS_THREADS": "2"},
    ),
    Engine(
        "pathway", "Pathway", lambda: python_version("pathway"),
        lambda: [python_of("pathway"), HERE / "jobs" / "pathway_flow.py"],
        "{name}-result", check.difference_counts, "mark",
        "memory only (keeping it takes a licence key), at least once out, 2 threads",
        "the run over the topic's content has ended: output sent",
        environment={"PATHWAY_THREADS": "2"},
    ),
    Engine(
        "bytewax", "Bytewax", lambda: python_version("bytewax"),
        lambda: [python_of("bytewax"), HERE / "jobs" / "bytewax_flow.py"],
        "{name}-result", check.text_counts, "mark",
        "memory, snapshots in SQLite each second, at least once out, 2 processes",
        "the flow over the topic's content has ended: output flushed, last snapshot written",
        environment={"PEERS_BYTEWAX_PROCESSES": "2"},
    ),
    Engine(
        "quix", "Quix Streams", lambda: python_version("quix", "quixstreams"),
        lambda: [python_of("quix"), HERE / "jobs" / "quix.py"],
        "changelog__{name}--{topic}--default", check.quix_counts, "offsets",
        "RocksDB, changelog in Kafka, exactly once, checkpoint each second",
        "the transaction with changelog and source offsets is committed", ours_to_make=False,
    ),
    Engine(
        "faust", "Faust (stock)", lambda: installed_version("faust-streaming"),
        lambda: [sys.executable, "-m", "tests.bench.peers.jobs.faust_stock"],
        "{name}-counts-changelog", check.json_key_counts, "mark",
        "memory, changelog in Kafka, at least once",
        "the last event is handled (its changelog and offset follow seconds later, not counted)",
        settles=True, part=True,
    ),
)  # fmt: skip


def _alone(name: str, variable: str) -> Engine:
    """Return the engine *name* with one thread or process instead of two: which is faster is the machine's choice."""
    found = next(engine for engine in _ENGINES if engine.name == name)
    kind = "thread" if "2 threads" in found.state else "process"
    state = found.state.replace("2 threads", "1 thread").replace("2 processes", "1 process")
    return replace(found, name=f"{name}-1", label=f"{found.label}, 1 {kind}", state=state, environment={variable: "1"})


ENGINES = (*_ENGINES, _alone("kafka-streams", "PEERS_THREADS"), _alone("bytewax", "PEERS_BYTEWAX_PROCESSES"))
"""All there are."""
