"""A real worker under attack, and the quiet orgs beside it: what they see must be what they saw before.

    attacker ──as fast as Kafka takes it──► Kafka ──► worker ──► Redis, /metrics, dead letters
    quiet org ──one event now and then──────┘                      └──► its documents, and how long each took

Every quiet org is a twin: as many people, by the same names but for the org's, do the same at the same moments, and all
of them are in one partition. The first twin does so before any attack, each other one during one. The rule: at rest
all documents of all twins are equal, byte for byte, once the org's name is taken out of them, and of the fields those
that say when and by which record of the log they were written, and the band, which keeps its former value near an edge
and so remembers what was told in between (`MOMENTS`). Cut points are the shipped ones (`calibration.min_population`),
so that no score depends on who else there is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import xxhash
from aiokafka import AIOKafkaProducer
from redis import Redis

from streams.settings import Settings
from tests.bench.bombs import send_batches
from tests.bench.ground import Ground, load, scrape
from tests.faults.test_web_worker import resident_bytes

MOMENTS = frozenset({"fence", "window_end", "calibration", "change", "updated", "as_of", "band"})
CHANGES: dict[str, Any] = {
    "kafka.partitions": 2, "calibration.min_population": 100_000_000, "calibration.every_seconds": 4.0,
    "kafka.transaction_timeout_seconds": 60.0,  # the machine may be a busy one
    "ingest.flood_ratio": 1.0, "log.level": "warning",
}  # fmt: skip
"""Settings of every house; `flood_ratio` is what SECURITY.md advises for senders that are not one's own."""
PEOPLE = 24
PATIENCE_SECONDS = 180.0
_STEP_SECONDS, _POLL_SECONDS = 0.1, 0.01
Sendable = tuple[str, int, bytes | None, bytes]
"""Topic with prefix, a number that spreads over partitions, key, value."""


@dataclass(frozen=True)
class Attack:
    """What somebody does, how much of it, and what bounds it.

    `messages` gives what to send, given settings and size; `batches` gives ready batches instead: topic, partition,
    bytes, and how many messages each says it holds.
    """

    name: str
    limits: tuple[str, ...]
    messages: Callable[[Settings, int], Iterable[Sendable]] | None = None
    batches: Callable[[Settings, int], Sequence[tuple[str, int, bytes, int]]] | None = None


@dataclass
class Row:
    """What became of one attack."""

    attack: str
    sent: int = 0
    sent_bytes: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    before_mb: float = 0.0
    most_mb: float = 0.0
    after_mb: float = 0.0
    series: tuple[int, int] = (0, 0)
    scrape_seconds: float = 0.0
    redis_keys: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    quiet_equal: bool = False

    @property
    def slope_mb(self) -> float:
        """Megabytes that stay, per million messages."""
        return (self.after_mb - self.before_mb) / max(1, self.sent) * 1e6


def names_in(partition: int, partitions: int, stem: str, number: int) -> list[str]:
    """Return *number* org ids of equal length whose shard is *partition*."""
    found = []
    for n in range(100_000):
        if xxhash.xxh3_64_intdigest((name := f"{stem}{n:05}").encode()) % partitions == partition:
            found.append(name)
            if len(found) == number:
                return found
    raise AssertionError("no such names")


