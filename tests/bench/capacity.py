"""Says what a load takes: workers, partitions, memory, brokers, Redis, series, recovery; from figures of one core.

Nothing is measured here. Each figure is an option, whose help names the command that measures it; the defaults are
those of 2 cores that ran everything (docs/capacity.md). Run these commands on your machines, give what they say, and
the table is yours. `--formulas` prints how each line is worked out.

    python -m tests.bench.capacity --events-per-second 1e6 --users 1e8
    python -m tests.bench.capacity --events-per-second 5000 --users 200000 --orgs 2000 --tick-seconds 1
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

MOST_PARTITIONS = 1024


def _of(default: float, measured_by: str) -> Any:
    return field(default=default, metadata={"help": measured_by})


@dataclass(frozen=True)
class Figures:
    """What one core does, and what one of each thing takes."""

    events_per_core: float = _of(
        75_000, "events a second of the full pipeline per core, as a backlog: `full_pipeline --workers 1`"
    )
    document_microseconds: float = _of(
        55, "processor time of a worker for a changed score: told, spelled, packed, sent: `shard_ticks`, `redis_writes`"
    )
    redis_microseconds: float = _of(20, "processor time of Redis for a score: `redis_writes`")
    redis_bytes: float = _of(2_400, "memory of Redis for a user: `redis_writes`")
    user_bytes: float = _of(1_900, "resident memory for an active user: `memory`")
    id_bytes: float = _of(27, "memory for an event id within the allowed lateness: 18 to 36, state/dedupe.py")
    directory_bytes: float = _of(3_100, "memory for a user of the directory, on every worker: `directory`")
    directory_microseconds: float = _of(40, "processor time to read a user of the directory: `directory`")
    recovery_microseconds: float = _of(12, "processor time to recover a user's state: `recovery`")
    checkpoint_bytes: float = _of(700, "size of a user's part of a checkpoint: `recovery`, `memory`")
    changelog_bytes: float = _of(108, "bytes of checkpoints for an event: `live_latency --checkpoint-seconds 60`")
    raw_bytes: float = _of(120, "bytes of a raw message before compression: yours")
    activity_bytes: float = _of(30, "bytes of an event in the log `activities`: `live_latency`")
    document_bytes: float = _of(1_300, "bytes of a score's document in the topic `scores`, before compression")
    compression: float = _of(3.0, "by which lz4 makes batches smaller: yours")
    commit_seconds: float = _of(0.15, "a commit with 16 source partitions on two workers: `live_latency`")
    most_ids: float = _of(1e9, "event ids of a partition at most: the limit of `dedupe.max_ids`")
    process_bytes: float = _of(600e6, "a worker's libraries, and its buffers while a backlog is worked off")


@dataclass(frozen=True)
class Load:
    """What is to be carried."""

    events_per_second: float = 1e6
    users: float = 1e8
    orgs: float = 0  # 0 = one for 50 users
    active: float = 1.0  # share of users with an event within the rolling week
    listed: float = 1.0  # share of users who are in the directory
    tick_seconds: float = 60.0
    lateness_hours: float = 24.0
    worker_bytes: float = 32e9
    redis_shard_bytes: float = 24e9
    broker_bytes_per_second: float = 100e6
    replication: int = 3
    most_users_per_partition: float = 80_000
    use: float = 0.6  # share of a core that is planned with
    start_seconds: float = 120.0  # how long a start may take


@dataclass(frozen=True)
class Line:
    """One line of the table: what, how much of it, and how that was worked out."""

    what: str
    value: float
    unit: str
    formula: str


def plan(load: Load, one: Figures) -> list[Line]:
    """Return what *load* takes if cores do as *one* says."""
    found: list[Line] = []

    def add(what: str, value: float, unit: str, formula: str) -> float:
        found.append(Line(what, value, unit, formula))
        return value

    active = load.users * load.active
    orgs = load.orgs or load.users / 50
    per_tick = load.events_per_second * load.tick_seconds
    touched = active * -math.expm1(-per_tick / active)
    documents = add(
        "changed scores", touched / load.tick_seconds, "/s",
        "active users touched in a tick, if events fall evenly: A (1 − e^(−rate × tick ÷ A)) ÷ tick",
    )  # fmt: skip
    ingest = add(
        "cores to take in and fold", load.events_per_second / one.events_per_core, "", "rate ÷ events_per_core"
    )
    telling = add("cores to tell scores", documents * one.document_microseconds / 1e6, "", "changed × document time")
    hourly = add("cores to score all each hour", active * 1.1e-6 / 3600, "", "1.1 s for 1,000,000 users (`scoring`)")
    by_cores = (ingest + telling + hourly) / load.use
    ids = load.events_per_second * load.lateness_hours * 3600 * one.id_bytes
    state = add(
        "state in workers", (active * one.user_bytes + ids) / 1e9, "GB",
        "active × user_bytes + rate × lateness × id_bytes",
    )  # fmt: skip
    add("  of it ids of events", ids / 1e9, "GB", "rate × lateness × id_bytes")
    copy = add("directory in each worker", load.users * load.listed * one.directory_bytes / 1e9, "GB", "listed × bytes")
    room = load.worker_bytes - one.process_bytes
    fits = room - copy * 1e9
    by_memory = state * 1e9 / (fits if fits > 0 else room)
    workers = add(
        "workers", math.ceil(max(by_cores, by_memory, 1)), "",
        "the larger of cores ÷ use and state ÷ (memory of a worker − libraries − directory)",
    )  # fmt: skip
    add("  by processor", math.ceil(by_cores), "", "cores ÷ use")
    add(
        "  by memory",
        math.ceil(by_memory),
        "",
        "state ÷ memory that is left; without the directory where it does not fit",
    )
    partitions = add(
        "partitions", math.ceil(max(2 * workers, active / load.most_users_per_partition)), "",
        "twice the workers; at most so many users that a tick's documents go out within the transaction's time",
    )  # fmt: skip
    add(
        "event ids a partition",
        load.events_per_second * load.lateness_hours * 3600 / partitions,
        "",
        "`dedupe.max_ids`",
    )
    add("transactions", 6 * partitions / max(load.tick_seconds, 1), "/s", "6 logs a partition, one commit a tick each")
    written = (one.raw_bytes + one.activity_bytes + one.changelog_bytes) * load.events_per_second
    written += documents * one.document_bytes
    broker = add(
        "written to brokers", written / one.compression * load.replication / 1e6, "MB/s",
        "(raw + activities + changelog) × rate + documents, compressed, each copy",
    )  # fmt: skip
    add(
        "brokers", math.ceil(broker * 1e6 / load.broker_bytes_per_second / load.use), "", "÷ what a broker writes ÷ use"
    )
    add("changelog to read at most", active * one.checkpoint_bytes * 1.5 / 1e9, "GB", "active × checkpoint_bytes × 1.5")
    memory = add("Redis memory", (active * one.redis_bytes + orgs * 17e3) / 1e9, "GB", "active × bytes + orgs × 17 KB")
    by_writes = documents * one.redis_microseconds / 1e6 / load.use
    add(
        "Redis shards", math.ceil(max(memory * 1e9 / load.redis_shard_bytes, by_writes)), "",
        "the larger of memory ÷ that of a shard and changed scores × time of one ÷ use",
    )  # fmt: skip
    add("  by writes", math.ceil(by_writes), "", "changed × redis time ÷ use")
    add("Prometheus series", workers * 11_000 + partitions * 40, "", "11,000 a worker with 50 orgs, 40 a partition")
    mine = active / workers
    add(
        "recovery of one worker's share", 3 + mine * one.recovery_microseconds / 1e6, "s", "3 s + users × recovery time"
    )
    add(
        "start with the directory", 3 + load.users * load.listed * one.directory_microseconds / 1e6, "s",
        "3 s + listed × directory time; every worker, whatever its share",
    )  # fmt: skip
    return found


def breaks(load: Load, one: Figures) -> list[tuple[float, str]]:
    """Return (by how much it is overdrawn, what) of everything that one installation can't give, the worst first."""
    found = {line.what: line.value for line in plan(load, one)}
    room = load.worker_bytes - one.process_bytes
    limits = [
        (
            found["directory in each worker"] * 1e9 / room,
            "the memory of a worker: each keeps the whole directory",
        ),
        (
            found["start with the directory"] / load.start_seconds,
            "the time of a start: each worker reads the whole directory before it is ready",
        ),
        (found["Redis shards"], "one Redis: workers write to a single primary, not to a cluster"),
        (found["partitions"] / MOST_PARTITIONS, f"partitions: `kafka.partitions` goes to {MOST_PARTITIONS:,}"),
        (
            found["event ids a partition"] / one.most_ids,
            "event ids: lower `time.allowed_lateness_hours`",
        ),
    ]
    return sorted([each for each in limits if each[0] > 1], reverse=True)


