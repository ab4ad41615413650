"""Owns the HTTP side: connections, requests, and when which answer is given.

Invariant: a success is answered only after Kafka has acknowledged every accepted row of the request.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import time
import traceback
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from agents.listen import replies
from agents.listen.auth import Tokens
from agents.listen.body import Bodies, Busy
from agents.listen.figures import Figures
from agents.listen.forms import FORMS, Asked, Form
from agents.listen.rows import Refused, Sorted
from streams.clock import Clock
from streams.http import ListenError
from streams.outbox import Outbox
from streams.quota import Allowance
from streams.settings import Settings

_PIECE_BYTES = 65_536
_LINGER_SECONDS = 2.0
"""How long the rest of a body is read, and thrown away, after it was refused."""
_RETRY_FULL_SECONDS, _RETRY_AWAY_SECONDS = 1, 5

_log = structlog.get_logger(__name__)


def _silent() -> logging.Logger:
    """Return a log for aiohttp that keeps nothing: of what is no HTTP it would write down what was sent."""
    found = logging.getLogger(f"{__name__}.aiohttp")
    found.setLevel(logging.CRITICAL + 1)
    return found


class _Doors(web.Server):
    """aiohttp's server with a limit on connections."""

    most = 1000
    turned_away = 0

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Let a connection in, or close it at once when there are too many."""
        super().connection_made(handler, transport)
        if len(self.connections) > self.most:
            self.turned_away += 1
            transport.abort()


class HttpIntake:
    """Takes webhooks between `start` and `stop`."""

    def __init__(
        self, settings: Settings, topics: dict[str, str], tokens: Tokens, outbox: Outbox, figures: Figures, clock: Clock
    ) -> None:
        """Prepare; *topics* maps events, transactions and chat to topics."""
        self._listen, self._longest = settings.listen, settings.ingest.max_value_bytes
        self._topics, self._tokens, self._outbox, self._figures, self._clock = topics, tokens, outbox, figures, clock
        self._bodies, self._quota = Bodies(self._listen), Allowance(settings.quota, clock.now())
        self._stopping = False
        self._runner: web.ServerRunner | None = None
        self._doors: _Doors | None = None
        self._site: web.TCPSite | None = None
        self.port = self._listen.http_port

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._doors.connections) if self._doors else 0

    @property
    def turned_away(self) -> int:
        """How many were closed because there were too many."""
        return self._doors.turned_away if self._doors else 0

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Listen.

        Raises:
            ListenError: If the address can't be listened on.
        """
        self._doors = _Doors(
            self._handle, access_log=None, keepalive_timeout=self._listen.idle_seconds, auto_decompress=False,
            lingering_time=_LINGER_SECONDS, logger=_silent(),
        )  # fmt: skip
        self._doors.most = self._listen.max_connections
        self._runner = web.ServerRunner(self._doors, handle_signals=False, shutdown_timeout=self._listen.stop_seconds)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._listen.http_host, self.port, ssl_context=tls)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            self._runner = self._site = None
            where = f"{self._listen.http_host}:{self.port}"
            raise ListenError(
                f"can't listen on {where} ({error.strerror})", "Set [listen] http_host, http_port."
            ) from error
        self.port = self._runner.addresses[0][1]
        _log.info("webhooks taken", host=self._listen.http_host, port=self.port, tls=tls is not None)

    async def stop(self) -> None:
        """Refuse what is new, finish what is under way."""
        self._stopping = True
        if self._site is not None:
            await self._site.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        form = FORMS.get(request.path.rstrip("/"))
        try:
            answer = await self._answer(request, form)
        except Exception as error:  # noqa: BLE001  # its text may hold what somebody sent, so only its place is logged
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("a fault of the program", kind=type(error).__name__, file=place.filename, line=place.lineno)
            answer = web.json_response({"error": "a fault of the program; it is in the log"}, status=500)
        if self._stopping:
            answer.force_close()
        self._figures.requests.add(1, form.name if form else "other", str(answer.status))
        return answer

    async def _answer(self, request: web.BaseRequest, form: Form | None) -> web.Response:
        if form is None:
            return self._elsewhere(request)
        if request.method != "POST":
            return web.json_response({"error": "POST only"}, status=405, headers={"Allow": "POST"})
        if (closed := self._closed(form)) is not None:
            return closed
        if (wait := self._quota.wait_seconds(self._clock.now())) > 0:
            self._figures.refused.add(1, form.name, "quota")
            return replies.over_quota(math.ceil(wait), form)
        found: list[Sorted] = []
        try:
            self._look_at_header(request)
            await self._expect(request)
            await self._bodies.read(
                request.content.iter_chunked(_PIECE_BYTES), request.headers.get("Content-Encoding", ""),
                request.content_length, lambda body: found.append(self._sorted(request, form, body)),
            )  # fmt: skip
        except Refused as error:
            self._figures.refused.add(1, form.name, error.reason)
            return replies.refused(error, form)
        except Busy:
            return self._full(form)
        except (OSError, web.RequestPayloadError):  # the sender has gone, or its chunks make no sense
            self._figures.refused.add(1, form.name, "cut_off")
            return replies.refused(Refused("cut_off", "the body did not come whole", "Send it again."), form)
        return await self._deliver(found[0], form, request)

    def _look_at_header(self, request: web.BaseRequest) -> None:
        """Refuse a sender whose header is wrong before its body is read."""
        header = request.headers.get("Authorization", "")
        if header and self._tokens.grant_of_header(header)[0] is None:
            raise Refused("unknown_token", "the token is not known", "Send `Authorization: Bearer TOKEN`.")

    async def _expect(self, request: web.BaseRequest) -> None:
        """Tell a sender that waits for it (curl does) to send its body."""
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # it is no part of the answer

    def _sorted(self, request: web.BaseRequest, form: Form, body: bytes) -> Sorted:
        asked = Asked(
            body, request.content_type, request.headers.get("Authorization", ""), self._clock.now(), self._longest,
            self._listen.max_rows,
        )  # fmt: skip
        return form.sort(form, asked, self._tokens)

    async def _deliver(self, found: Sorted, form: Form, request: web.BaseRequest) -> web.Response:
        """Bring what was accepted to Kafka, then answer."""
        began = time.monotonic()
        delivery = self._outbox.offer([(self._topics[kind], key, value) for kind, key, value in found.messages])
        if delivery is None:
            return self._full(form)
        size = sum(len(key or b"") + len(value) for _, key, value in found.messages)
        self._quota.take(len(found.messages), size, self._clock.now())
        try:
            await asyncio.wait_for(asyncio.shield(delivery), self._listen.acknowledge_seconds)
        except TimeoutError:
            self._figures.refused.add(len(found.messages), form.name, "not_acknowledged")
            why = f"Kafka has not acknowledged within {self._listen.acknowledge_seconds:g} s"
            return replies.later(why, _RETRY_AWAY_SECONDS, form)
        if found.messages:
            self._figures.acknowledge.observe(time.monotonic() - began)
            self._figures.accepted.add(len(found.messages), form.name, form.kind)
        if found.ignored:
            self._figures.ignored.add(found.ignored, form.name)
        for _, error in found.refused:
            self._figures.refused.add(1, form.name, error.reason)
        return replies.taken(found, form, request.query)

    def _closed(self, form: Form | None = None) -> web.Response | None:
        """Return the answer while nothing can be taken at all."""
        if self._stopping:
            return replies.later("this process is about to end", _RETRY_FULL_SECONDS, form)
        if self._outbox.oldest_seconds > self._listen.acknowledge_seconds or (
            self._outbox.trouble and not self._outbox.connected
        ):
            return replies.later("Kafka takes nothing at present", _RETRY_AWAY_SECONDS, form)
        return None

    def _full(self, form: Form) -> web.Response:
        self._figures.refused.add(1, form.name, "buffer_full")
        return replies.later("too much is waiting for Kafka", _RETRY_FULL_SECONDS, form)

    def _elsewhere(self, request: web.BaseRequest) -> web.Response:
        """Answer load balancers, and those who ask for what there is not."""
        if request.path == "/live":
            return web.json_response({"live": True})
        if request.path == "/ready":
            closed = self._closed()
            return closed or web.json_response({"ready": True})
        body: dict[str, Any] = {"error": "there is nothing here", "addresses": list(FORMS)}
        return web.json_response(body, status=404)
