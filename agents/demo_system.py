"""Owns the parts of the demo: its directory, servers, topics and workers, in the order of starting and stopping.

Invariant: whatever `start` brought up or made, `stop` ends or removes, also after half a start; of servers that were
there before, only what carries this run's own names is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from kafka.errors import KafkaError

from agents.demo_workers import Crew
from agents.simulate_service import model_text
from deploy.local.errors import LocalError
from deploy.local.jars import class_path
from deploy.local.java import find_java
from deploy.local.kafka import LocalKafka
from deploy.local.ports import free_ports
from deploy.local.redis import LocalRedis
from streams.redis_access import redis_client
from streams.settings import Settings, override
from streams.topic_specs import topic_specs
from streams.topics import BrokerError, connected_admin, create_topics

WORKERS = 2
ANSWER_SECONDS = 5.0
_DELETE_AT_ONCE = 500
Step = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Servers:
    """Which servers to use: an empty address means an own one."""

    brokers: str = ""
    redis_url: str = ""
    keep: bool = False
    """Leave topics and keys on servers that were there before."""
    checked: bool = False
    """The results will be checked: show every org in the metrics, and make new cut points more often."""


class DemoSystem:
    """Everything that runs below the demo's screen."""

    def __init__(self, given: Settings, servers: Servers) -> None:
        """Describe the system; nothing is made yet. Of the *given* settings the model and the latency's are used.

        Where these name no model it has the shipped one, with measures by hour of the week of what is simulated.
        """
        self._given, self._servers = given, servers
        self.directory = Path()
        self.settings = given
        self.crew: Crew | None = None
        self._kafka: LocalKafka | None = None
        self._redis: LocalRedis | None = None
        self._made_topics = False

    def start(self, step: Step) -> Crew:
        """Bring everything up, as far as workers that are starting; return them.

        Raises:
            LocalError: If a part cannot be had; it says what helps.
            BrokerError: If the broker refuses.
        """
        self.directory = run_directory()
        if not self._servers.brokers:
            with step("Java and Kafka's jars"):
                find_java()
                class_path()
        with step("Kafka and Redis"):
            brokers, redis_url = self._start_servers()
        self.settings = self._settings(brokers, redis_url)
        self._write_files()
        self.crew = Crew(self.settings, free_ports(WORKERS), self.directory)
        with step(f"Topics, and {WORKERS} workers starting"):
            self.crew.start()
            self._made_topics = True
            create_topics(self.settings)
        return self.crew

    def stop(self) -> list[str]:
        """End and remove everything; return what could not be removed, a line each."""
        troubles: list[str] = []
        if self.crew is not None:
            self.crew.stop()
        if not self._servers.keep:
            troubles += self._remove_traces()
        for server in (self._redis, self._kafka):
            if server is not None:
                server.stop()
                shutil.rmtree(server.directory / "data", ignore_errors=True)
        return troubles

    def check_servers(self) -> None:
        """Check that the own servers still run.

        Raises:
            LocalError: If one has ended.
        """
        for name, server in (("Kafka broker", self._kafka), ("Redis server", self._redis)):
            if server is not None and not server.running:
                raise LocalError(f"The {name} has ended.", f"less {server.log}")

    def _start_servers(self) -> tuple[str, str]:
        brokers, redis_url = self._servers.brokers, self._servers.redis_url
        if not redis_url:
            self._redis = LocalRedis(self.directory / "redis")
            self._redis.start()
            redis_url = self._redis.url
        if not brokers:
            self._kafka = LocalKafka(self.directory / "kafka", fast_start=True)
            self._kafka.start()
            brokers = self._kafka.bootstrap
        else:
            with connected_admin(override(Settings(), {"kafka.brokers": brokers}), wait_seconds=ANSWER_SECONDS):
                pass  # it answers, or an error has said what to do
        try:
            trial = override(Settings(), {"redis.url": redis_url}).redis
            with contextlib.closing(redis_client(trial, timeout_seconds=ANSWER_SECONDS)) as client:
                client.ping()
        except redis.RedisError as error:
            raise LocalError(f"Redis at {redis_url} does not answer: {error}", "orgpulse doctor") from error
        return brokers, redis_url

    def _settings(self, brokers: str, redis_url: str) -> Settings:
        """Return the workers' settings; names are this run's own where others may have theirs."""
        token = uuid.uuid4().hex[:8]
        model, shadow = self._given.model.file, self._given.model.shadow
        changes: dict[str, object] = {
            "kafka.brokers": brokers,
            "redis.url": redis_url,
            "calibration.every_seconds": 3.0 if self._servers.checked else 5.0,
            "checkpoint.every_seconds": 10.0,
            "kafka.transaction_timeout_seconds": 30.0,
            "kafka.session_timeout_seconds": 8.0,
            # Played at full speed, every tick scores nearly everybody; nobody watches how fresh that is.
            "time.tick_seconds": 1.0 if self._servers.checked else 0.25,
            # The last day is played in half a minute, and its hours should count as hours.
            "time.clock": "event",
            "metrics.org_limit": 10_000 if self._servers.checked else 20,
            "log.format": "console",
            "model.file": str(Path(model).absolute()) if model else "",
            "model.shadow": str(Path(shadow).absolute()) if shadow else "",
        }
        if self._servers.brokers:
            changes |= {"kafka.prefix": f"demo-{token}.", "kafka.application": f"orgpulse-demo-{token}"}
        if self._servers.redis_url:
            changes["redis.prefix"] = f"orgpulse-demo-{token}:"
        if not model and not shadow:  # a shadow has the measures of the live model
            changes["model.file"] = str(self._write_model())
        start = Settings(latency=self._given.latency, chat=self._given.chat)
        return override(start, changes)

    def _write_model(self) -> Path:
        file = (self.directory / "model.toml").absolute()
        file.write_text(model_text(), encoding="utf-8")
        return file

    def _write_files(self) -> None:
        """Write what another terminal needs: `orgpulse.toml`, and `env` to be sourced."""
        kafka, store = self.settings.kafka, self.settings.redis
        tables: dict[str, dict[str, str]] = {
            "kafka": {"brokers": kafka.brokers, "prefix": kafka.prefix, "application": kafka.application},
            "redis": {"url": store.url, "prefix": store.prefix},
            "model": {"file": self.settings.model.file},
        }
        config = self.directory / "orgpulse.toml"
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
            for name, values in tables.items()
        ]
        config.touch(mode=0o600)  # the URL may hold a password
        config.write_text("# Written by orgpulse demo.\n" + "\n".join(lines), encoding="utf-8")
        programs = Path(sys.executable).parent
        (self.directory / "env").write_text(
            f'export ORGPULSE_CONFIG="{config}"\nexport PATH="{programs}:$PATH"\n', encoding="utf-8"
        )

    def _remove_traces(self) -> list[str]:
        """Remove this run's topics, group and keys from servers that go on living."""
        troubles: list[str] = []
        if self._servers.brokers and self._made_topics:
            try:
                self._remove_topics()
            except (KafkaError, BrokerError) as error:
                troubles.append(f"topics {self.settings.kafka.prefix}* are still there: {error}")
        if self._servers.redis_url and self.crew is not None:
            try:
                self._remove_keys()
            except redis.RedisError as error:
                troubles.append(f"keys {self.settings.redis.prefix}* are still there: {error}")
        return troubles

    def _remove_topics(self) -> None:
        with connected_admin(self.settings, wait_seconds=5.0) as admin:
            there = set(admin.list_topics())
            ours = [spec.name for spec in topic_specs(self.settings) if spec.name in there]
            if ours:
                admin.delete_topics(ours)
            admin.delete_groups([self.settings.kafka.application])

    def _remove_keys(self) -> None:
        with contextlib.closing(redis_client(self.settings.redis, timeout_seconds=5.0)) as client:
            some: list[Any] = []
            for key in client.scan_iter(match=self.settings.redis.prefix + "*", count=_DELETE_AT_ONCE):
                some.append(key)
                if len(some) >= _DELETE_AT_ONCE:
                    client.unlink(*some)
                    some.clear()
            if some:
                client.unlink(*some)


def run_directory() -> Path:
    """Make and return a directory of this run's own: in `.run` here, or in the temporary place where that can't be."""
    name = "demo-"
    here = Path.cwd() / ".run"
    try:
        here.mkdir(exist_ok=True)
        if os.access(here, os.W_OK):
            return Path(tempfile.mkdtemp(prefix=name, dir=here))
    except OSError:
        pass  # the temporary place is as good
    try:
        return Path(tempfile.mkdtemp(prefix=f"orgpulse-{name}"))
    except OSError as error:
        raise LocalError(f"No directory can be made for the demo: {error}", "df -h . $TMPDIR") from error
