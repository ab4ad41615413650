"""Samples running workers with py-spy, which reads their stacks from outside: nothing in them changes.

Invariant: a sampler ends with the process it looks at; what it found is in its file then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from deploy.local.errors import LocalError
from deploy.local.processes import ChildProcess
from tests.bench.peers.install import python_of
from tests.bench.profile.steps import Profile, read_stacks

HERE = Path(__file__).resolve().parent
ATTACH_SECONDS, END_SECONDS = 30.0, 60.0
TICKS = os.sysconf("SC_CLK_TCK")


def py_spy() -> Path:
    """Return the program, installed if it is not there yet.

    Raises:
        LocalError: If it can't be had.
    """
    return python_of("py-spy", HERE).with_name("py-spy")


class Sampler:
    """Looks at processes from `start` on until they end."""

    def __init__(self, program: Path, folder: Path, rate: int) -> None:
        self._program, self._folder, self._rate = program, folder, rate
        self._children: list[tuple[ChildProcess, Path]] = []
        self.cpu_before = 0.0
        """Processor seconds that the processes had used when sampling began."""

    def start(self, pids: Sequence[int]) -> None:
        """Begin to sample *pids*."""
        for pid in pids:
            file = self._folder / f"stacks-{pid}"
            command = [self._program, "record", "--pid", str(pid), "--format", "raw", "--function"]
            command += ["--full-filenames", "--rate", str(self._rate), "--output", file]
            self._children.append((ChildProcess(command, log=self._folder / f"py-spy-{pid}.log"), file))
            self.cpu_before += cpu_seconds(pid)

    def stop(self) -> None:
        """End what is left, as after an error."""
        for child, _ in self._children:
            child.stop()

    def collect(self) -> Profile:
        """Wait for the end and return all samples.

        Raises:
            LocalError: If a process could not be sampled.
        """
        found = Profile()
        for child, file in self._children:
            child.wait(END_SECONDS)
            child.stop()
            if not file.exists():
                said = child.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise LocalError(
                    f"py-spy could not look at the worker: {said[-1][:200]}",
                    "run it as root, or allow it: sudo sysctl kernel.yama.ptrace_scope=0",
                )
            found.add(read_stacks(file.read_text().splitlines()))
        return found


def cpu_seconds(pid: int) -> float:
    """Return the processor seconds a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
