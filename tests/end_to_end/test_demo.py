"""The demo, as a newcomer runs it: it checks itself, ends cleanly, leaves nothing behind, and says what is wrong.

Invariant: each run is a process of its own, and every process below it is looked for after its end.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.extent import long_form

SMALL = ("--orgs", "24", "--users", "240", "--weeks", "3")
TINY = ("--orgs", "8", "--users", "60", "--weeks", "2")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agents.cli", "demo", *arguments]


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of living processes that work in *directory* or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            place = (entry / "cwd").readlink()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if line and place.is_relative_to(directory):
            found.append(f"{entry.name} {line}")
    return found


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(480)
def test_a_demo_played_once_is_equal_to_its_recount_and_leaves_no_process(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--once", *SMALL), cwd=tmp_path, capture_output=True, text=True, timeout=450, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"([\d,]+) messages recounted; ([\d,]+) keys, ([\d,]+) fields: equal", done.stdout)
    assert counted, done.stdout
    messages, keys, fields = (int(number.replace(",", "")) for number in counted.groups())
    assert messages > 10_000 and keys > 300 and fields > 5_000
    assert re.search(r"The page: http://127\.0\.0\.1:\d+/", done.stdout)
    assert "Northwind Traders" in done.stdout
    assert re.search(r"Open alerts: \d+, the newest first", done.stdout), done.stdout
    assert re.search(r"measures by month and hour +[1-9][\d,]* +0\n", done.stdout), done.stdout
    assert re.search(r"alerts: topic, Redis, changes, metrics +[1-9]\d* +0\n", done.stdout), done.stdout
    assert processes_of(tmp_path) == []


@long_form
@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(480)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_live_demo_restarts_a_killed_worker_and_ends_without_a_trace(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "said.txt"
    with log.open("w") as said:
        demo = subprocess.Popen(command(*TINY), cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "events/s" in log.read_text() or demo.poll() is not None, 300, "the demo shows nothing")
        assert demo.poll() is None, log.read_text()
        workers = [line for line in processes_of(tmp_path) if "agents.cli worker" in line]
        assert len(workers) == 2
        os.kill(int(workers[0].split()[0]), signal.SIGKILL)
        wait_for(lambda: "was ended by SIGKILL; started again" in log.read_text(), 120, "no word of the killed worker")
        demo.send_signal(number)
        assert demo.wait(timeout=90) == 0, log.read_text()
        assert processes_of(tmp_path) == []
    finally:
        demo.kill()
        demo.wait()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_demo_that_is_interrupted_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    log = tmp_path / "said.txt"
    with log.open("w") as said:
        demo = subprocess.Popen(command(*TINY), cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: any("kafka.Kafka" in line for line in processes_of(tmp_path)), 120, "no broker was started")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=90) == 130, log.read_text()
        assert "Traceback" not in log.read_text()
        assert processes_of(tmp_path) == []
    finally:
        demo.kill()
        demo.wait()


def test_a_broker_that_is_not_there_is_told_in_plain_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--brokers", "127.0.0.1:1"), cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 1
    assert "no Kafka broker answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(tmp_path) == []
