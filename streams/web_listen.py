"""Owns the listening sockets: who is let through to the doors, over which TLS.

Invariant: a connection is counted before anything is kept for it, and TLS is that of the configuration in force when
it came.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from streams.web_doors import Connection, Doors, client_of

_QUEUE = 128
_PAUSE_SECONDS = 0.05
_SHUTDOWN_SECONDS = 1.0


class _Guest:
    """A connection that is on its way through the doors; it counts until it is lost or turned away."""

    def __init__(self, connection: socket.socket, protocol: Connection) -> None:
        self.connection, self.protocol = connection, protocol
        self.is_ours = True  # the socket, until the loop has it

    @property
    def can_make_room(self) -> bool:
        """Whether to turn it away makes room: once it stands the doors alone know that."""
        return self.protocol.is_counted and not self.protocol.was_made


class Listening:
    """Takes connections between `open` and `close`."""

    def __init__(self, doors: Doors, tls: Callable[[], ssl.SSLContext | None]) -> None:
        """Prepare; *tls* is asked for each connection."""
        self._doors, self._tls = doors, tls
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._greeting: dict[asyncio.Task[None], _Guest] = {}

    async def open(self, host: str, port: int) -> int:
        """Listen on every address of *host*; return the port.

        Raises:
            OSError: If an address can't be listened on.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                bound = (address[0], port, *address[2:])
                self._sockets.append(_listening(family, bound))
                port = self._sockets[0].getsockname()[1]
        except OSError:
            self._close_sockets()
            raise
        self._accepting = [loop.create_task(self._accept(each)) for each in self._sockets]
        return port

    async def close(self) -> None:
        """Take no more connections."""
        tasks = [*self._accepting, *self._greeting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._close_sockets()

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets = []

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:  # it went again before it was taken, or there are no more file descriptors
                self._doors.make_room()
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            client = client_of(str(address[0]))
            if not self._enter(client):
                self._doors.figures.refused.add(1, "connections")
                connection.close()
                continue
            guest = _Guest(connection, self._doors.connection(client))
            task = loop.create_task(self._greet(guest))
            self._greeting[task] = guest
            task.add_done_callback(self._greeted)

    def _enter(self, client: str) -> bool:
        """Find room for a connection; who has not even agreed on TLS for longest goes if need be."""
        if self._doors.enter(client):
            return True
        alone = self._doors.held[client] >= self._doors.limits.of_one_client
        for task, guest in self._greeting.items():
            if guest.can_make_room and (guest.protocol.client == client or not alone):
                self._doors.leave(guest.protocol)
                task.cancel()
                self._doors.figures.refused.add(1, "connections")
                return self._doors.enter(client)
        return False

    async def _greet(self, guest: _Guest) -> None:
        """Agree on TLS if that is asked for, and hand the connection over."""
        context, doors = self._tls(), self._doors
        limits = {} if context is None else {
            "ssl_handshake_timeout": doors.limits.head_seconds, "ssl_shutdown_timeout": _SHUTDOWN_SECONDS,
        }  # fmt: skip
        guest.is_ours = False
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest.protocol, guest.connection, ssl=context, **limits
            )
        except OSError:  # no TLS, not in time, or gone meanwhile
            if not guest.protocol.was_made:
                doors.figures.refused.add(1, "tls")

    def _greeted(self, task: asyncio.Task[None]) -> None:
        guest = self._greeting.pop(task)
        if guest.is_ours:  # called off before it began
            guest.connection.close()
        if not guest.protocol.was_made:
            self._doors.leave(guest.protocol)


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: If it can't.
    """
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(address)
        found.listen(_QUEUE)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found
