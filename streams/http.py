"""The worker's own pages: `/live`, `/ready`, `/metrics` and an index of them.

Invariant: it listens on one address, loopback unless told otherwise. Whoever extends it with further pages takes over
the index and answers for what they show.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.redaction import cover

Check: TypeAlias = tuple[str, bool, str]  # name, passed, detail

STOP_SECONDS = 2.0  # how long answers under way may take when it stops
INDEX = """orgpulse
/live     the process answers
/ready    200 when every check passes, else 503; each check as JSON
/metrics  for Prometheus
"""

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
    ) -> None:
        """Prepare, without listening.

        Args:
            host: Where to listen.
            port: Likewise; 0 takes a free one.
            registry: What `/metrics` shows.
            checks: Called for each `/ready`.
            extend: Adds further pages, `/` among them, each time listening begins.
            setting: What the settings of host and port begin with, for those who have to change them.
        """
        self.host, self.port = host, port
        self._registry, self._checks, self._extend, self._setting = registry, checks, extend, setting
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, e.g. ``http://127.0.0.1:6066``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: If the port is taken or the address is not this machine's.
        """
        app = web.Application()
        for path, handler in (("/live", self._live), ("/ready", self._ready), ("/metrics", self._metrics)):
            app.router.add_get(path, handler)
        if self._extend is None:
            app.router.add_get("/", self._index)
        else:
            self._extend(app)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            raise ListenError(*self._remedy(error)) from error
        self._runner = runner
        self.port = runner.addresses[0][1]
        _log.info("pages served", url=self.url)

    async def stop(self) -> None:
        """Stop listening; harmless when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

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
        return web.json_response({"live": True})

    async def _ready(self, _: web.Request) -> web.Response:
        checks = [(name, well, cover(detail)) for name, well, detail in self._checks()]
        ready = all(passed for _, passed, _ in checks)
        body = {
            "ready": ready,
            "checks": [{"name": name, "ok": passed, "detail": detail} for name, passed, detail in checks],
        }
        return web.json_response(body, status=200 if ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
