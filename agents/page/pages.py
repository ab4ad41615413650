"""The HTML pages: which answers each takes, and what its template gets.

Invariant: a page needs no script to say all it says; parts that are missing are named as such, the rest is shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from aiohttp import web
from jinja2 import Environment

from agents.latency_data import Shown, published_map
from agents.latency_output import heading
from agents.latency_request import Wish
from agents.page import draw, runbooks
from agents.page.answers import Answers
from agents.page.api import ROOT, address, pattern, query_of
from agents.page.choose import SORTS, Part, choice_of, group_types, part_of
from agents.page.health_view import health_view, page_of
from agents.page.problems import ProblemError, bad_request
from agents.page.templating import org_url, user_url
from agents.wording import difference
from reports.week_map import summary
from streams.published import Alert, LatencyMap, OrgScore
from streams.published_decode import BANDS
from streams.reader_questions import MAX_KEYS

USERS_A_PAGE = 25
ALERTS_SHOWN = 8
_WINDOWS_SHOWN = 12

T = TypeVar("T")


class Pages:
    """Renders pages."""

    def __init__(self, answers: Answers, templates: Environment, min_count: int) -> None:
        """Show *answers*; *min_count* is on how many replies a figure of latency stands at least."""
        self._answers, self._templates, self._min_count = answers, templates, min_count

    def add_routes(self, app: web.Application) -> None:
        """Add a route for each page."""
        app.router.add_get("/", self.accounts)
        app.router.add_get("/orgs", self.to_accounts)
        app.router.add_get("/subject", self.subject)
        app.router.add_get(pattern("/orgs/{org}"), self.org)
        app.router.add_get(pattern("/orgs/{org}/users/{user}"), self.user)
        app.router.add_get("/alerts", self.alerts)
        app.router.add_get("/hours", self.hours)
        app.router.add_get("/health", self.health)
        app.router.add_get("/runbooks", self.runbooks)

    def render(self, template: str, status: int = 200, **context: Any) -> web.Response:
        """Return a page."""
        body = self._templates.get_template(template).render(context)
        return web.Response(text=body, status=status, content_type="text/html")

    async def accounts(self, request: web.Request) -> web.Response:
        """Show orgs, at risk first."""
        choice = choice_of(request.query, strict=False)
        page, found, lines = await self._answers.orgs(choice)
        alerts, open_alerts = await self._answers.newest_alerts(ALERTS_SHOWN)
        totals = await _or_none(self._answers.totals())
        bands = {band: sum(line.band == band for line in lines) for band in reversed(BANDS)}
        pages = choice.part.pages(len(found))
        links = {
            band: address("/", query_of(choice, band=band, page="")) for band in ("", *bands)
        }  # fmt: skip
        return self.render(
            "accounts.html", here="accounts", choice=choice, orgs=page, found=len(found), total=len(lines),
            most=MAX_KEYS, pages=pages,
            alerts=alerts, open_alerts=open_alerts, totals=totals, bands=bands,
            band_links=links, groups=group_types(lines), sorts={name: what for name, (what, _) in SORTS.items()},
            turn=_turns("/", query_of(choice), choice.part, pages),
            sort_links={name: address("/", query_of(choice, sort=name, page="")) for name in SORTS},
            live=address(ROOT + "/orgs", query_of(choice)),
        )  # fmt: skip

    async def to_accounts(self, request: web.Request) -> web.Response:
        """Lead to the list."""
        raise web.HTTPPermanentRedirect(address("/", request.query))

    async def subject(self, request: web.Request) -> web.Response:
        """Show an org or a user whose id can't stand in a path."""
        org, user = request.query.get("org", ""), request.query.get("user", "")
        if not org:
            raise bad_request("org is missing")
        return await (self._user(org, user) if user else self._org(org, request.query))

    async def org(self, request: web.Request) -> web.Response:
        """Show one org."""
        return await self._org(request.match_info["org"], request.query)

    async def user(self, request: web.Request) -> web.Response:
        """Show one user."""
        return await self._user(request.match_info["org"], request.match_info["user"])

    async def alerts(self, request: web.Request) -> web.Response:
        """Show all open alerts."""
        part, alerts = part_of(request.query), await self._answers.alerts()
        pages = part.pages(len(alerts))
        return self.render(
            "alerts.html", here="", alerts=alerts[part.skip :][: part.per_page], open_alerts=len(alerts),
            page=part.page, pages=pages, turn=_turns("/alerts", {}, part, pages), live=ROOT + "/alerts",
        )  # fmt: skip

    async def hours(self, _: web.Request) -> web.Response:
        """Show the map of all orgs together."""
        week = await _or_none(self._answers.latency())
        return self.render("hours.html", here="hours", map=self._map(week), live=ROOT + "/latency")

    async def health(self, _: web.Request) -> web.Response:
        """Show how the workers are."""
        others, redis = await self._answers.workers()
        view = health_view(self._answers.card(), others)
        return self.render("health.html", here="health", view=view, redis=redis, page_of=page_of, live=ROOT + "/health")

    async def runbooks(self, _: web.Request) -> web.Response:
        """Show what to do about each alert."""
        path = runbooks.find()
        return self.render("runbooks.html", here="runbooks", book=None if path is None else runbooks.read(path))

    async def _org(self, org: str, query: Mapping[str, str]) -> web.Response:
        part = Part(part_of(query).page, USERS_A_PAGE)
        found = await self._answers.org(org)
        users, count = await self._answers.users(org, part)
        alert: Alert | None = await self._answers.ask(self._answers.ask.reader.alert(org))
        week = await _or_none(self._answers.latency(org))
        chat = await _or_none(self._answers.chat(org))
        totals = await _or_none(self._answers.totals()) if found.group_type else None
        group = None if totals is None else totals.by_group_type.get(found.group_type or "")
        pages = part.pages(count)
        base = org_url(org)
        return self.render(
            "org.html", here="", org=found, users=users, count=count, users_page=part.page, pages=pages,
            alert=alert if alert is not None and alert.is_open else None, map=self._map(week), chat=chat,
            chat_day=None if chat is None else draw.chat_day(chat),
            chat_windows=[] if chat is None else list(reversed(chat.windows[-_WINDOWS_SHOWN:])),
            group=group, change=difference(found.score_active, found.previous),
            causes=draw.cause_bars(found.split) if found.split is not None else [], bars=draw.bars(found.reasons),
            line=draw.weeks_line(found, 640, 180, whole=True), trend=_trend(found),
            turn=_turns(base, _own_query(base), part, pages, "users"), live=_live(org),
        )  # fmt: skip

    async def _user(self, org: str, user: str) -> web.Response:
        found = await self._answers.user(org, user)
        whole: OrgScore | None = await self._answers.ask(self._answers.ask.reader.org(org))
        moved = next((m.change for m in whole.movers if m.user == user), None) if whole is not None else None
        return self.render(
            "user.html", here="", user=found, org_name=whole.name if whole is not None else org, moved=moved,
            change=difference(found.score, found.previous),
            causes=draw.cause_bars(found.split) if found.split is not None else [], bars=draw.bars(found.reasons),
            line=draw.weeks_line(found, 640, 180, whole=True), trend=_trend(found), live=_live(org, user),
        )  # fmt: skip

    def _map(self, found: LatencyMap | None) -> dict[str, Any] | None:
        """Return what the table of the week shows."""
        if found is None:
            return None
        week = published_map(found, Wish(), self._min_count)
        return {
            "heading": heading(Shown((week,), fence=found.fence)), "label": week.label, "rows": draw.map_rows(week),
            "scale": draw.map_scale(week), "summary": summary(week), "whole": found.whole, "least": self._min_count,
            "target_seconds": found.target_seconds, "quantile": week.label.quantile_name, "zone": week.label.zone_name,
            "period": week.label.period,
        }  # fmt: skip


