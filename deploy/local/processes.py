"""Child processes of the local system: their groups, their logs, their end.

Invariant: no child outlives this process, whether it leaves by return, exception, Ctrl-C, SIGTERM or SIGKILL. Each
child leads its own session, so Ctrl-C in a terminal reaches this process alone and the order of stopping stays ours.
A watchdog (one per process, see `watchdog.py`) ends the groups of a parent that could not.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.01
# The shell waits for one line before it becomes the program: a child runs only once the watchdog knows it,
# and if we die in between, the closed pipe ends the shell.
WAIT_THEN_EXEC = 'read -r go && [ "$go" = go ] && exec "$@" </dev/null'


class _Watchdog:
    """The registry of living groups, kept in a second process that notices our death."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._children: dict[int, ChildProcess] = {}

    def register(self, child: ChildProcess) -> None:
        with self._lock:
            if self._owner != os.getpid():  # the first child, or we are a fork of the process that had them
                self._owner, self._process, self._children = os.getpid(), None, {}
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
                for group in self._children:
                    self._tell(group)
            self._children[child.pid] = child
            self._tell(child.pid)

    def release(self, child: ChildProcess) -> None:
        with self._lock:
            if self._owner == os.getpid() and self._children.pop(child.pid, None) is not None:
                with contextlib.suppress(BrokenPipeError):
                    self._tell(-child.pid)

    def close(self) -> None:
        """Stop what is still registered, newest first, and let the watchdog go."""
        if self._owner != os.getpid():
            return
        for child in reversed(list(self._children.values())):
            child.stop()
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _tell(self, number: int) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        script = Path(__file__).with_name("watchdog.py")
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            text=True,
        )


_watchdog = _Watchdog()
atexit.register(_watchdog.close)


class ChildProcess:
    """A running program with its own process group and its output in a file.

    `stop` asks, then kills; `kill` kills. Both end the whole group, return when the leader is reaped and may be
    repeated.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start *argv*; its output is appended to *log*. *env* is added to this process's environment.

        Raises:
            OSError: If the log cannot be opened. A program that does not exist ends at once with code 127.
        """
        self.log = log
        self._reaping = threading.RLock()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", WAIT_THEN_EXEC, "sh", *(str(part) for part in argv)],
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )
        _watchdog.register(self)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as gate:
            gate.write(b"go\n")

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The program's exit code (negative: the signal that ended it), or None while it runs."""
        self._reap_if_ended()
        return self._process.returncode

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def send_signal(self, number: int) -> None:
        """Send signal *number* to the program alone, if it still runs."""
        with self._reaping:
            if self.running:
                os.kill(self.pid, number)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until the program has ended; False when *timeout_seconds* went by first."""
        deadline = time.monotonic() + timeout_seconds
        while self.running:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> int | None:
        """Ask the group to end (SIGTERM), kill it after *timeout_seconds*; return the exit code."""
        self._signal_group(signal.SIGTERM)
        try:
            stopped = self.wait(timeout_seconds)
        except BaseException:  # Ctrl-C during the wait must not leave the group behind
            self.kill()
            raise
        return self.exit_code if stopped else self.kill()

    def kill(self) -> int | None:
        """Kill the group now; return the exit code."""
        self._signal_group(signal.SIGKILL)
        self.wait(STOP_TIMEOUT_SECONDS)
        return self.exit_code

    def _signal_group(self, number: int) -> None:
        with self._reaping:
            if self.running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)

    def _reap_if_ended(self) -> None:
        """Reap the leader once it has ended; kill the rest of its group while the id cannot be another's yet."""
        with self._reaping:
            if self._process.returncode is not None:
                return
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            _watchdog.release(self)
