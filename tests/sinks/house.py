"""A sink under test: topics, the sink as a process, rows on the topics, what the store must hold at the end.

Invariant: every process that was started has ended when the `with` block has.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import xxhash
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from agents.cli import orgpulse
from deploy.local.ports import free_ports
from streams.log_state import committed_of, ends_of
from streams.settings import Settings, environment_of, override
from streams.settings_child import child_environment
from streams.topic_specs import topic_names
from streams.topics import create_topics

PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.1
Record = tuple[str, bytes, bytes | None]
"""Topic (name without prefix), key, value."""


def sink_settings(brokers: str, prefix: str, changes: Mapping[str, Any]) -> Settings:
    """Return settings with short timeouts, and *prefix* before every topic and group."""
    quick = {
        "kafka.brokers": brokers, "kafka.prefix": prefix, "kafka.application": f"{prefix}app",
        "kafka.session_timeout_seconds": 6.0, "kafka.transaction_timeout_seconds": 8.0, "kafka.partitions": 2,
        "sink.longest_pause_seconds": 1.0, "worker.longest_pause_seconds": 2.0, "sink.flush_seconds": 0.5,
    }  # fmt: skip
    return override(Settings(), {**quick, **changes})


class House:
    """Topics and sinks of one kind."""

    def __init__(self, settings: Settings, kind: str, logs: Path, count: int = 1) -> None:
        self.settings, self.kind, self._logs = settings, kind, logs
        self._ports = free_ports(count)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.kills = 0

    def __enter__(self) -> House:
        create_topics(self.settings)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(timeout=PATIENCE_SECONDS)
        if kind is not None:
            for number in self._processes:
                print(f"--- sink {number}\n{self.said(number)[-4000:]}")

    def port_settings(self, number: int = 0) -> Settings:
        """Return the settings of a sink, with its port."""
        return override(self.settings, {"sink.port": self._ports[number]})

    def start(self, number: int = 0, changes: Mapping[str, Any] | None = None) -> None:
        """Start a sink."""
        settings = override(self.port_settings(number), dict(changes or {}))
        with self.log(number).open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "sink", self.kind],
                env=child_environment(settings), stdout=log, stderr=log,
            )  # fmt: skip

    def once(self, *arguments: str, changes: Mapping[str, Any] | None = None) -> Result:
        """Run the command once, in this process, and return how it ended."""
        environment = environment_of(override(self.settings, dict(changes or {})))
        return CliRunner().invoke(orgpulse, ["sink", self.kind, *arguments], env=environment)

    def kill(self, number: int = 0) -> None:
        """Kill a sink by a signal that it cannot see."""
        process = self._processes[number]
        assert process.poll() is None, f"the sink had ended by itself:\n{self.said(number)[-3000:]}"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGKILL
        self.kills += 1

    def signal(self, number: int, what: int) -> None:
        """Send a signal to a sink."""
        self._processes[number].send_signal(what)

    def stop(self, number: int = 0) -> int:
        """Ask a sink to end and return its exit code."""
        self._processes[number].send_signal(signal.SIGTERM)
        return self._processes[number].wait(timeout=PATIENCE_SECONDS)

    def ended(self, number: int = 0) -> int:
        """Wait for a sink to end by itself and return its exit code."""
        return self._processes[number].wait(timeout=PATIENCE_SECONDS)

    def peak_bytes(self, number: int = 0) -> int:
        """Return how much memory a sink has had at most (resident)."""
        status = Path(f"/proc/{self._processes[number].pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def cpu_seconds(self, number: int = 0) -> float:
        """Return how much processor time a sink has used."""
        fields = Path(f"/proc/{self._processes[number].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def log(self, number: int) -> Path:
        """Return where a sink's log is."""
        return self._logs / f"sink-{number}.log"

    def said(self, number: int = 0) -> str:
        """Return what a sink has logged."""
        return self.log(number).read_text("utf-8", "replace")

    def page(self, path: str, number: int = 0) -> str:
        """Return a page of a sink."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[number]}/{path}", timeout=60) as reply:
                return str(reply.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def checks(self, number: int = 0) -> dict[str, tuple[bool, str]]:
        """Return the checks of a sink's /ready; none while it does not answer."""
        try:
            found = json.loads(self.page("ready", number))["checks"]
        except OSError:
            return {}
        return {check["name"]: (check["ok"], check["detail"]) for check in found}

    def send(self, records: Iterable[Record]) -> None:
        """Send records to their topics, each to the partition that its key says."""
        asyncio.run(self._send(list(records)))

    async def _send(self, records: Sequence[Record]) -> None:
        names, width = topic_names(self.settings), self.settings.kafka.partitions
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka.brokers, linger_ms=20)
        await producer.start()
        try:
            for name, key, value in records:
                topic, org = getattr(names, name.replace("-", "_")), key
                if name in ("weeks", "scores"):  # a subject stays in its org's partition
                    org = key.partition(b":")[2].partition(b"/")[0].partition(b"|")[0]
                await producer.send(topic, value, key, xxhash.xxh3_64_intdigest(org) % width)
            await producer.flush()
        finally:
            await producer.stop()

    def wait_stored(self, *names: str) -> None:
        """Wait until the group has committed everything in the topics (all that the sink reads, without *names*)."""
        topics = topic_names(self.settings)
        wanted = [getattr(topics, name.replace("-", "_")) for name in names]
        group = f"{self.settings.kafka.application}-sink-{self.kind}"
        brokers = self.settings.kafka.brokers

        async def missing() -> str:
            ends, committed = await ends_of(brokers, wanted), await committed_of(brokers, group)
            left = {tp: (committed.get(tp), end) for tp, end in ends.items() if end and committed.get(tp, 0) < end}
            return f"{left}" if left else ""

        wait_until(lambda: asyncio.run(missing()))


def wait_until(missing: Callable[[], str], timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until *missing* returns the empty string.

    Raises:
        AssertionError: If it takes longer; with what was missing.
    """
    deadline, text = time.monotonic() + timeout_seconds, ""
    while time.monotonic() < deadline:
        text = missing()
        if not text:
            return
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"still after {timeout_seconds:g} s: {text}")


def week(subject: str, label: str, **changes: Any) -> Record:
    """Return a record of `weeks`, as workers write them."""
    org, _, user = subject.partition(":")[2].partition("/")
    row = {
        "subject": subject, "org": org, "user": user or None, "week": label, "state": "final", "activities": 3,
        "active_users": 1, "transactions_count": 0, "transactions_cents": 0, "replies": 0,
        "reply_latency_seconds_sum": 0, "counts": {"logins": 3}, "sums": {}, "score": "50.00", "score_licensed": None,
        "score_median": None, "contributions": {"active_days": "50.00"}, "calibration": 0, "attributes": None,
    }  # fmt: skip
    return "weeks", f"{subject}|{label}".encode(), json.dumps({**row, **changes}).encode()


def said(topic: str, key: str, **value: Any) -> Record:
    """Return a record with a JSON value."""
    return topic, key.encode(), json.dumps(value).encode()
