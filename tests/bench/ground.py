"""What the benches of the whole system share: servers, workers, a fast loader, a company base.

Servers are the embedded ones unless `--brokers` and `--redis` name others.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from aiokafka import AIOKafkaProducer

from deploy.local.kafka import LocalKafka
from deploy.local.ports import free_ports
from deploy.local.redis import LocalRedis
from streams.settings import Settings, environment_of, override
from streams.topics import create_topics

NAMES = (
    "Search", "Advanced Search", "Saved Search Created", "Export", "Share", "Alert Created", "Alert Received",
    "Report Scheduled", "Report Opened", "Dashboard Viewed", "Dashboard Created", "Content Viewed", "Content Created",
    "Comment Added", "User Invited", "Settings Changed", "API Call", "Integration Added", "Session Started",
    "Mobile Session", "Help Opened", "Map Drawn", "Formula Built", "Model Trained", "Annotation Made", "Bulk Edit",
)  # fmt: skip


@dataclass(slots=True)
class Ground:
    """Servers under test and the workers on them."""

    settings: Settings
    directory: Path
    ports: list[int]
    workers: list[subprocess.Popen[bytes]]
    servers: dict[str, int] = field(default_factory=dict)
    """Process ids of the servers that are ours, by name."""

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time that each process has used so far (user and system), this one included."""
        pids = {**self.servers, **{f"w{n}": worker.pid for n, worker in enumerate(self.workers)}, "load": os.getpid()}
        return {name: _processor_seconds(pid) for name, pid in pids.items()}

    def start_workers(self, count: int) -> None:
        """Start *count* workers and wait until all of them are ready."""
        self.ports = free_ports(count)
        for number, port in enumerate(self.ports):
            settings = override(self.settings, {"worker.name": f"w{number}", "web.port": port})
            log = (self.directory / f"w{number}.log").open("wb")
            environment = {**os.environ, **environment_of(settings)}
            command = [sys.executable, "-m", "agents.cli", "worker"]
            self.workers.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        deadline = time.monotonic() + 180
        while not all(is_ready(port) for port in self.ports):
            if time.monotonic() > deadline or any(w.poll() is not None for w in self.workers):
                lines = [line for log in sorted(self.directory.glob("*.log")) for line in log.read_text().splitlines()]
                logs = "\n".join([line for line in lines if "stopped:" in line or "Crashed" in line] or lines[-5:])
                raise RuntimeError(f"the workers did not get ready:\n{logs}")
            time.sleep(0.1)

    def metric(self, name: str, label: str = "") -> float:
        """Return the sum of a metric over all workers and labels, or of the samples with *label* only."""
        samples = [pair for port in self.ports for pair in scrape(port).items()]
        return sum(value for key, value in samples if key.split("{")[0] == name and label in key)

    def stop_workers(self) -> None:
        """Stop all workers."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(120)
        self.workers, self.ports = [], []


@contextmanager
def ground(brokers: str | None, redis: str | None, changes: Mapping[str, Any] | None = None) -> Iterator[Ground]:
    """Give servers with fresh topics, and take everything away afterwards."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orgpulse-bench-")))
        servers: dict[str, int] = {}
        if brokers is None:
            kafka = stack.enter_context(LocalKafka(directory / "kafka", heap_mb=1024))
            brokers, servers["kafka"] = kafka.bootstrap, kafka.pid
        if redis is None:
            store = stack.enter_context(LocalRedis(directory / "redis"))
            redis, servers["redis"] = store.url, store.pid
        name = f"bench{uuid.uuid4().hex[:6]}"
        values = {"kafka.brokers": brokers, "kafka.prefix": f"{name}.", "kafka.application": name, "redis.url": redis}
        settings = override(Settings(), {**values, "redis.prefix": f"{name}:", **(changes or {})})
        create_topics(settings)
        found = Ground(settings, directory, [], [], servers)
        stack.callback(found.stop_workers)
        yield found


