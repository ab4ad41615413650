"""Runs workers as processes of their own, to be killed, frozen and replaced; plays messages meanwhile.

Invariant: every process that was started has ended when the `with` block has, and no thread of theirs touched the event
loop of another (`tests/faults/loop_watch`).
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from agents.simulate import Message
from deploy.local.ports import free_ports
from streams.bulk_sender import BulkSender
from streams.sender import Sender
from streams.settings import Settings, override
from streams.settings_child import child_environment

PATIENCE_SECONDS = 90.0


def watched(report: Path) -> dict[str, str]:
    """Return what makes a process write to *report* who touches another thread's event loop."""
    return {"PYTHONPATH": str(Path(__file__).parent / "loop_watch"), "LOOP_WATCH_REPORT": str(report)}


class Workers:
    """Worker processes with equal settings but their own names and ports."""

    def __init__(self, settings: Settings, count: int, logs: Path) -> None:
        self._logs, self._trespasses = logs, logs / "trespasses.txt"
        self._settings = [
            override(settings, {"worker.name": f"worker-{number}", "web.port": port})
            for number, port in enumerate(free_ports(count))
        ]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        #: What was done to them: kill, freeze, stop, …
        self.done: Counter[str] = Counter()

    @property
    def kills(self) -> int:
        """How many were killed (SIGKILL)."""
        return self.done["kill"]

    @property
    def running(self) -> list[int]:
        """The numbers of the workers that run."""
        return [number for number, process in self._processes.items() if process.poll() is None]

    @property
    def urls(self) -> list[str]:
        """The metrics pages of those that run."""
        return [f"http://127.0.0.1:{self._settings[number].web.port}/metrics" for number in self.running]

    def __enter__(self) -> Workers:
        for number in range(len(self._settings)):
            self.start(number)
        return self

    def start(self, number: int) -> None:
        """Start a worker that does not run."""
        assert number not in self.running, f"worker {number} runs"
        with self.log(number).open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "worker"],
                env=child_environment(self._settings[number]) | watched(self._trespasses),
                stdout=log,
                stderr=log,
            )

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings (dotted name → value) of workers that start from now on."""
        self._settings = [override(settings, dict(changes)) for settings in self._settings]

    def kill(self, number: int) -> None:
        """Kill a worker at once, by a signal that it cannot see."""
        process = self._alive(number)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGKILL
        self.done["kill"] += 1

    def stop(self, number: int) -> None:
        """Ask a worker to end, and see that it does so cleanly."""
        process = self._alive(number)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=PATIENCE_SECONDS)
        # A worker that has not come as far as its signal handlers yet ends by the signal itself.
        assert code in (0, -signal.SIGTERM), f"worker {number} ended with {code}:\n{self.tail(number)}"
        self.done["stop"] += 1

    def freeze(self, number: int) -> None:
        """Let a worker fall asleep (SIGSTOP)."""
        self._alive(number).send_signal(signal.SIGSTOP)
        self.done["freeze"] += 1

    def thaw(self, number: int) -> None:
        """Wake a sleeping worker."""
        self._alive(number).send_signal(signal.SIGCONT)
        self.done["thaw"] += 1

    def code_of(self, number: int, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait for the end of a worker and return its exit code."""
        return self._processes[number].wait(timeout=timeout)

    def pid(self, number: int) -> int:
        """Return the process id of a worker that runs."""
        return self._alive(number).pid

    def port(self, number: int) -> int:
        """Return where a worker serves its pages."""
        return self._settings[number].web.port

    def log(self, number: int) -> Path:
        """Return where a worker's log is."""
        return self._logs / f"worker-{number}.log"

    def tail(self, number: int) -> str:
        """Return the end of a worker's log."""
        return "\n".join(self.log(number).read_text("utf-8", "replace").splitlines()[-30:])

    def _alive(self, number: int) -> subprocess.Popen[bytes]:
        process = self._processes[number]
        assert process.poll() is None, f"worker {number} had ended by itself:\n{self.tail(number)}"
        return process

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(timeout=PATIENCE_SECONDS)
        if kind is not None:
            for number in self._processes:
                print(f"--- worker {number}\n{self.tail(number)}")
        assert not self._trespasses.exists(), self._trespasses.read_text()


class Player(threading.Thread):
    """Sends messages in the background, spread over about *seconds*."""

    _STEPS_PER_SECOND = 5

    def __init__(self, brokers: str, prefix: str, messages: Sequence[Message], seconds: float) -> None:
        super().__init__(name="player", daemon=True)
        self._brokers, self._prefix, self._messages = brokers, prefix, messages
        self._steps, self._hurried = max(1, int(seconds * self._STEPS_PER_SECOND)), threading.Event()
        self.total, self.acknowledged = len(messages), 0

    def run(self) -> None:
        """Send everything."""
        step = -(-len(self._messages) // self._steps)
        with Sender(self._brokers.split(","), patience_seconds=600.0) as sender:  # the broker may be asleep
            for first in range(0, len(self._messages), step):
                send_all(sender, self._prefix, self._messages[first : first + step])
                self.acknowledged = sender.acknowledged
                self._hurried.wait(1 / self._STEPS_PER_SECOND)  # the pace of the history, not a wait for anything

    def hurry(self) -> None:
        """Send the rest without pauses."""
        self._hurried.set()


class Flood(Player):
    """Sends messages in the background, as fast as Kafka takes them; lets go of them then."""

    def __init__(self, brokers: str, prefix: str, messages: list[Message]) -> None:
        super().__init__(brokers, prefix, messages, 0.0)
        self._letting_go = messages

    def run(self) -> None:
        """Send everything."""
        self.acknowledged = asyncio.run(self._send())
        self._letting_go.clear()

    async def _send(self) -> int:
        async with BulkSender(self._brokers) as sender:
            return await sender.send((self._prefix + topic, key, value) for topic, key, value in self._messages)


def send_all(sender: Sender, prefix: str, messages: Iterable[Message]) -> None:
    """Send *messages* and wait for Kafka."""
    for topic, key, value in messages:
        sender.send(prefix + topic, key, value)
    sender.flush()
