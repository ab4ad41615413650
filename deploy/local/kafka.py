"""A real Apache Kafka broker on this machine: KRaft, loopback only; alone, or a node of `LocalKafkaCluster`.

Invariant: after `start` returns the broker answers; after `stop` or `kill`, and after the death of this process, it
is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from deploy.local.cache import require_space
from deploy.local.errors import LocalError
from deploy.local.jars import class_path
from deploy.local.java import find_java
from deploy.local.kafka_storage import lay_storage, more_listeners, server_properties, write_logging
from deploy.local.ports import HOST, free_ports, require_free
from deploy.local.processes import ChildProcess

START_ATTEMPTS = 3
POLL_SECONDS = 0.05
STOP_TIMEOUT_SECONDS = 15.0
LAST_ERRORS = 5
PORT_TAKEN = "Address already in use"
# ApiVersions version 0 with correlation id 1 and no client id: the one request every broker answers, once it serves
# at all.
_PROBE = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_ALONE: Mapping[int, int] = MappingProxyType({})


class LocalKafka:
    """A broker whose files are all in one directory.

    Started again in the same directory it finds its topics again; the same object keeps its port, too.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        extra: Mapping[str, str] = _NO_SETTINGS,
        heap_mb: int = 768,
        fast_start: bool = False,
        node: int = 1,
        controllers: Mapping[int, int] = _ALONE,
        listeners: Mapping[str, str] = _NO_SETTINGS,
    ) -> None:
        """Describe a broker; nothing happens before `start`.

        *extra* overrides broker settings by name. *fast_start* compiles lightly (C1 only): the choice for tests;
        without it the broker starts slower and carries more, which a benchmark needs. *node* is its number and
        *controllers* the controller ports of all nodes by number, where it is not alone. *listeners* are further ones,
        name → security protocol, such as `{"SECURE": "SASL_SSL"}`, each on a free port (`address`); their certificates
        and users are *extra*'s. The open listener stays: it is the broker's own, and shut to others by *extra* alone.
        """
        self.directory = directory.absolute()
        self.log = self.directory / "broker.log"
        self._port, self._controller_port = port, 0
        self._port_is_ours = port is None
        self.node, self._controllers = node, dict(controllers)
        self._listeners, self._ports = dict(listeners), dict[str, int]()
        self._extra, self._heap_mb, self._fast_start = dict(extra), heap_mb, fast_start
        self._process: ChildProcess | None = None

    def __enter__(self) -> LocalKafka:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """`host:port`, known once the broker was started (or from the beginning, if a port was given)."""
        if self._port is None:
            raise RuntimeError("the broker has no port before it was started")
        return f"{HOST}:{self._port}"

    def address(self, listener: str) -> str:
        """Return the `host:port` of one of the further listeners, known once the broker was started."""
        return f"{HOST}:{self._ports[listener]}"

    @property
    def pid(self) -> int:
        """The broker's process id while it runs."""
        if self._process is None or not self._process.running:
            raise RuntimeError("the broker does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self, timeout: float = 60) -> None:
        """Start the broker and return when it answers: within *timeout* seconds, and a first fetch of the jars.

        Raises:
            LocalError: If Java or the jars cannot be had, the port is taken, the disk is full, or the broker dies or
                stays silent; the last error lines of its log are in the message.
        """
        if self.running:
            return
        java, jars = find_java(), class_path()
        require_space(self.directory)
        for attempt in range(1, START_ATTEMPTS + 1):
            self._choose_ports()
            try:
                self._start_once(java, jars, timeout)
                return
            except LocalError as error:
                lost_the_race = self._port_is_ours and PORT_TAKEN in error.message
                if not lost_the_race or attempt == START_ATTEMPTS:
                    raise
                self._port = None

    def stop(self) -> None:
        """Shut the broker down in order (SIGTERM); kill it when it takes longer than 15 seconds."""
        self.thaw()
        if self._process is not None:
            self._process.stop(STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Kill the broker (SIGKILL): what a power cut would do, short of losing the page cache."""
        if self._process is not None:
            self._process.kill()

    def freeze(self) -> None:
        """Stop the broker's time (SIGSTOP): its connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _choose_ports(self) -> None:
        broker, free = free_ports(2)
        self._controller_port = self._controllers.get(self.node, free)
        if self._port is None:
            self._port = broker
        require_free(self._port, "Kafka")
        if self._listeners.keys() - self._ports.keys():
            self._ports = dict(zip(self._listeners, free_ports(len(self._listeners)), strict=True))

    def _start_once(self, java: Path, jars: str, timeout: float) -> None:
        assert self._port is not None
        lay_storage(java, jars, self.directory, node=self.node)
        settings = server_properties(
            self.directory, self._port, self._controller_port, node=self.node, controllers=self._controllers
        )
        settings |= more_listeners(settings, {n: (p, self._ports[n]) for n, p in self._listeners.items()})
        settings |= self._extra
        config = self.directory / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        log_begins_at = self.log.stat().st_size if self.log.exists() else 0
        command: list[str | Path] = [java, *self._jvm_options(), "-cp", jars, "kafka.Kafka", config]
        self._process = ChildProcess(command, log=self.log, cwd=self.directory)
        try:
            self._wait_until_it_answers(timeout, log_begins_at)
        except BaseException:
            self.kill()
            raise

    def _jvm_options(self) -> list[str]:
        """Choose compiler and collector.

        Measured on two cores: C1 alone starts with 3.0 s of processor time where C2 takes 4.6 s, and carries 164,000
        transactional records a second where C2, once warm, carries 189,000. The serial collector keeps up with G1
        there, in 40 MB less.
        """
        scratch = self.directory / "tmp"
        scratch.mkdir(exist_ok=True)
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if self._fast_start else ["-XX:+UseSerialGC"]
        return [
            *quick,
            "-Xshare:auto",
            f"-Xms{min(self._heap_mb, 256)}m",
            f"-Xmx{self._heap_mb}m",
            "-XX:-UsePerfData",  # or each broker leaves a file in /tmp
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={write_logging(self.directory)}",
        ]

    def _wait_until_it_answers(self, timeout: float, log_begins_at: int) -> None:
        deadline = time.monotonic() + timeout
        while not self._answers():
            if not self.running:
                raise self._failure("ended while starting", log_begins_at)
            if time.monotonic() >= deadline:
                raise self._failure(f"did not answer within {timeout:.0f} s", log_begins_at)
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        assert self._port is not None
        with contextlib.suppress(OSError), socket.create_connection((HOST, self._port), timeout=2) as connection:
            connection.sendall(_PROBE)
            return len(connection.recv(4)) == 4
        return False

    def _failure(self, what: str, log_begins_at: int) -> LocalError:
        lines = self._log_since(log_begins_at)
        errors = [line for line in lines if " ERROR " in line or "Exception" in line or "Error:" in line] or lines
        said = "\n    ".join(line.strip()[:300] for line in errors[-LAST_ERRORS:])
        return LocalError(
            f"The Kafka broker {what}. Its log says last:\n    {said or '(nothing)'}",
            f"`less {self.log}`",
        )

    def _log_since(self, offset: int) -> list[str]:
        with self.log.open("rb") as log:
            log.seek(offset, os.SEEK_SET)
            return [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
