"""Runs `orgpulse` as an operator of the system under test would."""

from __future__ import annotations

import subprocess
import sys

from streams.settings_child import child_environment
from tests.faults.system import System

LONGEST_SECONDS = 480.0


def orgpulse(system: System, *arguments: str) -> str:
    """Run a command with the system's settings; return what it says, once it has ended well."""
    done = subprocess.run(
        [sys.executable, "-m", "agents.cli", *arguments], env=child_environment(system.settings),
        capture_output=True, text=True, timeout=LONGEST_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
