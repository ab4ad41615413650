"""TCP ports on the loopback interface.

Invariant: a port is handed out only if nothing listened on it a moment ago; whoever starts a server on it retries
when it lost the race.
"""

from __future__ import annotations

import contextlib
import socket

from deploy.local.errors import LocalError

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Return *count* different ports that are free now; all are held until the last is found, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def require_free(port: int, program: str) -> None:
    """Check that *port* can be bound.

    Raises:
        LocalError: If another program holds it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise LocalError(
                f"Port {port}, which {program} was to use, is taken by another program ({error.strerror}).",
                f"find it with `ss -ltnp 'sport = :{port}'` and stop it, or choose another port.",
            ) from error
