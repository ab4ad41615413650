"""Where downloaded parts are kept, and how processes share the place.

Invariant: whoever writes in the cache holds its lock; files appear there whole, by rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deploy.local.errors import LocalError

FREE_BYTES_NEEDED = 1 << 30


def cache_directory() -> Path:
    """Return `ORGPULSE_CACHE`, or `~/.cache/orgpulse`."""
    chosen = os.environ.get("ORGPULSE_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "orgpulse"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold *directory*'s lock; another process waits. The lock dies with its holder."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def require_space(directory: Path, bytes_needed: int = FREE_BYTES_NEEDED) -> None:
    """Check that *directory* can take *bytes_needed* more.

    Raises:
        LocalError: If its file system has less.
    """
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < bytes_needed:
        raise LocalError(
            f"{directory} has {free / 1e6:,.0f} MB free; {bytes_needed / 1e6:,.0f} MB are needed.",
            f"make room (`df -h {directory}` shows the file system), or set ORGPULSE_CACHE and TMPDIR to a larger one.",
        )