def _text(line: Line) -> str:
    number = f"{line.value:,.0f}" if line.value >= 100 or line.value == int(line.value) else f"{line.value:,.2f}"
    return f"{number} {line.unit}".rstrip()


def main() -> None:
    """Work it out and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole: Callable[[str], int] = lambda text: int(float(text))  # noqa: E731  # 1e6 is a number too
    for kind, title in ((Load, "the load"), (Figures, "figures, with the command `python -m tests.bench.…`")):
        group = parser.add_argument_group(title)
        for each in fields(kind):
            group.add_argument(
                "--" + each.name.replace("_", "-"), type=whole if each.type == "int" else float, default=each.default,
                metavar="N", help=each.metadata.get("help", "").replace("%", "%%") + f" ({each.default:,})",
            )  # fmt: skip
    parser.add_argument("--formulas", action="store_true", help="say how each line is worked out")
    wanted = vars(parser.parse_args())
    load, one = (kind(**{each.name: wanted[each.name] for each in fields(kind)}) for kind in (Load, Figures))
    if load.events_per_second <= 0 or load.users <= 0 or load.active <= 0 or load.tick_seconds <= 0:
        parser.error("rate, users, their active share and the tick must be above zero")
    lines = plan(load, one)
    print(f"{load.events_per_second:,.0f} events/s, {load.users:,.0f} users, a tick every {load.tick_seconds:g} s\n")
    for line in lines:
        print(f"{line.what:32}{_text(line):>16}" + (f"   {line.formula}" if wanted["formulas"] else ""))
    over = breaks(load, one)
    print("\nwhat breaks first, second, …" if over else "\nnothing breaks: one installation carries that")
    for times, what in over:
        print(f"  {times:8,.1f} × what there is: {what}")
    print(json.dumps({"load": asdict(load), "plan": {line.what.strip(): line.value for line in lines}}))


if __name__ == "__main__":
    main()
