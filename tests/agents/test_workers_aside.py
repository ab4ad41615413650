"""Workers aside end with whoever began them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agents.workers_aside import lateness_aside
from streams.settings import Settings, override

_BEGIN = """
import sys, time
from pathlib import Path
from agents.workers_aside import WorkersAside
from streams.settings import Settings, override
settings = override(Settings(), {"kafka.brokers": "127.0.0.1:9", "worker.aside": "everything"})
with WorkersAside(settings, Path(sys.argv[1]), 1, "backfill") as workers:
    print(workers._processes[0].pid, flush=True)
    time.sleep(600)
"""


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())


def test_workers_end_when_whoever_began_them_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _BEGIN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    log, deadline = tmp_path / "backfill-1.log", time.monotonic() + 120
    while "pages served" not in log.read_text() and time.monotonic() < deadline:  # it waits for Kafka by now
        time.sleep(0.1)
    assert _runs(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait(timeout=30)
    deadline = time.monotonic() + 120
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(worker), log.read_text()[-2000:]


def test_the_lateness_is_what_is_live_and_all_of_the_history_but_no_more_than_may_be_set() -> None:
    settings = override(Settings(), {"time.allowed_lateness_hours": 100})
    assert [lateness_aside(settings, hours) for hours in (-5, 0, 50, 10**6)] == [100, 100, 150, 17_568]
