"""Runs `orgpulse` as an operator of the system under test would."""

from __future__ import annotations

import os
import subprocess
import sys

from streams.settings import environment_of
from tests.faults.system import System

LONGEST_SECONDS = 240.0


def orgpulse(system: System, *arguments: str) -> str:
    """Run a command with the system's settings; return what it says, once it has ended well."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ORGPULSE_")}
    done = subprocess.run(
        [sys.executable, "-m", "agents.cli", *arguments], env=plain | environment_of(system.settings),
        capture_output=True, text=True, timeout=LONGEST_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
