"""The page as part of a worker's server: routes, headers, and what is said when something is wrong.

Invariant: no answer under these routes shows a traceback, and `/live`, `/ready`, `/metrics` and `/status` stay as
they are. Security headers are the server's (`streams.web_guard`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from agents.page import openapi
from agents.page.answers import Answers
from agents.page.api import ROOT, add_routes, address
from agents.page.asking import Asking
from agents.page.assets import Assets
from agents.page.pages import Pages
from agents.page.problems import RETRY_SECONDS, ProblemError
from agents.page.templating import make_environment
from streams.clock import Clock
from streams.published_workers import WorkerCard
from streams.settings import Settings

_PLAIN = ("/live", "/ready", "/metrics", "/status")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger(__name__)


class Page:
    """Pages and API of one worker."""

    def __init__(self, settings: Settings, card: Callable[[], WorkerCard], clock: Clock) -> None:
        """Prepare, without connecting; *card* says how this worker is."""
        self._settings, self._card, self._clock = settings, card, clock
        self._assets = Assets()
        self._templates = make_environment(self._assets)
        self._templates.globals["tenant"] = settings.worker.tenant
        self._openapi = openapi.text().encode()

    def extend(self, app: web.Application) -> None:
        """Add everything to *app*, which closes the connections at its end."""
        asking = Asking(self._settings, self._clock)
        answers = Answers(asking, self._card)
        pages = Pages(answers, self._templates, self._settings.latency.min_count)
        pages.add_routes(app)
        add_routes(app, answers, self._openapi)
        app.router.add_get("/static/{digest}/{name}", self._assets.serve)

        async def close(_: web.Application) -> None:
            await asking.reader.close()

        app.on_cleanup.append(close)
        app.middlewares.append(self._guard(pages))

    def _guard(self, pages: Pages) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path in _PLAIN:
                return await handler(request)
            try:
                response = await handler(request)
            except ProblemError as problem:
                response = self._say(pages, request, problem)
            except web.HTTPRedirection as redirection:
                response = web.Response(
                    status=redirection.status, headers={"Location": redirection.headers["Location"]}
                )
            except web.HTTPException as error:
                response = self._say(pages, request, _of_http(error))
                if "Allow" in error.headers:
                    response.headers["Allow"] = error.headers["Allow"]
            except Exception:  # noqa: BLE001  # whatever it is, the reader gets a page and the log the reason
                _log.exception("a page could not be made", path=request.path)
                response = self._say(
                    pages, request, ProblemError(500, "This page could not be made", "The worker's log says why.")
                )
            return response

        return guard

    def _say(self, pages: Pages, request: web.Request, error: ProblemError) -> web.Response:
        """Return a problem as a document under the API, else as a page."""
        problem = error.problem
        if request.path.startswith(ROOT):
            response = web.Response(
                body=msgspec.json.encode(problem), status=problem.status, content_type="application/problem+json"
            )
        else:
            search = address("/", {"q": error.search}) if error.search else ""
            redis = next((each for each in self._card().checks if each.name == "redis" and not each.ok), None)
            response = pages.render(
                "problem.html", problem.status, here="", problem=problem, search=search, live="",
                redis=redis if error.retry else None, again=str(request.rel_url) if error.retry else "",
            )  # fmt: skip
        if error.retry:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response


def _of_http(error: web.HTTPException) -> ProblemError:
    if error.status == 404:
        return ProblemError(404, "Not found", "There is no such page.")
    if error.status == 405:
        return ProblemError(405, "Method not allowed", "Pages can only be read: GET and HEAD.")
    return ProblemError(error.status, error.reason, error.reason)