def scrape(port: int) -> dict[str, float]:
    """Return the samples of one worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def _processor_seconds(pid: int) -> float:
    """Return the user and system time of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_ready(port: int) -> bool:
    """Say whether the worker behind *port* is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def settings_option(parser: argparse.ArgumentParser) -> None:
    """Add an option that changes settings for a run (see `changes_of`)."""
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting")


def changes_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the settings in *pairs*.

    >>> changes_of(["kafka.partitions=2", "kafka.commit_seconds=0.05"])
    {'kafka.partitions': 2, 'kafka.commit_seconds': 0.05}
    """
    found: dict[str, Any] = {}
    for name, value in (pair.split("=", 1) for pair in pairs):
        try:
            found[name] = float(value) if "." in value else int(value)
        except ValueError:
            found[name] = value
    return found


async def load(bootstrap: str, partitions: int, messages: Iterable[tuple[str, int, bytes | None, bytes]]) -> int:
    """Send (topic, spread number, key, value) as whole batches, partition = number modulo *partitions*."""
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a topic just made has no leader for a moment
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="lz4", max_batch_size=1 << 19, linger_ms=0
    )
    await producer.start()
    batches: dict[tuple[str, int], Any] = {}
    sent = 0
    for topic, number, key, value in messages:
        place = (topic, number % partitions)
        batch = batches.get(place)
        if batch is None or batch.append(timestamp=None, key=key, value=value) is None:
            if batch is not None:
                await producer.send_batch(batch, place[0], partition=place[1])
            batch = batches[place] = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value)
        sent += 1
    for (topic, partition), batch in batches.items():
        await producer.send_batch(batch, topic, partition=partition)
    await producer.flush()
    await producer.stop()
    return sent


def directory(prefix: str, orgs: int, users: int) -> Iterator[tuple[str, int, bytes | None, bytes]]:
    """Yield the directory of *orgs* orgs and *users* users."""
    for org in range(orgs):
        key = b"o%d" % org
        yield prefix + "orgs", org, key, orjson.dumps({"org_id": f"o{org}", "name": f"Org {org}"})
    for user in range(users):
        entry = {"user_id": f"u{user}", "org_id": f"o{user % orgs}", "email": f"u{user}@o{user % orgs}.example"}
        yield prefix + "users", user, b"u%d" % user, orjson.dumps(entry)


def events(
    prefix: str, orgs: int, users: int, count: int, start: float, end: float, seed: int
) -> Iterator[tuple[str, int, bytes | None, bytes]]:
    """Yield *count* messages in order of time: 70 % product events, 15 % syslog, 10 % chat, 5 % transactions."""
    rng = np.random.default_rng(seed)
    who = (rng.pareto(1.2, count) * users / 20).astype(np.int64) % users
    kind = rng.random(count)
    name = rng.integers(len(NAMES), size=count)
    times = np.linspace(start, end, count)
    for i in range(count):
        user, moment = int(who[i]), float(times[i])
        org = user % orgs
        if kind[i] < 0.7:
            person = f"u{user}@o{org}.example" if i % 3 == 0 else f"u{user}"
            value = b'{"event_id":"e%d-%d","name":"%s","distinct_id":"%s","time":%d,"properties":{"page":%d}}' % (
                seed, i, NAMES[int(name[i])].encode(), person.encode(), int(moment * 1000), i % 40,
            )  # fmt: skip
            yield prefix + "product-events", user, None, value
        elif kind[i] < 0.85:
            value = b'{"id":"s%d-%d","org":"o%d","userid":"u%d","created":%d,"ghost":0,"action":"update"}' % (
                seed, i, org, user, int(moment),
            )  # fmt: skip
            yield prefix + "syslog-activities", user, None, value
        elif kind[i] < 0.95:
            parent = b',"in_reply_to":"m%d-%d"' % (seed, org) if i % 2 else b""
            value = b'{"message_id":"m%d-%d-%d","author":"u%d","time":%d,"channel":"c","org_id":"o%d"%s}' % (
                seed, i, org, user, int(moment * 1000), org, parent,
            )  # fmt: skip
            yield prefix + "chat-messages", user, None, value
        else:
            value = b'{"transaction_id":"t%d-%d","org_id":"o%d","amount":"%d.50","status":"A","time":%d}' % (
                seed, i, org, i % 900, int(moment),
            )  # fmt: skip
            yield prefix + "transactions", user, None, value


def run(coroutine: Any) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(coroutine)
