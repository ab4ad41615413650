"""The worker's own pages: `/live`, `/ready`, `/metrics`, `/status` and an index of them.

Invariant: it listens on one address, loopback unless told otherwise, and everything goes through the guard
(`streams.web_guard`). Whoever extends it with further pages takes over the index and answers for what they show.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.redaction import cover
from streams.settings_web import WebSettings
from streams.web_config import ADMIN, WebConfig
from streams.web_doors import Doors, Limits, limits_of
from streams.web_figures import WebFigures
from streams.web_gate import Gate
from streams.web_guard import IDENTITY, LIVE, READY, Guard
from streams.web_listen import Listening

Check: TypeAlias = tuple[str, bool, str]  # name, passed, detail

STOP_SECONDS = 2.0  # how long answers under way may take when it stops
INDEX = """orgpulse
/live     the process answers
/ready    200 when every check passes, else 503; each check as JSON
/metrics  for Prometheus
/status   for the role "admin": checks, and how the pages themselves are served
"""
STATUS = "/status"

_log = structlog.get_logger(__name__)


class ListenError(RuntimeError):
    """The address can't be listened on; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}: {remedy}")
        self.message, self.remedy = message, remedy


class HttpServer:
    """Serves the pages between `start` and `stop`."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        checks: Callable[[], Sequence[Check]],
        extend: Callable[[web.Application], None] | None = None,
        setting: str = "[web] ",
        web_settings: WebSettings | None = None,
    ) -> None:
        """Prepare, without listening.

        Args:
            host: Where to listen.
            port: Likewise; 0 takes a free one.
            registry: What `/metrics` shows.
            checks: Called for each `/ready`.
            extend: Adds further pages, `/` among them, each time listening begins.
            setting: What the settings of host and port begin with, for those who have to change them.
            web_settings: Who may look, and limits.

        Raises:
            SettingsError: If the web configuration can't be used.
        """
        self.host, self.port = host, port
        self._registry, self._checks, self._extend, self._setting = registry, checks, extend, setting
        settings = web_settings or WebSettings()
        self._limits = limits_of(settings)
        self._gate = Gate(settings, host, setting)
        self.figures = WebFigures(registry, self._look)
        self._guard = Guard(settings, host, self._gate, self.figures, (STATUS,))
        self._gate.on_change = self._changed
        self._runner: _Runner | None = None
        self._listening: Listening | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, e.g. ``http://127.0.0.1:6066``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._gate.config.tls else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: If the port is taken or the address is not this machine's.
        """
        app = web.Application()
        pages = ((LIVE, self._live), (READY, self._ready), ("/metrics", self._metrics), (STATUS, self._status))
        for path, handler in pages:
            app.router.add_get(path, handler)
        if self._extend is None:
            app.router.add_get("/", self._index)
        else:
            self._extend(app)
        self._guard.takes_changes = any(route.method not in ("GET", "HEAD") for route in app.router.routes())
        runner = _Runner(app, self._guard, self._limits, self.figures)
        await runner.setup()
        assert runner.doors is not None
        listening = Listening(runner.doors, self._gate.tls)
        try:
            self.port = await listening.open(self.host, self.port)
        except OSError as error:
            await runner.cleanup()
            raise ListenError(*self._remedy(error)) from error
        self._runner, self._listening = runner, listening
        self._watching = asyncio.create_task(self._gate.watch())
        _log.info("pages served", url=self.url)

    async def stop(self) -> None:
        """Stop listening; harmless when not started."""
        runner, self._runner = self._runner, None
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        if self._listening is not None:
            await self._listening.close()
            self._listening = None
        if runner is not None:
            await runner.cleanup()

    def _look(self) -> int:
        """Set what is known only when it is asked for; return how many connections there are."""
        self.figures.config_ok.set(0 if self._gate.problem else 1)
        self.figures.config_loaded.set(self._gate.loaded_at)
        return self._runner.doors.total if self._runner and self._runner.doors else 0

    def _changed(self, config: WebConfig) -> None:
        """Go by another configuration; connections that agreed on the former TLS end."""
        self._guard.logins.use(config)
        if self._runner is not None and self._runner.doors is not None:
            self._runner.doors.drop_waiting()

    def _remedy(self, error: OSError) -> tuple[str, str]:
        where = f"{self.host}:{self.port}"
        if error.errno == errno.EADDRINUSE:
            return (
                f"{where} is taken",
                f"Stop what listens there, or set another {self._setting}port (0 takes a free one).",
            )
        if error.errno == errno.EACCES:
            return f"{where} needs more rights than this process has", f"Set a {self._setting}port above 1023."
        return f"can't listen on {where} ({error.strerror})", f"Set {self._setting}host to an address of this machine."

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(text=INDEX)

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _ready(self, request: web.Request) -> web.Response:
        checks = [(name, well, cover(detail)) for name, well, detail in self._checks()]
        ready = all(passed for _, passed, _ in checks)
        body: dict[str, Any] = {"ready": ready}
        if request[IDENTITY] is not None:
            body["checks"] = _as_rows(checks)
        return web.json_response(body, status=200 if ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _status(self, request: web.Request) -> web.Response:
        found = request[IDENTITY]
        if found is None or found.role != ADMIN:  # the guard has seen to it; whatever it took the address for
            raise web.HTTPForbidden
        config, gate = self._gate.config, self._gate
        roles = {name: config.role(name) for name in (*config.users, *config.tokens)}
        return web.json_response(
            {
                "checks": _as_rows(self._checks()),
                "web": {
                    "url": self.url, "tls": config.tls is not None, "roles": roles, "problem": gate.problem,
                    "loaded_at": gate.loaded_at, "connections": self._look(),
                    "refused": {labels[0]: count for labels, count in self.figures.refused.values.items()},
                },
            }
        )  # fmt: skip


class _Runner(web.AppRunner):
    """aiohttp's runner with our doors instead of its own server, which has no limits."""

    def __init__(self, app: web.Application, guard: Guard, limits: Limits, figures: WebFigures) -> None:
        super().__init__(app, handle_signals=False, shutdown_timeout=STOP_SECONDS)
        self._inner, self._limits, self._figures = guard, limits, figures
        self.doors: Doors | None = None

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        self.doors = Doors(
            self._inner.around(made.request_handler), made.request_factory, self._limits, self._figures,
            self._inner.headers,
        )  # fmt: skip
        return self.doors

    async def cleanup(self) -> None:
        """Stop."""
        if self.doors is not None:
            self.doors.close()
        await super().cleanup()


def _as_rows(checks: Sequence[Check]) -> list[dict[str, Any]]:
    return [{"name": name, "ok": passed, "detail": detail} for name, passed, detail in checks]
