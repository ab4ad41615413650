"""What every job in Python shares: where it reads, and the moments it notes.

Invariant: imports nothing but the standard library, because the jobs run in environments of their own. Moments are
`time.monotonic()`, one clock for all processes of a machine under Linux (Java's `System.nanoTime` reads it too).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

BROKER = os.environ.get("PEERS_BROKER", "")
TOPIC = os.environ.get("PEERS_TOPIC", "")
NAME = os.environ.get("PEERS_NAME", "")
"""The job's own: prefix of its topics, its consumer group."""
RESULT = f"{NAME}-result"
EVENTS = int(os.environ.get("PEERS_EVENTS", "0"))
PARTITIONS = int(os.environ.get("PEERS_PARTITIONS", "4"))
FOLDER = Path(os.environ.get("PEERS_FOLDER", "."))
"""For state and checkpoints; empty at the start, gone after the run."""
WEEK_SECONDS = 7 * 24 * 3600


def mark(what: str, moment: float | None = None) -> None:
    """Note that *what* (`began`: the first event is handled; `ended`: all effects are durable) happened."""
    line = f"{what} {time.monotonic() if moment is None else moment:.6f}\n"
    with (FOLDER / "marks").open("a") as notes:
        notes.write(line)


def wait_to_be_ended() -> None:
    """Stay, so that processor time and memory can still be read; the bench ends the process."""
    sys.stdout.flush()
    while True:
        signal.pause()
