"""Hours of load with a fault every few minutes: memory and file descriptors stay flat, and every figure is right.

Three workers: two are killed, renewed and cut off from Redis and Kafka, the third lives through it all, and its memory
and file descriptors are looked at. Messages come at a steady rate, half a year of them; in the end everything that is
shown and kept is compared with the independent recount.

    python -m tests.faults.soak --minutes 45 --rate 1000
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from deploy.local.kafka import LocalKafka
from reports.collect import read_metrics
from tests.faults import proof
from tests.faults.every_fault import Faults
from tests.faults.redis_faults import HarmedRedis, broken_chains
from tests.faults.system import Size, System

WEEKS = 24
"""So many that everything has reached its horizon before memory is looked at: ids and late data are kept for eight
weeks, closing scores for nine, messages that wait for a reply for four."""
MESSAGES_OF_A_USER = 384
"""About so many does the simulation send in `WEEKS` weeks."""
PACE = {
    "kafka.session_timeout_seconds": 10.0,
    "kafka.transaction_timeout_seconds": 10.0,
    "calibration.every_seconds": 60.0,
    "checkpoint.every_seconds": 60.0,
    "latency.reply_horizon_days": 28,
}
"""As shipped, but for cut points and checkpoints, which come oftener (tests that are soon over hurry far more), and for
the horizon of replies, which is two years."""
SURVIVOR = 2
SETTLED_SHARE = 0.4
"""Of the run: before that, tables and caches fill."""
MINUTES_TO_SETTLE = 30.0
"""A shorter run says nothing of what memory does in the long run."""
_LOOK_SECONDS = 2.0
_MB = 1 << 20


class Watch(threading.Thread):
    """Looks at the memory (bytes) and the open files of processes until it is told to end."""

    def __init__(self, pids: dict[str, int]) -> None:
        super().__init__(name="watch", daemon=True)
        self._pids, self._over = pids, threading.Event()
        self.began = time.monotonic()
        self.seen: dict[str, list[tuple[float, int, int]]] = {name: [] for name in pids}

    def run(self) -> None:
        """Look."""
        while not self._over.wait(_LOOK_SECONDS):
            at = time.monotonic() - self.began
            for name, pid in self._pids.items():
                with contextlib.suppress(FileNotFoundError):  # it has ended, which `survived` tells
                    self.seen[name].append((at, _resident_bytes(pid), len(list(Path(f"/proc/{pid}/fd").iterdir()))))

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()

    def slopes(self, name: str) -> dict[str, float]:
        """Return what memory (MB) and files did in an hour once settled, by a line of least squares, and their last."""
        at, memory, files = np.array(self.seen[name], float).T
        settled = at >= SETTLED_SHARE * at[-1]
        hours = at[settled] / 3600
        return {
            "mb": round(float(memory[-1]) / _MB, 1),
            "mb_an_hour": round(float(np.polyfit(hours, memory[settled] / _MB, 1)[0]), 2),
            "files": float(files[-1]),
            "files_an_hour": round(float(np.polyfit(hours, files[settled], 1)[0]), 2),
        }


def anew(system: System) -> float:
    """Return how often the survivor has begun anew by itself; -1 while it does not answer."""
    try:
        page = read_metrics(f"http://127.0.0.1:{system.workers.port(SURVIVOR)}/metrics", ("orgpulse_restarts",))
    except OSError:
        return -1.0
    return sum(page.get("orgpulse_restarts_total", {}).values())


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def soak(directory: Path, minutes: float, rate: float, fault_seconds: float) -> dict[str, Any]:
    """Run it; return what was done and seen."""
    seconds = minutes * 60
    users = max(100, int(rate * seconds / MESSAGES_OF_A_USER))
    size = Size(max(20, users // 25), users, WEEKS)
    with ExitStack() as stack:
        kafka = stack.enter_context(LocalKafka(directory / "kafka", heap_mb=1024))
        harmed = stack.enter_context(HarmedRedis(directory, persistent=False))
        changes = {"redis.timeout_seconds": 1.0, **PACE}
        system = stack.enter_context(
            System(kafka.bootstrap, harmed.server.url, directory, workers=3, size=size, changes=changes)
        )
        print(f"{size.orgs} orgs, {size.users} users, {seconds:.0f} s, a fault every {fault_seconds:.0f} s", flush=True)
        player = system.play(seconds)
        system.wait_recovered(workers=3)
        watch = Watch({"worker": system.workers.pid(SURVIVOR), "kafka": kafka.pid})
        watch.start()
        faults, done, next_at = Faults(system, kafka, harmed), list[str](), time.monotonic() + fault_seconds
        kinds = faults.passing()
        while player.is_alive():
            player.join(timeout=max(0.0, min(5.0, next_at - time.monotonic())))
            if time.monotonic() >= next_at and player.is_alive():
                number = len(done) % len(kinds)
                if number == 0:
                    system.chance.shuffle(kinds)
                began = time.monotonic()
                kinds[number]()
                done.append(kinds[number].__name__.replace("<lambda>", "redis"))
                next_at = began + fault_seconds
                sent = f"{player.acknowledged:,} of {player.total:,} sent, {watch.slopes('worker')['mb']} MB"
                sent += f", begun anew {anew(system):g} times"
                print(f"{time.monotonic() - watch.began:7.0f} s  fault {len(done)}: {done[-1]}, {sent}", flush=True)
        watch.end()
        system.wait_recovered()
        system.rest()
        differences = proof.differences(system)
        chains = broken_chains(harmed.client, system.settings.redis.prefix)
        begun_anew = anew(system)
        survived = system.workers.pid(SURVIVOR) == watch._pids["worker"] and begun_anew == 0
    return {
        "messages": player.total, "seconds": round(seconds), "faults": len(done), "kinds": sorted(set(done)),
        "differences": len(differences), "first": [each[:300] for each in differences[:40]],
        "broken_chains": len(chains),
        "first_chains": chains[:10],
        "survived": survived, "begun_anew": begun_anew, **{name: watch.slopes(name) for name in watch.seen},
    }  # fmt: skip


def main() -> int:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--rate", type=float, default=1_000.0, help="messages a second")
    parser.add_argument("--fault-seconds", type=float, default=120.0)
    parser.add_argument("--most-mb-an-hour", type=float, default=60.0, help="a steeper slope of memory is a failure")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orgpulse-soak-") as place:
        found = soak(Path(place), wanted.minutes, wanted.rate, wanted.fault_seconds)
    print(json.dumps(found, indent=2))
    settled = wanted.minutes >= MINUTES_TO_SETTLE
    if not settled:
        print(f"slopes are of the way there: tables and caches fill for {MINUTES_TO_SETTLE:g} minutes", file=sys.stderr)
    wrong = [
        text
        for text, is_so in (
            ("figures differ from the recount", found["differences"] or found["broken_chains"]),
            ("the third worker did not live through it", not found["survived"]),
            ("no fault happened", not found["faults"]),
            ("memory grows", settled and found["worker"]["mb_an_hour"] > wanted.most_mb_an_hour),
            ("open files grow", settled and found["worker"]["files_an_hour"] > 10),
        )
        if is_so
    ]
    print("; ".join(wrong) or f"{'flat, and ' if settled else ''}every figure is right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
