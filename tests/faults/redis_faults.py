"""What is done to the Redis of an installation, and what is watched meanwhile.

Invariant: each fault is undone when its `with` block has ended, and was seen by Redis itself, not only asked for.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import redis

from deploy.local.redis import LocalRedis
from reports.collect import by_label, read_metrics
from tests.faults.system import System, wait_until

_PENDING, _LAG = "orgpulse_redis_pending_writes", "orgpulse_lag_messages"
_LOOK_SECONDS = 0.25


class HarmedRedis:
    """A server of one test alone, with the faults that can befall it."""

    def __init__(self, directory: Path, *, persistent: bool) -> None:
        """Describe it; *persistent* keeps what it holds over a restart."""
        self._directory = directory
        self.server = LocalRedis(directory / "redis", persistent=persistent)
        #: What was done to it.
        self.done: Counter[str] = Counter()

    def __enter__(self) -> HarmedRedis:
        self.server.start()
        self.client: Any = redis.Redis.from_url(self.server.url, decode_responses=True, socket_timeout=2)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()
        self.server.kill()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop it in order; it comes back with what it kept."""
        self.server.stop()
        assert not self.server.running
        self.done["stop"] += 1
        yield
        self.server.start()

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Kill it; an empty one comes to its address."""
        self.server.kill()
        yield
        shutil.rmtree(self._directory / "redis")
        self.server.start()
        self.done["replace"] += 1

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it fall asleep: connections stay, nobody answers."""
        self._signal(signal.SIGSTOP)
        try:
            self.client.ping()
            raise AssertionError("it still answers")
        except redis.RedisError:
            self.done["freeze"] += 1
        yield
        self._signal(signal.SIGCONT)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave it no memory, with no key that may go."""
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", 1)
        self._refuses("used memory", "out of memory")
        yield
        self.client.config_set("maxmemory", 0)

    @contextmanager
    def replica(self) -> Iterator[None]:
        """Have it follow another, empty one, which takes its content; then lead again."""
        with LocalRedis(self._directory / "other") as other:
            self.client.execute_command("REPLICAOF", "127.0.0.1", other.url.split(":")[2].split("/")[0])
            wait_until(lambda: "" if not self.client.dbsize() else "not taken over", 20)
            self._refuses("read only", "replica")
            yield
            self.client.execute_command("REPLICAOF", "NO", "ONE")

    @contextmanager
    def denied(self) -> Iterator[None]:
        """Take the right to write."""
        self.client.execute_command("ACL", "SETUSER", "default", "-set")
        self._refuses("permissions", "denied")
        yield
        self.client.execute_command("ACL", "SETUSER", "default", "+set")

    def flush(self) -> None:
        """Empty it, without any failure that could be noticed."""
        self.client.flushall()
        self.done["flush"] += 1

    @contextmanager
    def set_back(self, snapshot: Path) -> Iterator[None]:
        """Put an old snapshot (see `snapshot`) in its place."""
        self.server.kill()
        yield
        shutil.rmtree(self._directory / "redis")
        shutil.copytree(snapshot, self._directory / "redis")
        self.server.start()
        assert self.client.dbsize() > 0
        self.done["set back"] += 1

    def snapshot(self) -> Path:
        """Keep what it holds now; return where."""
        target = self._directory / "snapshot"
        shutil.copytree(self._directory / "redis", target)
        return target

    def _signal(self, number: int) -> None:
        os.kill(self.server.pid, number)

    def _refuses(self, text: str, name: str) -> None:
        try:
            self.client.set("trial", "1")
            raise AssertionError(f"it still takes writes; {text} was expected")
        except redis.RedisError as error:
            assert text.lower() in str(error).lower(), error
        self.done[name] += 1


class Watch(threading.Thread):
    """Looks at the workers while Redis is away: what waits, how far behind they are, what `/ready` says."""

    def __init__(self, system: System) -> None:
        super().__init__(name="watch", daemon=True)
        self._system, self._end = system, threading.Event()
        self.most_pending, self.most_lag, self.looks = 0.0, 0.0, 0

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        """Look until the block ends; a worker that is being renewed is passed over."""
        while not self._end.wait(_LOOK_SECONDS):
            lag = 0.0
            for url in self._system.workers.urls:
                try:
                    page = read_metrics(url, (_PENDING, _LAG))
                except OSError:
                    continue
                self.looks += 1
                self.most_pending = max(self.most_pending, page.get(_PENDING, {}).get((), 0.0))
                lag += sum(by_label(page, _LAG, "topic").values())
            self.most_lag = max(self.most_lag, lag)


def redis_check(url: str) -> tuple[bool, str]:
    """Return what a worker's `/ready` says of Redis."""
    try:
        with urllib.request.urlopen(url.replace("/metrics", "/ready"), timeout=5) as reply:
            body = reply.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    return next((bool(c["ok"]), str(c["detail"])) for c in orjson.loads(body)["checks"] if c["name"] == "redis")


def wait_said(system: System, *, away: bool, seconds: float = 30.0) -> float:
    """Wait until every worker says that Redis is away, or is there; return the seconds that took."""
    began = time.monotonic()

    def missing() -> str:
        checks = [redis_check(url) for url in system.workers.urls]
        right = all(ok != away and ("since 20" in detail or not away) for ok, detail in checks)
        return "" if checks and right else str(checks)

    wait_until(missing, seconds)
    return time.monotonic() - began


def total(system: System, name: str) -> float:
    """Return the sum of a metric over the workers that run."""
    return sum(sum(read_metrics(url, (name,)).get(name, {}).values()) for url in system.workers.urls)


def broken_chains(client: Any, prefix: str) -> list[str]:
    """Return where changes of bands do not lead, step by step, to what the hashes show; print how many there are."""
    wrong, last, steps = [], dict[str, str](), 0
    for _, entry in client.xrange(f"{prefix}changes"):
        if entry["cause"] == "alert":  # no step from band to band
            continue
        steps += 1
        subject = entry["subject"]
        if entry["from"] == entry["to"] or last.get(subject, entry["from"]) != entry["from"]:
            wrong.append(f"{subject}: {last.get(subject)}, then {entry['from']} to {entry['to']}")
        last[subject] = entry["to"]
    for subject, band in last.items():
        kind, _, name = subject.partition(":")
        org, _, user = name.partition("/")
        key = f"{prefix}user:{{{org}}}:{user}" if kind == "user" else f"{prefix}org:{{{org}}}"
        if (shown := client.hget(key, "band")) != band:
            wrong.append(f"{subject} shows {shown}, its last change led to {band}")
    print(f"{steps} changes of {len(last)} subjects looked at")
    return wrong
