"""Runs one engine once: starts it, sees it begin and end, weighs it, checks its result, takes everything away.

Invariant: when `run` returns or raises, no process of the engine is left, its folder is gone and its topics are
deleted. Time is from the first event that the engine's job handles to the moment its durable end is seen.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.processes import ChildProcess
from tests.bench.peers.check import difference
from tests.bench.peers.engines import ROOT, Engine
from tests.bench.peers.topic import Key
from tests.bench.small_job import PARTITIONS
from tests.streams.kafka_topics import make_topics, read_all

LOOK_EVERY_SECONDS = 0.02
WEIGH_EVERY_SECONDS = 0.1
CHECK_SECONDS = 15.0
"""How long a result that differs is looked at again; the end moves to the look that finds it right."""
TIDY_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class RunError(Exception):
    """An engine that ended, hung or gave a wrong result; the message is for the table."""


@dataclass(frozen=True, slots=True)
class Source:
    """The topic that is read: how many events it has, where each partition ends, and the right answer."""

    bootstrap: str
    topic: str
    events: int
    ends: Mapping[int, int]
    counts: Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class Weight:
    """What a process tree had used at a moment: processor seconds and bytes in memory."""

    moment: float
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took; *failure* says why it does not count, and then the rest is what was seen till then."""

    engine: str
    events: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    start_cpu_seconds: float = 0.0
    memory_bytes: int = 0
    late_rate: float | None = None
    """Events a second after half of them, where commits tell: what compilers of machine code cost is over by then."""
    failure: str = ""

    @property
    def rate(self) -> float:
        """Events a second, 0 for a run that does not count."""
        return self.events / self.seconds if self.seconds and not self.failure else 0.0

    def row(self) -> dict[str, Any]:
        """Return the run for JSON."""
        return {**asdict(self), "rate": round(self.rate, 1)}


def weigh(session: int) -> Weight:
    """Return what all processes of *session* use, with the processor time of those among them that have ended."""
    cpu = memory = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue  # it ended meanwhile
        if int(fields[3]) == session:
            cpu += sum(int(field) for field in fields[11:15])
            memory += int(fields[21]) * PAGE
    return Weight(time.monotonic(), cpu / TICKS, memory)


def cpu_at(weights: list[Weight], moment: float) -> float:
    """Return the processor seconds used until *moment*, on the line between the two weighings around it.

    >>> cpu_at([Weight(1.0, 2.0, 0), Weight(2.0, 4.0, 0)], 1.5)
    3.0
    """
    before = [one for one in weights if one.moment <= moment]
    after = [one for one in weights if one.moment > moment]
    if not before or not after:
        return (before or after)[-1 if before else 0].cpu if weights else 0.0
    first, second = before[-1], after[0]
    return first.cpu + (second.cpu - first.cpu) * (moment - first.moment) / (second.moment - first.moment)


def late_rate(progress: list[tuple[float, int]], events: int) -> float | None:
    """Return events a second from the first commit at or after half of *events* to the last.

    None if there are fewer than four commits in that half: it would be a matter of when the first one came.

    >>> late_rate([(0.0, 0), (3.0, 50), (3.5, 60), (4.0, 80), (5.0, 100)], 100)
    25.0
    """
    half = [(moment, total) for moment, total in progress if total * 2 >= events]
    if len(half) < 4:
        return None
    return (half[-1][1] - half[0][1]) / (half[-1][0] - half[0][0])


def run(engine: Engine, source: Source, patience: float) -> Run:
    """Run *engine* over *source*; one that fails or takes longer than *patience* seconds is told in the result.

    Raises:
        LocalError: If the engine can't be had on this machine.
    """
    command = engine.command()
    name = f"peer-{engine.name}-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="orgpulse-peer-", ignore_cleanup_errors=True) as folder:
        watch = _Watch(engine, source, name, Path(folder))
        try:
            return asyncio.run(watch.run(command, patience))
        except (RunError, KafkaError, TimeoutError) as error:
            return watch.failed(str(error) or type(error).__name__)


