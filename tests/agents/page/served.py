"""The page over a real socket, in a loop of its own thread, as a worker serves it."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from agents.page.server import Page
from agents.worker_card import make_card
from streams.clock import Clock
from streams.http import Check, HttpServer
from streams.metrics import Metrics
from streams.published_workers import WorkerCard
from streams.settings import Settings, override


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    text: str
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Served:
    """One worker's server with the page, between `with` and its end."""

    def __init__(self, redis_url: str, prefix: str, clock: Clock, **changes: Any) -> None:
        self.settings = override(
            Settings(), {"redis.url": redis_url, "redis.prefix": prefix, "latency.min_count": 5, **changes}
        )
        self.metrics, self.clock = Metrics(), clock
        self.checks: list[Check] = [("kafka", True, "answers"), ("redis", True, "takes writes")]
        self.page = Page(self.settings, self.card, clock)
        self.http = HttpServer("127.0.0.1", 0, self.metrics.registry, lambda: self.checks, self.page.extend)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def card(self) -> WorkerCard:
        return make_card("worker-1", self.http.url, self.metrics, self.checks, self.clock.now())

    @property
    def url(self) -> str:
        return self.http.url

    def __enter__(self) -> Served:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.http.start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.http.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def get(self, path: str, method: str = "GET", timeout: float = 20, **headers: str) -> Answer:
        """Return what is answered, whatever the status; no redirection is followed."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=timeout) as reply:
                return Answer(reply.status, reply.read().decode(), reply.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), error.headers)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None
