"""Owns what stands between a request and its page: limits, names, who may, and the headers of every answer.

Invariant: nothing but `/live` and whether the process is ready is told to somebody unknown once passwords or tokens
are configured, and no answer goes out without the security headers.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

import structlog
from aiohttp import web

from streams.settings_web import WebSettings
from streams.web_buckets import Buckets
from streams.web_config import ADMIN
from streams.web_doors import Connection, Handler
from streams.web_figures import WebFigures
from streams.web_gate import Gate
from streams.web_hosts import Hosts
from streams.web_logins import ANONYMOUS, Identity, Logins, Refusal

LIVE, READY = "/live", "/ready"
IDENTITY: web.RequestKey[Identity | None] = web.RequestKey("identity", Identity)
"""Under which a request carries who asks (None: unknown)."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "orgpulse",
}
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_MOST_UNDER_WAY, _MOST_OF_ONE = 64, 32
_BURST = 10
_LOG_EVERY_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class Guard:
    """Lets requests through to what answers them."""

    def __init__(
        self, settings: WebSettings, host: str, gate: Gate, figures: WebFigures, admin_paths: Collection[str] = ()
    ) -> None:
        """Guard what is served on *host*; *admin_paths* are for those with the role alone."""
        self._gate, self._figures, self._admin = gate, figures, frozenset(admin_paths)
        self._hosts = Hosts(host, settings.allowed_hosts)
        self._rate = Buckets(settings.requests_per_second, settings.requests_per_second * _BURST)
        self._told = Buckets(1 / _LOG_EVERY_SECONDS, 1)
        self._under_way: Counter[str] = Counter()
        self.takes_changes = False
        """Whether anything is served by which something changes; until then other methods are told to be none."""
        self.logins = Logins()
        self.logins.use(gate.config)

    def headers(self) -> dict[str, str]:
        """Return what every answer carries unless it says otherwise."""
        return {**HEADERS, "Cache-Control": "no-store", **self._gate.config.headers}

    def around(self, inner: Handler) -> Handler:
        """Return *inner* with this guard before it."""

        async def guarded(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            assert isinstance(connection, Connection)
            answer = await self._answer(request, connection.client, connection.loop.time(), inner)
            if not connection.doors.may_send(connection.client, answer):
                answer = self._refuse("busy", 503, "Too much is still being sent.", 1.0)
            for name, value in self.headers().items():
                answer.headers.setdefault(name, value)
            if connection.context is not self._gate.tls():  # agreed on before the configuration changed
                answer.force_close()
            self._figures.requests.add(1, str(answer.status))
            return answer

        return guarded

    async def _answer(self, request: web.BaseRequest, client: str, now: float, inner: Handler) -> web.StreamResponse:
        if wait := self._rate.take(client, now):
            return self._refuse("rate", 429, "Too many requests.", wait)
        if request.body_exists:
            return self._refuse("body", 413, "Requests carry no body here.", close=True)
        if request.path != LIVE:
            hosts = request.headers.getall("Host", [])
            if len(hosts) != 1 or not self._hosts.allows(hosts[0]):
                return self._refuse("host", 421, "Not under this name: [web] allowed_hosts says under which.")
            refused = await self._admit(request, client, now)
            if refused is not None:
                return refused
        if self._under_way.total() >= _MOST_UNDER_WAY or self._under_way[client] >= _MOST_OF_ONE:
            return self._refuse("busy", 503, "Too much is being answered.", 1.0)
        self._under_way[client] += 1
        try:
            return await _through(request, inner)
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    async def _admit(self, request: web.BaseRequest, client: str, now: float) -> web.StreamResponse | None:
        """Find out who asks; return what to answer if they may not."""
        config = self._gate.config
        found: Identity | Refusal | None = ANONYMOUS
        if config.asks:
            headers = request.headers.getall("Authorization", [])
            found = await self.logins.identify(headers[0] if len(headers) == 1 else " " * len(headers), client, now)
        if isinstance(found, Refusal):
            return self._turn_away(found, client, now)
        request[IDENTITY] = found
        if request.path == READY:
            return None
        if found is None:
            return self._turn_away(Refusal("login"), client, now, silent=True)
        changes = self.takes_changes and request.method not in _SAFE_METHODS
        if (changes or request.path in self._admin) and found.role != ADMIN:
            return self._refuse("role", 403, 'Only for the role "admin".')
        return None

    def _turn_away(self, refusal: Refusal, client: str, now: float, *, silent: bool = False) -> web.Response:
        if not silent and not self._told.take((client, refusal.reason), now):
            who = refusal.name or "nobody who is known"
            _log.warning("not let in", client=client, user=who, reason=refusal.reason)
        if refusal.reason == "busy":
            return self._refuse("busy", 503, "Too many passwords are being checked.", refusal.wait_seconds)
        if refusal.reason == "throttled":
            return self._refuse("throttled", 429, "Too many wrong passwords.", refusal.wait_seconds)
        answer = self._refuse("login", 401, "Say who you are: a user with a password, or a token.")
        if self._gate.config.users:
            answer.headers.add("WWW-Authenticate", 'Basic realm="orgpulse", charset="UTF-8"')
        if self._gate.config.tokens:
            answer.headers.add("WWW-Authenticate", 'Bearer realm="orgpulse"')
        return answer

    def _refuse(self, reason: str, status: int, text: str, wait: float = 0.0, *, close: bool = False) -> web.Response:
        self._figures.refused.add(1, reason)
        answer = web.Response(status=status, text=f"{text}\n")
        if wait:
            answer.headers["Retry-After"] = str(max(1, math.ceil(wait)))
        if close:
            answer.force_close()
        return answer


async def _through(request: web.BaseRequest, inner: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> (
    web.StreamResponse
):  # fmt: skip
    """Return what *inner* answers, or in few words that it has no answer."""
    try:
        return await inner(request)
    except web.HTTPException as error:
        answer = web.Response(status=error.status, text=f"{error.reason}\n")
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception as error:  # noqa: BLE001  # its text may hold what somebody sent, so only its place is logged
        place = traceback.extract_tb(error.__traceback__)[-1]
        _log.error("a fault of the program", kind=type(error).__name__, file=place.filename, line=place.lineno)
        return web.Response(status=500, text="A fault of the program; it is in the log.\n")
