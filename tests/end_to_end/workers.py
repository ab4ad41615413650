"""Runs workers as processes of their own, to be killed; plays messages meanwhile.

Invariant: every process that was started has ended when the `with` block has.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from agents.simulate import Message
from deploy.local.ports import free_ports
from streams.sender import Sender
from streams.settings import Settings, environment_of, override


class Workers:
    """Worker processes with equal settings but their own names and ports."""

    def __init__(self, settings: Settings, count: int, logs: Path) -> None:
        self._logs, self.kills = logs, 0
        self._settings = [
            override(settings, {"worker.name": f"worker-{number}", "web.port": port})
            for number, port in enumerate(free_ports(count))
        ]
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def urls(self) -> list[str]:
        """The metrics pages."""
        return [f"http://127.0.0.1:{settings.web.port}/metrics" for settings in self._settings]

    def __enter__(self) -> Workers:
        self._processes = [self._start(number) for number in range(len(self._settings))]
        return self

    def kill(self, number: int) -> None:
        """Kill a worker at once, by a signal that it cannot see."""
        process = self._processes[number]
        assert process.poll() is None, f"worker {number} had ended by itself:\n{self.tail(number)}"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=10) == -signal.SIGKILL
        self.kills += 1

    def replace(self, number: int) -> None:
        """Start a killed worker again."""
        self._processes[number] = self._start(number)

    def tail(self, number: int) -> str:
        """Return the end of a worker's log."""
        return "\n".join((self._logs / f"worker-{number}.log").read_text("utf-8", "replace").splitlines()[-30:])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=10)
        if kind is not None:
            for number in range(len(self._processes)):
                print(f"--- worker {number}\n{self.tail(number)}")

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORGPULSE_")}
        with (self._logs / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "worker"],
                env=environment | environment_of(self._settings[number]),
                stdout=log,
                stderr=log,
            )


class Player(threading.Thread):
    """Sends messages in the background, spread over about *seconds*."""

    _STEPS = 200

    def __init__(self, brokers: str, prefix: str, messages: Sequence[Message], seconds: float) -> None:
        super().__init__(name="player", daemon=True)
        self._brokers, self._prefix, self._messages = brokers, prefix, messages
        self._pause, self._stopped = seconds / self._STEPS, threading.Event()
        self.acknowledged = 0

    def run(self) -> None:
        """Send everything."""
        step = -(-len(self._messages) // self._STEPS)
        with Sender(self._brokers.split(",")) as sender:
            for first in range(0, len(self._messages), step):
                send_all(sender, self._prefix, self._messages[first : first + step])
                self._stopped.wait(self._pause)  # the pace of the history, not a wait for anything
            sender.flush()
            self.acknowledged = sender.acknowledged


def send_all(sender: Sender, prefix: str, messages: Iterable[Message]) -> None:
    """Send *messages* and wait for Kafka."""
    for topic, key, value in messages:
        sender.send(prefix + topic, key, value)
    sender.flush()
