"""A real Kafka cluster on this machine: several brokers that are controllers too, as processes, on loopback.

Invariant: after `start` every broker answers; a node that was killed, stopped or frozen comes back at its own address
with what it had; after `stop_all`, and after the death of this process, all are gone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.local.errors import LocalError
from deploy.local.kafka import LocalKafka
from deploy.local.kafka_storage import INTERNAL_PARTITIONS
from deploy.local.ports import free_ports

NODE_HEAP_MB = 256
POLL_SECONDS = 0.1
ADMIN_TIMEOUT_MS = 5_000
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class LocalKafkaCluster:
    """Brokers numbered from 1; *directory* holds one folder for each."""

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 3,
        extra: Mapping[str, str] = _NO_SETTINGS,
        heap_mb: int = NODE_HEAP_MB,
    ) -> None:
        """Describe a cluster; nothing happens before `start`. *extra* overrides every broker's settings by name."""
        ports = free_ports(2 * nodes)
        controllers = {number: ports[nodes + number - 1] for number in range(1, nodes + 1)}
        self.brokers = {
            number: LocalKafka(
                directory / f"broker-{number}", port=ports[number - 1], extra=extra, heap_mb=heap_mb, fast_start=True,
                node=number, controllers=controllers,
            )
            for number in controllers
        }  # fmt: skip

    def __enter__(self) -> LocalKafkaCluster:
        self.start_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop_all()

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker, separated by commas."""
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    def start_all(self, timeout: float = 60) -> None:
        """Start all brokers that don't run, at the same time (none answers before most are there).

        Raises:
            LocalError: If one does not answer within *timeout* seconds; then all are ended.
        """
        try:
            with ThreadPoolExecutor(len(self.brokers)) as pool:
                list(pool.map(lambda broker: broker.start(timeout), self.brokers.values()))
        except BaseException:
            for broker in self.brokers.values():
                broker.kill()
            raise

    def stop_all(self) -> None:
        """Shut all brokers down in order, at the same time."""
        for broker in self.brokers.values():
            broker.thaw()
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(lambda broker: broker.stop(), self.brokers.values()))

    def kill_all(self) -> None:
        """Kill all brokers at once (SIGKILL)."""
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(lambda broker: broker.kill(), self.brokers.values()))

    def start(self, node: int, timeout: float = 60) -> None:
        """Start broker number *node* and return when it answers, which takes most of the others."""
        self.brokers[node].start(timeout)

    def stop(self, node: int) -> None:
        """Shut a broker down in order: it hands its partitions over first."""
        self.brokers[node].stop()

    def kill(self, node: int) -> None:
        """Kill a broker (SIGKILL): the others notice when it misses its heartbeats."""
        self.brokers[node].kill()

    def freeze(self, node: int) -> None:
        """Stop a broker's time (SIGSTOP): its connections stay open and nothing answers."""
        self.brokers[node].freeze()

    def thaw(self, node: int) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        self.brokers[node].thaw()

    def leader_of(self, topic: str, partition: int) -> int | None:
        """Return the number of the broker that leads a partition now, or None while there is none."""
        for found in self._partitions(topic):
            if found["partition_index"] == partition:
                return int(found["leader_id"]) if found["leader_id"] >= 0 else None
        return None

    def coordinator_of(self, group: str) -> int | None:
        """Return the number of the broker that coordinates a consumer group now, or None."""
        return self.leader_of("__consumer_offsets", _java_hash(group) % INTERNAL_PARTITIONS)

    def transaction_coordinator_of(self, transactional_id: str) -> int | None:
        """Return the number of the broker that coordinates the transactions of an id now, or None."""
        return self.leader_of("__transaction_state", _java_hash(transactional_id) % INTERNAL_PARTITIONS)

    def wait_in_sync(self, timeout: float = 60) -> None:
        """Wait until every copy of every partition, Kafka's own included, is up to date.

        Only then may the next broker go without a partition falling below two copies.

        Raises:
            LocalError: If that takes longer than *timeout* seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            behind = "no broker answers"
            with contextlib.suppress(KafkaError, OSError):
                late = sorted(self._out_of_sync())
                if not late:
                    return
                behind = ", ".join(late[:5])
            if time.monotonic() >= deadline:
                raise LocalError(f"Copies are not in sync within {timeout:.0f} s: {behind}.", "look at broker.log")
            time.sleep(POLL_SECONDS)

    def _out_of_sync(self) -> Iterator[str]:
        with self._admin() as admin:
            for topic in admin.describe_topics():
                for part in topic["partitions"]:
                    if part["leader_id"] < 0 or len(part["isr_nodes"]) < len(part["replica_nodes"]):
                        yield f"{topic['name']}-{part['partition_index']}"

    def _partitions(self, topic: str) -> list[dict[str, Any]]:
        try:
            with self._admin() as admin:
                return [part for found in admin.describe_topics([topic]) for part in found["partitions"]]
        except (KafkaError, OSError):
            return []

    @contextlib.contextmanager
    def _admin(self) -> Iterator[Any]:
        running = [broker.bootstrap for broker in self.brokers.values() if broker.running]
        admin = KafkaAdminClient(
            bootstrap_servers=running, request_timeout_ms=ADMIN_TIMEOUT_MS, bootstrap_timeout_ms=ADMIN_TIMEOUT_MS
        )
        try:
            yield admin
        finally:
            admin.close()


def _java_hash(text: str) -> int:
    """Return what Kafka makes of an id to choose its coordinator: Java's hash without the sign.

    >>> _java_hash("orgpulse")
    1330453301
    """
    value = 0
    for letter in text.encode("utf-16-be")[1::2]:  # ids are ASCII: one unit a letter
        value = (31 * value + letter) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