class House:
    """One installation with a worker, the twins, and what is measured of both."""

    def __init__(self, place: Ground, twins: int) -> None:
        self.place, self.settings = place, place.settings
        self.redis: Any = Redis.from_url(self.settings.redis.url, decode_responses=True)
        self.twins = names_in(0, self.settings.kafka.partitions, "quiet", twins)
        self._free = iter(self.twins)
        self.used: list[str] = []
        self.moment_ms = (int(time.time()) - 1800) * 1000
        self.baseline: Row | None = None

    def topic(self, name: str) -> str:
        """Return a topic with its prefix."""
        return self.settings.kafka.prefix + name

    def begin(self) -> None:
        """Tell the directory of all twins, start a worker, and let the first twin do its part in peace."""
        self._send(self._directory())
        self.place.start_workers(1)
        self.wait(lambda: self.figures("orgpulse_directory_users") >= len(self.twins) * PEOPLE, "the directory")
        self.rest()
        self.baseline = self.attacked(Attack("none", ()), 0)

    @property
    def pid(self) -> int:
        """The worker's."""
        return self.place.workers[0].pid

    def figures(self, name: str, label: str = "") -> float:
        """Return the sum of a metric."""
        return self.place.metric(name, label)

    def outcomes(self) -> tuple[Counter[str], Counter[str]]:
        """Return messages by outcome, and dead letters by reason, since the start."""
        events, dead = Counter[str](), Counter[str]()
        for series, value in scrape(self.place.ports[0]).items():
            name, _, labels = series.partition("{")
            if name == "orgpulse_events_total":
                events[labels.partition('outcome="')[2].partition('"')[0]] += int(value)
            elif name == "orgpulse_dead_letters_total":
                dead[labels.partition('reason="')[2].partition('"')[0]] += int(value)
        return events, dead

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Wait until *done*, as long as the worker lives."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self.place.workers[0].poll() is None, f"the worker ended: {self.log()[-2000:]}"
            try:
                if done():
                    return
            except OSError:
                pass  # it is busy
            assert time.monotonic() < deadline, f"still waiting for {what}: {self.log()[-3000:]}"
            time.sleep(0.1)

    def log(self) -> str:
        """Return what the worker wrote."""
        return (self.place.directory / "w0.log").read_text(errors="replace")

    def rest(self) -> None:
        """Wait until nothing is on its way."""
        quiet = 0

        def at_rest() -> bool:
            nonlocal quiet
            quiet = quiet + 1 if self.figures("orgpulse_lag_messages") == 0 else 0
            return quiet >= 8

        self.wait(at_rest, "the end of the backlog")

    def attacked(self, attack: Attack, size: int) -> Row:
        """Let *attack* of *size* happen while the next twin does its part; return what became of both."""
        row, org = (
            Row(attack.name, limits={name: _setting(self.settings, name) for name in attack.limits}),
            next(self._free),
        )
        events, dead = self.outcomes()
        series, keys = len(scrape(self.place.ports[0])), self.redis.dbsize()
        watch = _Memory(self.pid)
        row.before_mb = watch.now_mb()
        began = time.monotonic()
        attacker = threading.Thread(target=self._attack, args=(attack, size, row))
        attacker.start()
        took = asyncio.run(self._trickle(org))
        attacker.join()
        assert not attacker.is_alive() and row.sent >= 0, "the attack failed"
        wanted = sum(events.values()) and events["consumed"] + row.sent + PEOPLE + len(self._others(org))
        self.wait(lambda: self.outcomes()[0]["consumed"] >= wanted, f"all of {attack.name} to be read")
        self.rest()
        row.seconds = time.monotonic() - began
        self.wait(lambda: self._has_all(org), f"all of {org} in Redis")
        row.after_mb, row.most_mb = watch.now_mb(), watch.stop()
        now_events, now_dead = self.outcomes()
        row.outcomes, row.dead = dict(now_events - events), dict(now_dead - dead)
        started = time.monotonic()
        row.series = (series, len(scrape(self.place.ports[0])))
        row.scrape_seconds = time.monotonic() - started
        row.redis_keys = (keys, self.redis.dbsize())
        row.p50, row.p99 = (float(np.quantile(took, q)) for q in (0.5, 0.99))
        self.used.append(org)
        first = self.used[0]
        try:
            self.wait(lambda: not self._difference(org), f"{org} to be as {first}")
        except AssertionError as error:
            raise AssertionError(f"{self._difference(org)}: {error}") from error
        row.quiet_equal = True
        return row

    def documents(self, org: str) -> dict[str, Any]:
        """Return all that Redis shows of *org*, without its name and what names the writing record."""
        prefix, found = self.settings.redis.prefix, dict[str, Any]()
        for key in sorted(self.redis.scan_iter(f"{prefix}*{{{org}}}*", count=10_000)):
            kind = self.redis.type(key)
            value = (
                {k: v for k, v in self.redis.hgetall(key).items() if k not in MOMENTS} if kind == "hash"
                else self.redis.zrange(key, 0, -1, withscores=True) if kind == "zset" else self.redis.get(key)
            )  # fmt: skip
            found[key.removeprefix(prefix).replace(org, "ORG")] = orjson.loads(
                orjson.dumps(value).replace(org.encode(), b"ORG")
            )
        return found

    def _difference(self, org: str) -> str:
        """Return in which fields the documents of *org* differ from the first twin's; empty = in none."""
        ours, theirs = self.documents(self.used[0]), self.documents(org)
        found = []
        for key in sorted(ours.keys() | theirs):
            one, other = ours.get(key), theirs.get(key)
            if isinstance(one, dict) and isinstance(other, dict):
                found += [(key, f, one.get(f), other.get(f)) for f in one.keys() | other if one.get(f) != other.get(f)]
            elif one != other:
                found.append((key, "", one, other))
        return "; ".join(f"{key} {name}: {one!r} / {other!r}" for key, name, one, other in found[:6])

    def _has_all(self, org: str) -> bool:
        found = self.redis.hget(f"{self.settings.redis.prefix}org:{{{org}}}", "activities")
        return int(found or 0) == PEOPLE + len(self._others(org)) - 1  # a payment is no activity of a person

    def _attack(self, attack: Attack, size: int, row: Row) -> None:
        brokers, sent = self.settings.kafka.brokers, 0
        try:
            if attack.batches is not None:
                for topic, partition, raw, messages in attack.batches(self.settings, size):
                    asyncio.run(send_batches(brokers, topic, [(partition, raw)]))
                    sent, row.sent_bytes = sent + messages, row.sent_bytes + len(raw)
            elif attack.messages is not None:

                def counted() -> Iterator[Sendable]:
                    for message in attack.messages(self.settings, size):  # type: ignore[misc]
                        row.sent_bytes += len(message[3]) + len(message[2] or b"")
                        yield message

                sent = asyncio.run(load(brokers, self.settings.kafka.partitions, counted()))
            row.sent = sent
        except BaseException:
            row.sent = -1
            raise

    def _send(self, messages: Iterable[Sendable]) -> None:
        asyncio.run(load(self.settings.kafka.brokers, self.settings.kafka.partitions, messages))

    def _directory(self) -> Iterator[Sendable]:
        for org in self.twins:
            yield self.topic("orgs"), 0, org.encode(), orjson.dumps({"org_id": org, "name": "Quiet"})
            for n in range(PEOPLE):
                who = {"user_id": f"{org}u{n:02}", "org_id": org, "email": f"u{n:02}@{org}.example"}
                yield self.topic("users"), 0, who["user_id"].encode(), orjson.dumps(who)

    def _others(self, org: str) -> list[Sendable]:
        """Return what a twin does besides one event of each of its people."""
        at, s = self.moment_ms, self.moment_ms // 1000
        return [
            (self.topic("chat-messages"), 0, None, orjson.dumps(
                {"message_id": f"{org}m", "author": f"{org}u00", "time": at, "channel": "c", "org_id": org})),
            (self.topic("chat-messages"), 0, None, orjson.dumps(
                {"message_id": f"{org}r", "author": f"{org}u01", "time": at + 600_000, "channel": "c", "org_id": org,
                 "in_reply_to": f"{org}m"})),
            (self.topic("syslog-activities"), 0, None, orjson.dumps(
                {"id": f"{org}s", "org": org, "userid": f"{org}u02", "created": s, "ghost": 0, "action": "update"})),
            (self.topic("transactions"), 0, None, orjson.dumps(
                {"transaction_id": f"{org}t", "org_id": org, "amount": "9.50", "status": "A", "time": s})),
        ]  # fmt: skip

    async def _trickle(self, org: str) -> list[float]:
        """Send what a twin does, one event after the other; return how long each took until Redis showed it."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka.brokers, linger_ms=0)
        await producer.start()
        for topic, _, key, value in self._others(org):
            await producer.send_and_wait(topic, value, key=key, partition=0)
        waiting, took = dict[str, tuple[float, Any]](), list[float]()
        prefix, deadline = self.settings.redis.prefix, time.monotonic() + PATIENCE_SECONDS
        next_at, n = time.monotonic(), 0
        while n < PEOPLE or waiting:
            if n < PEOPLE and time.monotonic() >= next_at:
                key, user = f"{prefix}user:{{{org}}}:{org}u{n:02}", f"{org}u{n:02}"
                before = self.redis.hget(key, "reasons")
                value = orjson.dumps(
                    {"event_id": f"{org}e{n:02}", "name": "Search", "distinct_id": user, "time": self.moment_ms + n}
                )
                waiting[key] = (time.perf_counter(), before)
                await producer.send_and_wait(self.topic("product-events"), value, partition=n % 2)
                next_at, n = next_at + _STEP_SECONDS, n + 1
            for key, (since, before) in list(waiting.items()):
                if self.redis.hget(key, "reasons") != before:
                    took.append(time.perf_counter() - since)
                    del waiting[key]
            assert time.monotonic() < deadline, f"{list(waiting)} never came: {self.log()[-2000:]}"
            await asyncio.sleep(_POLL_SECONDS)
        await producer.stop()
        return took


class _Memory:
    """Looks how much memory a process has, all the time."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._over = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def now_mb(self) -> float:
        """Return what it has now."""
        return resident_bytes(self._pid) / 2**20

    def stop(self) -> float:
        """Return the most it had."""
        self._over.set()
        self._thread.join()
        return self._most / 2**20

    def _look(self) -> None:
        while not self._over.wait(0.02):
            try:
                self._most = max(self._most, resident_bytes(self._pid))
            except (OSError, IndexError, ValueError):
                return  # it ended; somebody else says so


def _setting(settings: Settings, name: str) -> Any:
    section, _, key = name.partition(".")
    return getattr(getattr(settings, section), key)
