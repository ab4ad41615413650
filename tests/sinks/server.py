"""A real PostgreSQL for the tests, from the system's packages: its own data directory, loopback, a password.

Invariant: it never runs as root, and nothing of it is left when the tests have ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from deploy.local.ports import HOST, free_ports
from deploy.local.processes import ChildProcess

START_SECONDS = 90.0
PASSWORD = "geheim-7Qx"


def find_programs() -> Path | None:
    """Return the directory of the newest PostgreSQL server's programs, None if none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def as_user() -> list[str] | None:
    """Return the words before a command that let it run as somebody who is not root; None if nobody is to be had."""
    if os.geteuid():
        return []
    for name in ("postgres", "nobody"):
        if subprocess.run(["id", name], capture_output=True, check=False).returncode == 0:
            group = subprocess.run(["id", "-g", name], capture_output=True, text=True, check=True).stdout.strip()
            return ["setpriv", f"--reuid={name}", f"--regid={group}", "--clear-groups"]
    return None


def why_not() -> str:
    """Return why there can be no server here; empty when there can."""
    if find_programs() is None:
        return "PostgreSQL is not installed (apt install postgresql)"
    if as_user() is None or not (os.geteuid() or shutil.which("setpriv")):
        return "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as (or no setpriv)"
    return ""


class LocalPostgres:
    """A server; `url(...)` is where it is."""

    def __init__(self, *, durable: bool = False) -> None:
        """Make its files; *durable* brings every commit to the disk, as a server in use does."""
        self._durable = durable
        programs, user = find_programs(), as_user()
        assert programs is not None and user is not None
        self._programs, self._user = programs, user
        self.directory = Path(tempfile.mkdtemp(prefix="orgpulse-pg-"))
        self.data, self.log = self.directory / "data", self.directory / "server.log"
        (self.port,) = free_ports(1)
        self._process: ChildProcess | None = None
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        if user:
            shutil.chown(self.directory, user[1].partition("=")[2])
            shutil.chown(secret, user[1].partition("=")[2])
        subprocess.run(
            [*user, programs / "initdb", "-D", self.data, "-U", "owner", "--pwfile", secret, "-A", "scram-sha-256",
             "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
            check=True, capture_output=True, cwd=self.directory,
        )  # fmt: skip

    def url(self, database: str = "postgres", user: str = "owner", password: str = PASSWORD) -> str:
        """Return the address of a database."""
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start, and return when it answers; what a killed server left behind is waited for."""
        options = ["shared_buffers=32MB", "max_connections=60", "max_wal_size=2GB"]
        options += [] if self._durable else ["fsync=off", "full_page_writes=off"]
        settings = [word for option in options for word in ("-c", option)]
        command: list[str | Path] = [
            *self._user, self._programs / "postgres", "-D", self.data, "-h", HOST, "-p", str(self.port),
            "-k", self.directory, *settings,
        ]  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or not self._process.running:
                self._process = ChildProcess(command, log=self.log, cwd=self.directory)
            try:
                self.ask("SELECT 1")
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        raise AssertionError(f"PostgreSQL did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop at once, breaking off what is under way in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(30)

    def kill(self) -> None:
        """Kill the server (SIGKILL)."""
        assert self._process is not None
        self._process.kill()

    def cpu_seconds(self) -> float:
        """Return how much processor time the server has used, with all of it that has ended."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / 100

    def signal_all(self, number: int) -> None:
        """Send *number* to the server and to everything that it started."""
        assert self._process is not None
        mine = [self._process.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == self._process.pid:
                mine.append(int(stat.parent.name))
        for pid in mine:
            os.kill(pid, number)

    def ask(self, query: str, *values: Any, url: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(url or self.url(), autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Stop and forget everything."""
        if self._process is not None and self._process.running:
            self._process.send_signal(signal.SIGQUIT)
            if not self._process.wait(10):
                self._process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
