"""Times how long a worker takes until it is ready again, with the states of many users, beside a stock Faust table.

One worker owns all partitions. Its state is that of *users* users with a week of activities in 32
measures: records went through the real state machine, into `activities`, and checkpoints into the changelog, in the
transactions that carry the offsets (*checkpoints* of them, so that the changelog holds what the later ones overwrote).
The worker starts for the first time, which also tells everything to an empty Redis; is stopped; and starts again as
often as wanted. Timed is each start until `/ready` answers 200, from the process's start and from the assignment, with
the processor time used until then; the first one also until Redis was told everything. What the worker shows and Redis
holds is compared with the shards that were filled.

Goals: 1,000,000 users in at most 20 seconds, and at least 5 times as fast as a stock table of the same content.

    python -m tests.bench.recovery --users 100000 --stock-users 50000
    python -m tests.bench.recovery --users 1000000 --starts 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis

from deploy.local.ports import free_ports
from state.activity import SEPARATOR
from state.health import BAND_NAMES
from state.shard import Shard
from streams.model_file import load_model
from streams.settings import environment_of, override
from tests.bench.filled import active_bands, fill_system, scores_of
from tests.bench.ground import Ground, ground, is_ready, run, scrape
from tests.bench.recovery_stock import measure as measure_stock

GOAL_SECONDS, GOAL_USERS, GOAL_RATIO = 20.0, 1_000_000, 5.0
PATIENCE_SECONDS = 3600.0
SAMPLE = 200
_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(process: int) -> float:
    """Return how much processor time a running process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_bytes(process: int) -> int:
    """Return the most memory a running process has had."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


class OneWorker:
    """A worker process of the system, started and looked at."""

    def __init__(self, place: Ground) -> None:
        self.port = free_ports(1)[0]
        settings = override(place.settings, {"worker.name": "w0", "web.port": self.port})
        self.log = place.directory / "worker.log"
        self.began = time.perf_counter()
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "agents.cli", "worker"]
            environment = {**os.environ, **environment_of(settings)}
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def until_ready(self) -> dict[str, float]:
        """Wait until it is ready; return how long that took."""
        self._until(lambda: is_ready(self.port))
        seconds = time.perf_counter() - self.began
        figures = {"from_start_seconds": seconds, "processor_seconds": processor_seconds(self.process.pid)}
        while not (recovered := self.metric("orgpulse_recovery_duration_seconds")):
            time.sleep(0.1)
        return figures | {"from_assignment_seconds": recovered, "peak_bytes": peak_bytes(self.process.pid)}

    def until_told(self) -> float:
        """Wait until Redis was told everything; return the seconds since the process's start."""
        self._until(
            lambda: not self.metric("orgpulse_redis_pending_writes")
            and self.metric("orgpulse_redis_resync_ratio") == 1
        )  # fmt: skip
        return time.perf_counter() - self.began

    def metric(self, name: str, label: str = "") -> float:
        """Return the sum of a metric's samples that have *label* in them."""
        return sum(v for key, v in scrape(self.port).items() if key.split("{")[0] == name and label in key)

    def stop(self) -> None:
        """Stop it as an operator does; one that has nothing to wait for ends when it likes."""
        self.process.terminate()
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._holds(condition):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    "\n".join(["the worker did not get there:", *self.log.read_text().splitlines()[-8:]])
                )
            time.sleep(0.05)

    def _holds(self, condition: Callable[[], bool]) -> bool:
        try:
            return condition()
        except OSError:
            return False  # it is too busy to answer, or begins anew; what the log says of that is looked at below


def check_ready(worker: OneWorker, expected: dict[str, int], users: int) -> None:
    """Check that a worker that is ready shows every user; after a tick some may be in another band.

    Raises:
        SystemExit: If it does not: then no time counts.
    """
    found = {name: int(worker.metric("orgpulse_users_by_band", f'"{name}"')) for name in BAND_NAMES}
    if sum(found.values()) != users or sum(expected.values()) != users:
        raise SystemExit(f"{users:,} users were filled in as {expected}, and the worker shows {found}")


