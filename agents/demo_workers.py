"""Owns the demo's worker processes: starting them, starting killed ones again, ending them together.

Invariant: there are as many as asked for, each with its own name, port and log; a worker that ends by itself again and
again ends the demo, with the last lines of its log.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.demo_figures import parse, read_page
from deploy.local.errors import LocalError
from deploy.local.ports import HOST
from deploy.local.processes import ChildProcess
from streams.settings import (
    CONFIG_VARIABLE,
    TENANT_VARIABLE,
    Settings,
    environment_of,
    override,
    setting_types,
    variable_of,
)

STOP_SECONDS = 7.0
_POLL_SECONDS = 0.1
_MOST_FAULTS = 3
_LAST_LINES = 6


@dataclass(slots=True)
class WorkerProcess:
    """One worker, under the name and port that it keeps over restarts."""

    name: str
    port: int
    log: Path
    environment: Mapping[str, str]
    child: ChildProcess | None = None
    faults: int = 0
    """How often it ended by itself, signals from outside not counted."""

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id, 0 when it does not run."""
        return self.child.pid if self.child is not None and self.child.running else 0

    def start(self) -> None:
        """Start the process, in the directory of its log."""
        command = [sys.executable, "-m", "agents.cli", "worker"]
        self.child = ChildProcess(command, log=self.log, env=self.environment, cwd=self.log.parent)

    def look(self) -> str:
        """Start it again if it has ended; return what happened, or nothing.

        Raises:
            LocalError: If it ended by itself, more often than is worth trying.
        """
        if self.child is None or self.child.running:
            return ""
        code, pid = self.child.exit_code or 0, self.child.pid
        if code >= 0:
            self.faults += 1
            if self.faults >= _MOST_FAULTS:
                said = "\n    ".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
                raise LocalError(
                    f"{self.name} ended with code {code}. Its log says last:\n    {said}", f"less {self.log}"
                )
        self.start()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return f"{self.name} (pid {pid}) {how}; started again as pid {self.pid}"


class Crew:
    """The workers together."""

    def __init__(self, settings: Settings, ports: list[int], directory: Path) -> None:
        """Describe one worker for each of *ports*; nothing runs yet."""
        self.restarts = 0
        blank = blank_environment()
        self.workers = [
            WorkerProcess(
                name=f"worker-{number}",
                port=port,
                log=directory / f"worker-{number}.log",
                environment=blank
                | environment_of(override(settings, {"worker.name": f"worker-{number}", "web.port": port})),
            )
            for number, port in enumerate(ports, start=1)
        ]

    @property
    def addresses(self) -> list[str]:
        """Where their pages are."""
        return [worker.url for worker in self.workers]

    def start(self) -> None:
        """Start all of them."""
        for worker in self.workers:
            worker.start()

    def look(self) -> list[str]:
        """Start again what has ended; return what happened, a line each.

        Raises:
            LocalError: If one cannot be kept running.
        """
        happened = [said for worker in self.workers if (said := worker.look())]
        self.restarts += len(happened)
        return happened

    def are_ready(self) -> bool:
        """Say whether every worker calls itself ready."""
        return all(read_page(url + "/ready")[0] == 200 for url in self.addresses)

    def know(self, orgs: int, users: int) -> bool:
        """Say whether every worker's copy of the directory has all *users*, and the shards were told of everybody."""
        pages = [parse(read_page(url + "/metrics")[1]) for url in self.addresses]
        told = sum(page.directory_entries for page in pages)
        return told >= orgs + users and all(page.directory_users >= users for page in pages)

    def wait(self, condition: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        """Return when *condition* holds, keeping the workers running meanwhile.

        Raises:
            LocalError: If it does not within *timeout_seconds*, or a worker cannot be kept running.
        """
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            self.look()
            if time.monotonic() >= deadline:
                checks = "; ".join(f"{worker.name}: {read_page(worker.url + '/ready')[1]}" for worker in self.workers)
                log = self.workers[0].log
                raise LocalError(f"{what}: not within {timeout_seconds:g} s. {checks}", f"less {log}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Ask all to end, at once; kill what has not ended in time."""
        running = [worker.child for worker in self.workers if worker.child is not None]
        for child in running:
            child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in running:
            if not child.wait(max(0.0, deadline - time.monotonic())):
                child.kill()


def blank_environment() -> dict[str, str]:
    """Return every setting's variable, empty: that counts as not set, so nothing of ours reaches a child by chance.

    Nor does a settings file that lies where it runs.
    """
    return {**dict.fromkeys(_variables(), ""), TENANT_VARIABLE: "", CONFIG_VARIABLE: os.devnull}


def _variables() -> Iterator[str]:
    for section, keys in setting_types().items():
        for key in keys:
            yield variable_of(section, key)
            yield variable_of(section, key) + "_FILE"