def _turns(path: str, query: Mapping[str, str], part: Part, pages: int, anchor: str = "") -> dict[str, str]:
    """Return the links to the pages before and after; empty = there is none."""
    path, found = path.partition("?")[0], {"previous": "", "next": ""}
    if part.page > 1:
        found["previous"] = address(path, {**query, "page": str(min(part.page - 1, pages))})
    if part.page < pages:
        found["next"] = address(path, {**query, "page": str(part.page + 1)})
    return {name: f"{link}#{anchor}" if link and anchor else link for name, link in found.items()}


def _own_query(url: str) -> dict[str, str]:
    """Return the parameters of an address that this module made."""
    from urllib.parse import parse_qsl

    return dict(parse_qsl(url.partition("?")[2]))


def _live(org: str, user: str = "") -> str:
    """Return what to ask to see whether a page has changed; nothing where the address can't be asked for."""
    url = user_url(org, user) if user else org_url(org)
    return "" if url.startswith("/subject") else ROOT + url


def _trend(score: Any) -> list[float | None]:
    """Return the weeks as numbers for a chart, the present one last."""
    now = score.score_active if isinstance(score, OrgScore) else score.score
    return [None if week is None else float(week) for week in (*score.history, now)]


async def _or_none(answer: Awaitable[T]) -> T | None:
    """Return an answer, or None when there is nothing to be had; an error stays one."""
    try:
        return await answer
    except ProblemError as error:
        if error.problem.status != 404:
            raise
        return None
