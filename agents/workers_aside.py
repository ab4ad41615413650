"""The workers that compute aside, for a rebuild or a backfill: begun, looked at, ended.

Owns their processes. Invariant: when the `with` block has ended, so have they, and when the process that began them is
killed, they end by themselves; none sees other settings than its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

from deploy.local.ports import free_ports
from streams.errors import OperatorError
from streams.settings import Settings, override
from streams.settings_child import child_environment
from streams.topic_specs import generation_suffix, topic_names

MOST_LATENESS_HOURS = 17_568  # what the setting may be
MOST_UNREAD = 2_000
"""Messages that may be unread by workers that count as caught up: those that come in meanwhile; they are read later."""
_STOP_SECONDS = 90.0


def lateness_aside(settings: Settings, reach_hours: int) -> int:
    """Return the lateness (hours) that workers aside allow: history that reaches back *reach_hours*, and what is live.

    They read the sources side by side, one of them faster than another, and the faster one's time is the time.
    """
    return min(MOST_LATENESS_HOURS, settings.time.allowed_lateness_hours + max(0, reach_hours))


class AsideError(OperatorError):
    """What should be computed aside could not be; what is live is as it was."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the workers aside are: messages of the sources that are read, and those still to be read."""

    read: int
    unread: int


class WorkersAside:
    """Some workers with *settings*, but names and ports of their own, and logs in *logs*; they serve *command*."""

    def __init__(self, settings: Settings, logs: Path, count: int, command: str = "rebuild") -> None:
        self._settings, self._logs, self._count, self._command = settings, logs, count, command
        self._processes: list[subprocess.Popen[bytes]] = []
        self._urls: list[str] = []

    def __enter__(self) -> WorkersAside:
        for number, port in enumerate(free_ports(self._count), 1):
            mine = override(self._settings, {"worker.name": f"{self._command}-{number}", "web.port": port})
            self._urls.append(f"http://127.0.0.1:{port}/metrics")
            with self._log(number).open("ab") as log:
                # Everything is in the environment: a settings file that lies here by chance must not fill it up.
                command = [sys.executable, "-m", "agents.cli", "--config", os.devnull, "worker", "--leashed"]
                started = subprocess.Popen(
                    command, env=child_environment(mine), stdin=subprocess.PIPE, stdout=log, stderr=log
                )
                self._processes.append(started)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def check(self) -> None:
        """Check that all of them run.

        Raises:
            AsideError: If one has ended.
        """
        for process in self._processes:
            if process.poll() is not None:
                raise self._failed(process)

    def stop(self) -> None:
        """End them in order.

        Raises:
            AsideError: If one does not end well.
        """
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            if process.wait(timeout=_STOP_SECONDS):
                raise self._failed(process)

    def progress(self) -> Progress:
        """Add up what they say; one that does not answer yet has everything before it."""
        activities = topic_names(self._settings).activities
        read = unread = 0
        for url in self._urls:
            try:
                with urllib.request.urlopen(url, timeout=5) as reply:
                    text = reply.read().decode()
            except OSError:
                return Progress(0, MOST_UNREAD + 1)
            lines = [
                line
                for line in text.splitlines()
                if line.startswith(("orgpulse_lag_messages", "orgpulse_events_total"))
            ]
            found = list(text_string_to_metric_families("\n".join(lines) + "\n"))
            samples = [sample for family in found for sample in family.samples]
            lags = [sample for sample in samples if sample.name == "orgpulse_lag_messages"]
            if not lags:
                return Progress(0, MOST_UNREAD + 1)
            unread += int(sum(sample.value for sample in lags if sample.labels["topic"] != activities))
            unread += int(sum(max(0.0, sample.value - 50) for sample in lags if sample.labels["topic"] == activities))
            read += int(sum(sample.value for sample in samples if sample.labels.get("outcome") == "consumed"))
        return Progress(read, unread)

    def _log(self, number: int) -> Path:
        return self._logs / f"{self._command}{generation_suffix(self._settings)}-{number}.log"

    def _failed(self, process: subprocess.Popen[bytes]) -> AsideError:
        said = self._log(1).read_text("utf-8", "replace").splitlines()[-1:] or ["nothing"]
        return AsideError(
            f"a worker of the {self._command} ended with {process.returncode}; it said last: {said[0][:500]}",
            f"Look into {self._logs}, mend what it names, and run `orgpulse {self._command}` again"
            + (": it goes on from there, or with --afresh from nothing." if self._command == "rebuild" else "."),
        )