def check_redis(place: Ground, shards: Sequence[Shard], users: int) -> None:
    """Compare what a worker told Redis with the shards that were filled.

    Raises:
        SystemExit: If anything differs: then no time counts.
    """
    prefix = place.settings.redis.prefix
    store: Any = redis.Redis.from_url(place.settings.redis.url, decode_responses=True)
    held = sum(1 for _ in store.scan_iter(f"{prefix}user:*", count=10_000))
    if held != users:
        raise SystemExit(f"Redis holds {held:,} users instead of {users:,}")
    for shard in shards:
        slots = np.flatnonzero(shard.board.have_documents())
        for subject, score in scores_of(shard, slots[:: max(1, len(slots) // SAMPLE)]).items():
            org, user = subject.split(SEPARATOR)
            shown, position = store.hmget(f"{prefix}user:{{{org}}}:{user}", "score", "fence")
            if int(position.rpartition(".")[2]) == shard.position and round(float(shown) * 100) != score:
                raise SystemExit(f"{org}/{user} has {shown} in Redis and {score / 100} in the shard")
    store.close()


def measure(
    place: Ground, users: int, events: int, starts: int, checkpoints: int, *, told: bool
) -> list[dict[str, float]]:
    """Return the figures of each start; with *told* also those of the first until Redis was told everything."""
    shards: list[Shard] = run(
        fill_system(place.settings, load_model(""), users, events, checkpoints, lambda text: print(text, flush=True))
    )
    found, expected = [], active_bands(shards)
    for number in range(starts):
        worker = OneWorker(place)
        try:
            figures = worker.until_ready()
            check_ready(worker, expected, users)
            if told and not number:
                figures["told_seconds"] = worker.until_told()
                figures["processor_seconds_told"] = processor_seconds(worker.process.pid)
                check_redis(place, shards, users)
            shards = []  # the worker goes on from them; and their memory is wanted
        finally:
            worker.stop()
        print(f"start {number + 1}: " + ", ".join(f"{k} {v:,.2f}" for k, v in figures.items()), flush=True)
        found.append(figures)
    return found


def scaled(stock: list[dict[str, float]], name: str, users: int) -> float:
    """Return a figure of the yardstick at *users* users: on the line through two sizes, so that its start counts once.

    >>> scaled([{"users": 10, "s": 4.0}, {"users": 100, "s": 13.0}], "s", 1000)
    103.0
    """
    if not stock:
        return float("nan")
    last = stock[-1]
    if len(stock) == 1:
        return last[name]
    slope = (last[name] - stock[0][name]) / (last["users"] - stock[0]["users"])
    return last[name] + slope * (users - last["users"])


def table(ours: list[dict[str, float]], stock: list[dict[str, float]], users: int) -> dict[str, Any]:
    """Print the figures and goals, and return them."""
    again = ours[1:] or ours  # as the goal says: stopped, and started again
    best = min(again, key=lambda figures: figures["from_start_seconds"])
    names = ("from_start_seconds", "from_assignment_seconds", "processor_seconds")
    print(f"{'':28}{'orgpulse':>14}{'stock Faust':>14}{'ratio':>9}")
    ratios = {}
    for name in names:
        theirs = scaled(stock, name, users)
        ratios[name] = theirs / best[name]
        print(f"{name.replace('_', ' '):28}{best[name]:14.1f}{theirs:14.1f}{ratios[name]:9.1f}")
    if len(stock) > 1:
        sizes = " and ".join(f"{each['users']:,.0f}" for each in stock)
        print(f"stock Faust: {sizes} users were recovered; its times at {users:,} are on the line through both")
    ratio = ratios["from_start_seconds"]
    seconds = best["from_start_seconds"]
    if users == GOAL_USERS:
        for what, met in (
            (f"at most {GOAL_SECONDS:.0f} s until ready: {seconds:.1f} s", seconds <= GOAL_SECONDS),
            (f"at least {GOAL_RATIO:.0f} × stock: {ratio:.1f} ×", ratio >= GOAL_RATIO or not stock),
        ):
            print(f"goal: {what}, {'met' if met else 'missed'}")
    else:
        print(f"the goals are of {GOAL_USERS:,} users; with few of them a start is mostly a process that begins")
    return {"users": users, "starts": ours, "stock": stock, "ratio": ratio if stock else None}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--redis")
    parser.add_argument("--users", type=int, default=GOAL_USERS)
    parser.add_argument("--events", type=int, default=12, help="activities of a user in the week")
    parser.add_argument("--partitions", type=int, default=12, help="of both; 12 is what a million users want")
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument(
        "--checkpoints", type=int, default=3, help="that the changelog holds, the later over the former"
    )
    parser.add_argument(
        "--no-told", dest="told", action="store_false", help="don't wait until Redis was told everything"
    )
    parser.add_argument("--stock-users", type=int, default=200_000, help="users of the stock table, 0 = leave it out")
    wanted = parser.parse_args()
    with ground(wanted.brokers, wanted.redis, {"kafka.partitions": wanted.partitions}) as place:
        ours = measure(place, wanted.users, wanted.events, wanted.starts, wanted.checkpoints, told=wanted.told)
        theirs = []
        if wanted.stock_users:
            most = min(wanted.stock_users, wanted.users)
            for count in [most] if most == wanted.users else [most // 10, most]:
                found = measure_stock(place.settings.kafka.brokers, count, wanted.events, wanted.partitions)
                print("stock Faust: " + ", ".join(f"{k} {v:,.2f}" for k, v in found.items()), flush=True)
                theirs.append(found)
    print(json.dumps(table(ours, theirs, wanted.users)))


if __name__ == "__main__":
    main()
