"""The JSON API: what can be asked, and the answers.

Owns the list of end points, from which both the routes and docs/openapi.json are made. Invariant: every answer is of
the type that its end point names, encoded by msgspec; missing is null or 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from agents.page.answers import Answers
from agents.page.api_types import AlertList, Health, OrgList, UserList
from agents.page.choose import Choice, Part, choice_of, known, part_of, shown
from agents.page.problems import bad_request
from streams.published import LatencyMap, OrgScore, Totals, UserScore
from streams.published_chat import ChatActivity
from streams.published_decode import BANDS
from streams.reader_questions import ALL

ROOT = "/api/v1"
Handler = Callable[[Answers, web.Request], Awaitable[Any]]
PART_PARAMETERS = ("page", "per_page")


@dataclass(frozen=True, slots=True)
class EndPoint:
    """One thing that can be asked.

    Attributes:
        path: Below `ROOT`, as OpenAPI spells it.
        summary: What it gives.
        answer: Its type.
        handler: What makes it.
        query: Names of the parameters it takes.
        may_miss: Whether there may be nothing (404).
    """

    path: str
    summary: str
    answer: Any
    handler: Handler
    query: tuple[str, ...] = ()
    may_miss: bool = True


async def orgs(answers: Answers, request: web.Request) -> OrgList:
    """Return a page of orgs."""
    choice = choice_of(request.query, strict=True)
    page, found, _ = await answers.orgs(choice)
    part = choice.part
    following = _next(request, part, len(found))
    return OrgList(orgs=page, found=len(found), page=part.page, per_page=part.per_page, next=following)


async def org(answers: Answers, request: web.Request) -> OrgScore:
    """Return one org."""
    return await answers.org(request.match_info["org"])


async def users(answers: Answers, request: web.Request) -> UserList:
    """Return a page of an org's users."""
    org_id, part, band = request.match_info["org"], part_of(request.query), request.query.get("band", "")
    if band and band not in BANDS:
        raise bad_request(f'band is "{shown(band)}", must be one of {", ".join(BANDS)}')
    found, count = await answers.users(org_id, part, band)
    if not count:
        await answers.org(org_id)
    more = len(found) == part.per_page and part.page * part.per_page < count
    following = _next(request, part, count) if more else None
    return UserList(
        org=org_id, users=found, found=count, page=part.page, per_page=part.per_page, next=following
    )  # fmt: skip


async def user(answers: Answers, request: web.Request) -> UserScore:
    """Return one user."""
    return await answers.user(request.match_info["org"], request.match_info["user"])


async def latency(answers: Answers, request: web.Request) -> LatencyMap:
    """Return a map of the week."""
    return await answers.latency(request.match_info.get("org", ALL))


async def chat(answers: Answers, request: web.Request) -> ChatActivity:
    """Return an org's chat."""
    return await answers.chat(request.match_info["org"])


async def alerts(answers: Answers, request: web.Request) -> AlertList:
    """Return a page of open alerts."""
    part, found = part_of(request.query), await answers.alerts()
    page = found[part.skip :][: part.per_page]
    following = _next(request, part, len(found))
    return AlertList(alerts=page, found=len(found), page=part.page, per_page=part.per_page, next=following)


async def totals(answers: Answers, _: web.Request) -> Totals:
    """Return the overall figures."""
    return await answers.totals()


async def health(answers: Answers, _: web.Request) -> Health:
    """Return how the workers are."""
    others, redis = await answers.workers()
    return Health(worker=answers.card(), others=others, redis=redis)


END_POINTS = (
    EndPoint(
        "/orgs", "Orgs that have a score: at risk first, or in another order", OrgList, orgs,
        ("band", "group_type", "q", "sort", *PART_PARAMETERS), may_miss=False,
    ),
    EndPoint("/orgs/{org}", "One org: its scores and what made them", OrgScore, org),
    EndPoint("/orgs/{org}/users", "An org's users, lowest score first", UserList, users, ("band", *PART_PARAMETERS)),
    EndPoint("/orgs/{org}/users/{user}", "One user of an org", UserScore, user),
    EndPoint("/orgs/{org}/latency", "An org's reply latency by hour of the week", LatencyMap, latency),
    EndPoint("/orgs/{org}/chat", "An org's chat activity of the last days", ChatActivity, chat),
    EndPoint("/latency", "Reply latency of all orgs together, by hour of the week", LatencyMap, latency),
    EndPoint("/alerts", "Open alerts, newest first", AlertList, alerts, PART_PARAMETERS, may_miss=False),
    EndPoint("/totals", "Figures over all partitions", Totals, totals),
    EndPoint("/health", "How the workers are, also while Redis is away", Health, health, may_miss=False),
)  # fmt: skip


def add_routes(app: web.Application, answers: Answers, openapi: bytes) -> None:
    """Add a route for each end point, and one for their description."""
    for end_point in END_POINTS:
        app.router.add_get(pattern(ROOT + end_point.path), _answering(answers, end_point))

    async def description(_: web.Request) -> web.Response:
        return web.Response(body=openapi, content_type="application/json")

    app.router.add_get(f"{ROOT}/openapi.json", description)


def pattern(path: str) -> str:
    """Return a path for the router: a user's id may hold anything, slashes too; an org's no slash.

    >>> pattern("/orgs/{org}/users/{user}")
    '/orgs/{org:[^/]+}/users/{user:.+}'
    """
    return path.replace("{org}", "{org:[^/]+}").replace("{user}", "{user:.+}")


def _answering(answers: Answers, end_point: EndPoint) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        known(request.query, end_point.query, strict=True)
        found = await end_point.handler(answers, request)
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    return answer


def _next(request: web.Request, part: Part, found: int) -> str | None:
    """Return the address of the page after *part*, None after the last one."""
    if part.page >= part.pages(found):
        return None
    return address(request.rel_url.raw_path, {**request.query, "page": str(part.page + 1)})


def address(path: str, query: Mapping[str, str]) -> str:
    """Return *path* with those parameters that are not empty."""
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def query_of(choice: Choice, **changes: str) -> dict[str, str]:
    """Return the parameters that give *choice*, with some of them changed; defaults are left out."""
    part = choice.part
    query = {
        "q": choice.text,
        "band": choice.band,
        "group_type": choice.group_type,
        "sort": "" if choice.sort == "risk" else choice.sort,
        "page": "" if part.page == 1 else str(part.page),
        "per_page": "" if part.per_page == Part().per_page else str(part.per_page),
    }
    return query | changes
