"""Owns the open connections: how many there may be, how long each may take for what, and which has to go.

Invariant: a bounded number of connections, of one client and altogether; a new one is let in at the cost of the one
that has waited longest without a request, so clients that only hold on keep nobody out. Nothing that a client sent
is written to the log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streams.settings_web import WebSettings
from streams.web_figures import WebFigures

LINE_BYTES, FIELD_BYTES, MOST_FIELDS = 8190, 4096, 64
"""Of a request's head: its first line, one header, and how many headers."""
MOST_SENDING_BYTES = 64 << 20
"""Of answers that wait for their readers, altogether; one client has half of it."""
_SMALL_BYTES = 1 << 16
_LINGER_SECONDS = 1.0
"""How long the rest of a body is read, and thrown away, after it was refused."""
_SHARE = 4  # one client may have one connection in so many
_SWEEP_SECONDS = 0.5

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may take."""

    most: int
    head_seconds: float
    idle_seconds: float
    answer_seconds: float

    @property
    def of_one_client(self) -> int:
        """Return how many connections one client may have."""
        return max(2, self.most // _SHARE)


def limits_of(settings: WebSettings) -> Limits:
    """Return the limits that the settings name."""
    return Limits(settings.max_connections, settings.head_seconds, settings.idle_seconds, settings.answer_seconds)


def client_of(address: str) -> str:
    """Return whom an address belongs to: in IPv6 everybody has a whole /64.

    >>> client_of("192.0.2.7"), client_of("::ffff:192.0.2.7"), client_of("2001:db8::1:2:3:4"), client_of("fe80::1%eth0")
    ('192.0.2.7', '192.0.2.7', '2001:db8:0:0', 'fe80:0:0:0')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return ":".join(f"{int(part, 16):x}" for part in found.exploded.split(":")[:4])


def size_of(answer: web.StreamResponse) -> int:
    """Return how many bytes an answer keeps until it is read."""
    body = answer.body if isinstance(answer, web.Response) else None
    return len(body) if isinstance(body, bytes | bytearray) else 0


