"""TCP ports on the loopback interface.

Invariant: a port is handed out only if nothing listened on it a moment ago; whoever starts a server on it retries
when it lost the race.
"""

from __future__ import annotations

import contextlib
import random
import socket

from deploy.local.errors import LocalError

HOST = "127.0.0.1"
_NOT_FOR_CLIENTS = range(15_000, 32_768)
"""Linux gives clients ports from 32,768 on, macOS from 49,152 on."""


def free_ports(count: int) -> list[int]:
    """Return *count* different ports that are free now; all are held until the last is found, so that they differ.

    They lie below those that the system gives to outgoing connections: a server that is started again later, at the
    same address, must not find it taken by some client's connection. Where none is free there, the system chooses.
    """
    choice = random.sample(_NOT_FOR_CLIENTS, k=len(_NOT_FOR_CLIENTS))
    with contextlib.ExitStack() as held:
        return [_bound(held.enter_context(socket.socket()), choice) for _ in range(count)]


def _bound(free: socket.socket, choice: list[int]) -> int:
    """Bind *free* to one of the ports in *choice*, which are used up; return its port."""
    while choice:
        with contextlib.suppress(OSError):
            free.bind((HOST, choice.pop()))
            break
    else:
        free.bind((HOST, 0))
    return int(free.getsockname()[1])


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
