"""Owns under which names, and on which addresses, the pages may be reached.

Invariant: a page of somebody else whose name was rebound to this machine is not answered: its requests carry that
name. An address is no name that anybody could rebind, so addresses are let through.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

_LOOPBACK = "localhost"
_PORT = re.compile(r"(?::\d{0,5})?")


class Hosts:
    """The names that `Host` may hold.

    >>> hosts = Hosts("127.0.0.1", (".example.com",))
    >>> [hosts.allows(each) for each in ("localhost:6066", "[::1]:80", "10.0.0.7", "a.example.com", "evil.example")]
    [True, True, True, True, False]
    """

    def __init__(self, listening: str, allowed: Sequence[str]) -> None:
        """Allow *allowed*, and what always is."""
        names = {_LOOPBACK, listening, socket.gethostname(), *allowed}
        lowered = {each.lower().rstrip(".") for each in names if each}
        self._names = {each for each in lowered if not each.startswith(".")}
        self._endings = tuple(each for each in lowered if each.startswith("."))

    def allows(self, header: str) -> bool:
        """Say whether a `Host` header names this machine."""
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})" + _PORT.pattern, header)
        if found is None:
            return False
        name = found[1].lower().rstrip(".")
        if _is_address(name.strip("[]")):
            return True
        return name in self._names or (bool(self._endings) and name.endswith(self._endings))


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches what listens on *host*.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "db")]
    [True, True, True, False, False]
    """
    return host.lower() == _LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