class Connection(RequestHandler):
    """aiohttp's connection, with its state noted and its own words for what is no HTTP."""

    def __init__(self, doors: Doors, client: str, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(doors, loop=loop, **options)
        self.doors, self.client, self.loop = doors, client, loop
        self.busy = self.has_begun = self.was_made = False
        self.is_counted = True  # since it was entered
        self.since = loop.time()
        self.context: ssl.SSLContext | None = None
        self._pipe: asyncio.Transport | None = None  # aiohttp lets go of its own while it is still flushed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note that the connection stands; one that had to make room just before ends at once."""
        self.was_made = True
        self._pipe = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        self.context = transport.get_extra_info("sslcontext")
        super().connection_made(transport)
        if not self.is_counted:
            self.drop()

    def data_received(self, data: bytes) -> None:
        """Note when a request's head began to arrive."""
        if not (self.busy or self.has_begun):
            self.has_begun, self.since = True, self.loop.time()
        super().data_received(data)

    def begin(self) -> None:
        """Note that a request is here."""
        self.busy, self.since = True, self.loop.time()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Note that the answer has gone out."""
        size = size_of(resp)
        self.doors.sending[self.client] += size
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.doors.sending[self.client] -= size
            if not self.doors.sending[self.client]:
                del self.doors.sending[self.client]
            self.busy = self.has_begun = False
            self.since = self.loop.time()
            self.doors.rested(self)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP without repeating any of it."""
        self.doors.figures.refused.add(1, "malformed")
        self.doors.figures.requests.add(1, str(status))
        answer = web.Response(status=status, text="This is no request that can be understood.\n")
        answer.headers.update(self.doors.plain_headers())
        answer.force_close()
        return answer

    def overdue(self, now: float, limits: Limits) -> str:
        """Return what it takes too long for, if anything."""
        lasts = now - self.since
        if self.busy:
            return "slow_answer" if lasts > limits.answer_seconds else ""
        if self.has_begun:
            return "slow_head" if lasts > limits.head_seconds else ""
        return "idle" if lasts > limits.idle_seconds else ""

    def drop(self) -> bool:
        """End it at once, whatever is still to be sent; return whether that had not been done yet."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.abort()
        return pipe is not None


class Doors(web.Server):
    """aiohttp's server with limits."""

    def __init__(
        self, handler: Handler, request_factory: Any, limits: Limits, figures: WebFigures,
        plain_headers: Callable[[], dict[str, str]],
    ) -> None:  # fmt: skip
        """Let requests through to *handler*; *plain_headers* are those of what is no request."""
        super().__init__(self._serve, request_factory=request_factory)
        self._handler, self.limits, self.figures, self.plain_headers = handler, limits, figures, plain_headers
        self.all: set[Connection] = set()
        self.waiting: dict[Connection, None] = {}
        """Connections without a request, the one that has waited longest first."""
        self.held: Counter[str] = Counter()
        """Connections of each client, those that have still to agree on TLS too."""
        self.sending: Counter[str] = Counter()
        """Bytes of answers that clients have not read yet, by client."""
        self._sweeper: asyncio.Task[None] | None = None

    def connection(self, client: str) -> Connection:
        """Return what takes a new connection of *client* that was entered."""
        return Connection(
            self, client, asyncio.get_running_loop(), access_log=None, logger=_silent(),
            keepalive_timeout=2 * self.limits.idle_seconds,  # the sweeper is there before
            max_line_size=LINE_BYTES, max_field_size=FIELD_BYTES, max_headers=MOST_FIELDS,
            lingering_time=_LINGER_SECONDS, auto_decompress=False,
        )  # fmt: skip

    @property
    def total(self) -> int:
        """How many connections there are."""
        return self.held.total()

    def enter(self, client: str) -> bool:
        """Count a new connection of *client*; False if there is no room and nobody who has to make some."""
        limits = self.limits
        if self.held[client] >= limits.of_one_client and not self._displace(client):
            return False
        if self.total >= limits.most and not self._displace():
            return False
        self.held[client] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Count a connection no longer, from the first call on."""
        if connection.is_counted:
            connection.is_counted, client = False, connection.client
            self.held[client] -= 1
            if not self.held[client]:
                del self.held[client]

    def may_send(self, client: str, answer: web.StreamResponse) -> bool:
        """Say whether an answer may wait for its reader: one always, many only as far as there is memory for them."""
        size = size_of(answer)
        if size <= _SMALL_BYTES:
            return True
        own, everybody = self.sending[client], self.sending.total()
        return (not own or own + size <= MOST_SENDING_BYTES // 2) and (
            not everybody or everybody + size <= MOST_SENDING_BYTES
        )

    def rested(self, connection: Connection) -> None:
        """Note that a connection waits for its next request."""
        if connection in self.all:
            self.waiting[connection] = None

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Note a new connection."""
        super().connection_made(handler, transport)
        assert isinstance(handler, Connection)
        self.all.add(handler)
        if handler.is_counted:
            self.waiting[handler] = None
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        assert isinstance(handler, Connection)
        self.all.discard(handler)
        self.waiting.pop(handler, None)
        self.leave(handler)

    def drop_waiting(self) -> None:
        """End all connections without a request."""
        for connection in list(self.waiting):
            connection.drop()

    def close(self) -> None:
        """End what looks after the connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    def make_room(self) -> bool:
        """End the connection that has waited longest, whoever's it is."""
        return self._displace()

    def _displace(self, client: str | None = None) -> bool:
        for connection in self.waiting:
            if client is None or connection.client == client:
                del self.waiting[connection]
                self.figures.refused.add(1, "connections")
                connection.drop()
                self.leave(connection)  # at once: who comes next need not push out another one
                return True
        return False

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        self.waiting.pop(connection, None)
        connection.begin()
        return await self._handler(request)

    async def _sweep(self) -> None:
        """End, again and again, what takes too long."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in list(self.all):
                if (reason := connection.overdue(now, self.limits)) and connection.drop():
                    self.figures.refused.add(1, reason)


def _silent() -> logging.Logger:
    """Return a log for aiohttp that keeps nothing: of what is no HTTP it would write down what was sent."""
    found = logging.getLogger(f"{__name__}.aiohttp")
    found.setLevel(logging.CRITICAL + 1)
    return found
