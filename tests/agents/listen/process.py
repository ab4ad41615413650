"""Runs `orgpulse listen` as a process of its own, to be asked, filled, frozen out and killed.

Invariant: the process has ended when the `with` block has.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.local.ports import free_ports
from streams.settings import Settings, override
from streams.settings_child import child_environment
from tests.faults.system import wait_until
from tests.streams import kafka_topics

TOKEN = "a-token-that-nobody-guesses"
ACME_TOKEN = "acmes-own-token-of-some-length"
CHAT_TOKEN = "a-token-for-chat-and-nothing-else"
TOKENS = f"{TOKEN}; {ACME_TOKEN} org=acme; {CHAT_TOKEN} topics=chat"
PATIENCE_SECONDS = 90.0


class Listening:
    """One listener's process; `url` is where webhooks go."""

    def __init__(
        self,
        settings: Settings,
        log: Path,
        *arguments: str,
        changes: Mapping[str, Any] | None = None,
        ready: bool = True,
    ) -> None:
        """Describe it; without *ready* it is one that waits for Kafka."""
        http, syslog, tls, pages = free_ports(4)
        self.settings = override(
            settings,
            {
                "listen.tokens": TOKENS, "listen.http_port": http, "listen.syslog_udp_port": syslog,
                "listen.syslog_tcp_port": syslog, "listen.syslog_tls_port": tls, "listen.pages_port": pages,
                "log.format": "console", **dict(changes or {}),
            },
        )  # fmt: skip
        self.log, self._arguments, self._ready = log, arguments, ready
        self.url, self.pages = f"http://127.0.0.1:{http}", f"http://127.0.0.1:{pages}"
        self.syslog_port, self.tls_port = syslog, tls
        self.kills = 0
        self.seen: dict[str, list[int]] = {}
        """Topic → offsets by partition that a test begins at."""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes what is sent (or says that it does not)."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "listen", *self._arguments],
                env=child_environment(self.settings), stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(lambda: self.missing(200 if self._ready else 503), PATIENCE_SECONDS)

    def missing(self, wanted: int) -> str:
        """Return what is missing until its /ready answers with *wanted*."""
        assert self.process is not None and self.process.poll() is None, self.log.read_text("utf-8", "replace")
        status, body = get(f"{self.pages}/ready")
        return "" if status == wanted else f"{status}: {body}"

    def kill(self) -> None:
        """Kill it by a signal that it cannot see."""
        assert self.process is not None
        self.process.kill()
        assert self.process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGKILL
        self.kills += 1

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def figure(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        from prometheus_client.parser import text_string_to_metric_families

        with urllib.request.urlopen(f"{self.pages}/metrics", timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    def __enter__(self) -> Listening:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=PATIENCE_SECONDS)
        if kind is not None:
            print(self.log.read_text("utf-8", "replace")[-4000:])


def get(url: str) -> tuple[int, str]:
    """Return status and text of a page."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def post(url: str, body: bytes | list[Any] | dict[str, Any], token: str = TOKEN, **headers: str) -> tuple[int, Any]:
    """Send a body; return status and what the answer says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    if token:
        named.setdefault("Authorization", f"Bearer {token}")
    request = urllib.request.Request(url, data, named, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, _said(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, _said(error.read()) | {"retry_after": error.headers.get("Retry-After")}


def _said(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def records(settings: Settings, topic: str, since: Sequence[int] = ()) -> list[tuple[bytes | None, bytes]]:
    """Return key and value of every record of a topic; *since* are offsets by partition to begin at."""
    found = asyncio.run(kafka_topics.read_all(settings.kafka.brokers, topic, settings.kafka.partitions))
    begin = since or [0] * len(found)
    return [
        (key, value or b"")
        for first, partition in zip(begin, found, strict=True)
        for offset, key, value in partition
        if offset >= first
    ]


def ends(settings: Settings, topic: str) -> list[int]:
    """Return how many records each partition of a topic has."""
    return [
        len(each)
        for each in asyncio.run(kafka_topics.read_all(settings.kafka.brokers, topic, settings.kafka.partitions))
    ]