class _Watch:
    """One run."""

    def __init__(self, engine: Engine, source: Source, name: str, folder: Path) -> None:
        self.engine, self.source, self.name, self.folder = engine, source, name, folder
        self.result = engine.result.format(name=name, topic=source.topic)
        self.weights: list[Weight] = []
        self.progress: list[tuple[float, int]] = []
        self.log = folder / "log"

    async def run(self, command: Any, patience: float) -> Run:
        """Run it; the engine ends here in every case."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.source.bootstrap)
        await admin.start()
        try:
            if self.engine.ours_to_make:
                await make_topics(self.source.bootstrap, [self.result], PARTITIONS)
            with ChildProcess(command, log=self.log, env=self._environment(), cwd=ROOT) as child:
                try:
                    async with asyncio.timeout(patience):
                        ended = await self._see_the_end(child, admin)
                        ended = await self._see_it_right(child, admin, ended)
                except TimeoutError:
                    raise RunError(f"not done within {patience:.0f} s{self._said()}") from None
                finally:
                    child.stop(timeout_seconds=5)
            return self._figures(ended)
        finally:
            await self._take_topics_away(admin)
            await admin.close()

    def failed(self, why: str) -> Run:
        """Return a run that does not count."""
        memory = max((one.memory for one in self.weights), default=0)
        return Run(self.engine.name, self.source.events, memory_bytes=memory, failure=why)

    async def _see_the_end(self, child: ChildProcess, admin: Any) -> float:
        while True:
            self._weigh(child)
            running = child.running
            if self.engine.ends == "mark" and "ended" in (marks := self._marks()):
                return marks["ended"]
            if self.engine.ends == "offsets" and await self._all_committed(admin):
                return time.monotonic()
            if not running:
                raise RunError(f"it ended by itself, with code {child.exit_code}{self._said()}")
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _see_it_right(self, child: ChildProcess, admin: Any, ended: float) -> float:
        """Return the moment from which on the result was right: *ended*, or a later look."""
        self.weights.append(weigh(child.pid))
        while self.engine.settles and not await self._all_committed(admin):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        until, look = time.monotonic() + CHECK_SECONDS, ended
        while True:
            wrong = await self._difference(max(5.0, until - time.monotonic()))
            if wrong is None:
                return look
            if time.monotonic() > until:
                raise RunError(f"wrong result: {wrong}")
            await asyncio.sleep(0.2)
            look = time.monotonic()
            self.weights.append(weigh(child.pid))

    async def _difference(self, timeout: float) -> str | None:
        try:
            async with asyncio.timeout(timeout):
                partitions = await read_all(self.source.bootstrap, self.result, PARTITIONS)
        except TimeoutError:
            return "its records are not committed, or the topic is not there"
        records = [(key, value) for part in partitions for _, key, value in part]
        return difference(self.source.counts, self.engine.decode(records))

    async def _all_committed(self, admin: Any) -> bool:
        try:
            offsets = await admin.list_consumer_group_offsets(self.name)
        except KafkaError:  # the group, or its coordinator, is not there yet
            return False
        found = {tp.partition: at.offset for tp, at in offsets.items() if tp.topic == self.source.topic}
        total = sum(offset for offset in found.values() if offset > 0)
        if not self.progress or total > self.progress[-1][1]:
            self.progress.append((time.monotonic(), total))
        return all(found.get(partition, -1) >= end for partition, end in self.source.ends.items())

    def _weigh(self, child: ChildProcess) -> None:
        if not self.weights or time.monotonic() - self.weights[-1].moment >= WEIGH_EVERY_SECONDS:
            self.weights.append(weigh(child.pid))

    def _marks(self) -> dict[str, float]:
        """Return what the job noted: of several processes' beginnings the first, of their ends the last."""
        found: dict[str, float] = {}
        if (self.folder / "marks").exists():
            for line in (self.folder / "marks").read_text().splitlines():
                what, _, moment = line.partition(" ")
                if what != "began" or what not in found or float(moment) < found[what]:
                    found[what] = float(moment)
        return found

    def _figures(self, ended: float) -> Run:
        began = self._marks().get("began")
        if began is None or began >= ended:
            raise RunError(f"it never noted its first event{self._said()}")
        start = cpu_at(self.weights, began)
        cpu, memory = cpu_at(self.weights, ended) - start, max(one.memory for one in self.weights)
        late = late_rate(self.progress, self.source.events)
        return Run(self.engine.name, self.source.events, ended - began, cpu, start, memory, late)

    def _environment(self) -> dict[str, str]:
        values = {
            "BROKER": self.source.bootstrap, "TOPIC": self.source.topic, "NAME": self.name, "FOLDER": str(self.folder),
            "EVENTS": str(self.source.events), "PARTITIONS": str(PARTITIONS),
        }  # fmt: skip
        return (
            {f"PEERS_{key}": value for key, value in values.items()}
            | {"TMPDIR": str(self.folder)}
            | self.engine.environment
        )

    def _said(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        telling = [line for line in lines if "Error" in line or "Exception" in line or "error" in line] or lines
        return f"; it said: {telling[-1].strip()[:160]}" if telling else ""

    async def _take_topics_away(self, admin: Any) -> None:
        with suppress(KafkaError, TimeoutError):  # what is left goes with the broker
            async with asyncio.timeout(TIDY_SECONDS):
                names = [name for name in await admin.list_topics() if self.name in name]
                if names:
                    await admin.delete_topics(names)
