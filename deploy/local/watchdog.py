"""A process that outlives its parent by seconds only, to end what the parent left behind.

Run as a script with a pipe as its standard input. Each line `+PGID` registers a process group, `-PGID` releases it.
The pipe's end means that the parent is gone, however it died. Invariant: when this process has ended, no registered
group is alive. Standard library only, and nothing of this project: it is started with `python -I -S`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 5.0
POLL_SECONDS = 0.02


def is_alive(group: int) -> bool:
    """Tell whether any process of *group* still exists (a zombie counts, until its new parent reaps it)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_groups(groups: set[int]) -> None:
    """Ask every group to end, wait up to `GRACE_SECONDS`, then kill what is left."""
    deadline = time.monotonic() + GRACE_SECONDS
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGTERM)
    while any(is_alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def main() -> None:
    """Keep the set of registered groups until the pipe closes, then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line)
        if group > 0:
            groups.add(group)
        else:
            groups.discard(-group)
    end_groups(groups)


if __name__ == "__main__":
    main()
