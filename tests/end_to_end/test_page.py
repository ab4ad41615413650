"""The page in a real browser: over real workers, Kafka and Redis; and over what rarely happens.

Invariant: numbers are compared as the browser shows them with what Redis holds.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agents.page.templating import org_url, user_url
from deploy.local.ports import free_ports
from deploy.local.redis import LocalRedis
from reports.short_text import two_digits
from streams.clock import FixedClock
from streams.published import LatencyMap
from streams.reader import Ranking, Reader
from tests.agents.page.filled import Made, make, put
from tests.agents.page.served import Served
from tests.faults.extent import long_form
from tests.faults.system import Size, System, wait_until
from tests.reports.browsing import Browser, Visitor, browser

NOW = 1_796_040_000.0
PHONE = {"width": 375, "height": 740}
HOSTILE = (
    "<script>document.title='broken'</script>",
    '"><img src=x onerror=alert(1)>',
    "😀 \u202egnp.exe",
    "a/b ../c",
    "..",
)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def made() -> Made:
    return make(int(NOW * 1000) - 40_000, 2000, 2600)


@pytest.fixture(scope="module")
def served(redis_server: LocalRedis, made: Made) -> Iterator[Served]:
    """A page over 2,000 orgs."""
    put(redis_server.url, "page-seen:", made.writes(users_of=(0, 1, 2)))
    with Served(redis_server.url, "page-seen:", FixedClock(NOW)) as page:
        yield page


def paths_of(reader: Reader, org: str) -> dict[str, str]:
    """Return every kind of page."""
    (user,) = reader.users_by_score(org, Ranking(1))
    return {
        "accounts": "/", "org": org_url(org), "chat": org_url("homebase"), "user": user_url(org, user.user),
        "hours": "/hours", "alerts": "/alerts", "health": "/health", "runbooks": "/runbooks", "missing": "/orgs/nobody",
    }  # fmt: skip


def shown_map(visitor: Visitor) -> list[tuple[str, str]]:
    """Return figure and count of each cell that the browser shows."""
    script = """cells => cells.map(cell => [cell.childNodes[0].textContent.trim(),
                                            (cell.querySelector('small') || {textContent: ''}).textContent])"""
    return [(figure, count) for figure, count in visitor.page.locator("table.week tbody td").evaluate_all(script)]


def expected_map(week: LatencyMap | None) -> list[tuple[str, str]]:
    assert week is not None
    return [
        ("–" if cell.seconds is None else two_digits(cell.seconds), str(cell.replies) if cell.replies else "")
        for cell in week.week
    ]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_real_workers_counted_is_what_the_browser_shows(
    kafka: Any, redis_server: LocalRedis, tmp_path: Path, chrome: Browser
) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(25, 160, 2)) as system:
        system.play(3)
        system.rest()
        redis, (url, other) = system.settings.redis, [each.removesuffix("/metrics") for each in system.workers.urls]

        def cards() -> str:
            with urllib.request.urlopen(url + "/api/v1/health", timeout=60) as reply:
                found = json.load(reply)
            marks = [mark for each in [found["worker"], *found["others"]] for mark in each["watermarks"]]
            consumed = sum(_consumed(each) for each in [found["worker"], *found["others"]])
            done = sorted(marks) == ["0", "1", "2", "3"] and consumed == system.sent
            return "" if done else f"watermarks {marks}, {consumed} of {system.sent} messages"

        wait_until(cards, 60)
        with (
            Reader(redis.url, redis.prefix) as reader,
            chrome.visitor(viewport={"width": 1280, "height": 900}) as visitor,
        ):
            assert visitor.go(url + "/?per_page=100&sort=score") == 200
            orgs = reader.orgs_by_score(Ranking(100))
            rows = [row.split("\t") for row in visitor.page.locator("table.accounts tbody tr").all_inner_texts()]
            assert len(rows) == len(orgs) > 12
            for row, org in zip(rows, orgs, strict=True):
                assert row[0].startswith(org.name) and row[2].strip() == f"{org.score_active:.2f}"
                assert row[1].strip() == org.band.replace("_", " ")
                assert row[5].strip() == f"{org.active_users}/{org.licensed_users}"
            visitor.photograph("workers-accounts")
            org = reader.org("northwind")
            assert org is not None and visitor.go(other + "/orgs/northwind") == 200, "any worker answers for any org"
            assert visitor.texts("dl.cards dd.big")[:3] == [
                f"{score:.2f}"
                for score in (org.score_active, org.score_licensed, org.score_median)
                if score is not None
            ]
            table = "section[aria-labelledby=contributions] tbody tr"
            points = sum(float(row.split("\t")[1]) for row in visitor.page.locator(table).all_inner_texts())
            assert round(points, 2) == float(org.score_active or -1), "what is shown adds up to the score"
            week = reader.latency("northwind")
            assert shown_map(visitor) == expected_map(week) and len(shown_map(visitor)) == 168
            visitor.go(url + "/hours")
            assert shown_map(visitor) == expected_map(reader.latency())
            visitor.go(url + "/health")
            lead = visitor.texts("main .lead")[0]
            assert lead.startswith("Every worker that tells is ready. 2 workers") and "no gap in the ledger" in lead
            ledger = [
                row.split("\t") for row in visitor.page.locator("[aria-labelledby=ledger] tbody tr").all_inner_texts()
            ]
            assert sum(int(row[1].replace(",", "")) for row in ledger) == system.sent
            visitor.photograph("workers-health")


def _consumed(card: dict[str, Any]) -> int:
    return sum(counts.get("consumed", 0) for counts in card["ledger"].values())


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=long_form)])
def test_no_page_has_a_fault_of_accessibility(chrome: Browser, served: Served, scheme: str) -> None:
    found = {}
    rules = () if scheme == "light" else ("color-contrast", "link-in-text-block")  # the rest does not depend on it
    with (
        Reader(served.settings.redis.url, served.settings.redis.prefix) as reader,
        chrome.visitor(color_scheme=scheme, viewport={"width": 1280, "height": 900}) as visitor,
    ):
        for name, path in paths_of(reader, "northwind").items():
            visitor.go(served.url + (path if name != "accounts" else "/?per_page=12"))
            if name in ("org", "user", "chat"):
                visitor.page.locator(".chart .uplot").first.wait_for()
            within = "section[aria-labelledby=chat]" if name == "chat" else "html"
            if violations := visitor.violations(rules, within):
                found[name] = violations
            visitor.photograph(f"{name}-{scheme}")
        visitor.expected = "404"
        visitor.page.evaluate("document.querySelector('main p').style.color = '#888c'")
        assert visitor.violations(("color-contrast",)), "what can't be read would be found"
    assert found == {}


def test_everything_essential_is_there_without_a_script(chrome: Browser, served: Served) -> None:
    with chrome.visitor(java_script_enabled=False) as visitor:
        page = visitor.page
        visitor.go(served.url)
        page.get_by_label("Name or id").fill("northwind")
        page.get_by_role("button", name="Show").click()
        assert [text.split("\t")[0].strip() for text in page.locator("table.accounts tbody tr").all_inner_texts()] == [
            "Northwind Traders Enterprise alert"
        ]
        page.get_by_role("link", name="Northwind Traders").first.click()
        assert page.locator("h1").inner_text().split() == ["Northwind", "Traders", "at", "risk"]
        assert page.locator("section[aria-labelledby=contributions] tbody tr").count() == 30
        assert page.locator("table.week tbody td").count() == 168
        assert page.locator(".trend svg[role=img] polyline").count() >= 1 and page.locator(".uplot").count() == 0
        page.locator("section[aria-labelledby=users] tbody a").first.click()
        assert page.locator("h2#contributions").is_visible()
        visitor.go(served.url + "/?page=2")
        page.get_by_role("link", name="Next").click()
        assert "page=3" in page.url


def test_on_a_phone_tables_scroll_and_the_page_does_not(chrome: Browser, served: Served) -> None:
    with (
        Reader(served.settings.redis.url, served.settings.redis.prefix) as reader,
        chrome.visitor(viewport=PHONE, has_touch=True) as visitor,
    ):
        for name, path in paths_of(reader, "northwind").items():
            visitor.page.set_viewport_size(PHONE)
            visitor.go(served.url + path)
            assert visitor.overflow() <= 0, name
            visitor.photograph(f"{name}-phone")
            visitor.page.set_viewport_size(PHONE | {"width": 320})
            assert visitor.overflow() <= 0, f"{name} at 320 pixels"
        visitor.expected = "404"


def test_2000_orgs_come_in_pages_and_quickly(chrome: Browser, served: Served) -> None:
    with chrome.visitor() as visitor:
        visitor.go(served.url)
        status = visitor.texts("[data-part=accounts] p[role=status]")[0]
        assert status.startswith(f"{int(status.split()[0].replace(',', '')):,} accounts") and "1,9" in status
        assert visitor.page.locator("table.accounts tbody tr").count() == 50
        timing = visitor.page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd")
        assert timing < 3000
        visitor.photograph("accounts-2000")


def test_by_keyboard_alone_one_gets_everywhere(chrome: Browser, served: Served) -> None:
    with chrome.visitor() as visitor:
        page = visitor.page
        visitor.go(served.url + "/orgs/northwind")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        outlines, places = [], []
        for _ in range(60):
            page.keyboard.press("Tab")
            outlines.append(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
            places.append(page.evaluate("document.activeElement.outerHTML.slice(0, 80)"))
        assert len(set(places)) > 30, "no trap"
        assert outlines.count("none") <= 1, "what has the focus is seen"
        button = page.locator("section[aria-labelledby=contributions] thead button", has_text="Attribute")
        button.focus()
        page.keyboard.press("Enter")
        names = visitor.texts("section[aria-labelledby=contributions] tbody th")
        assert names == sorted(names) and len(names) == 30
        head = page.locator("section[aria-labelledby=contributions] thead th").first
        assert head.get_attribute("aria-sort") == "ascending"


def test_names_of_any_kind_stay_text(chrome: Browser, redis_server: LocalRedis, topic_prefix: str, made: Made) -> None:
    (like, _), user = made.org(0), next(made.users(0))
    for number, name in enumerate(HOSTILE):
        org = name.replace("/", "") if name != ".." else ".."
        said = replace(like, org=org, name=name, alert_since_ms=0)
        writes = [
            made.documents.org(said, number, 0)[1],
            made.documents.user(replace(user, org=org, user=name), number, 0)[1],
        ]
        put(redis_server.url, topic_prefix, writes)
    with Served(redis_server.url, topic_prefix, FixedClock(NOW)) as page, chrome.visitor() as visitor:
        visitor.go(page.url)
        assert visitor.page.locator("table.accounts tbody tr").count() == len(HOSTILE)
        for number in range(len(HOSTILE)):
            visitor.go(page.url)
            visitor.page.locator("table.accounts tbody th a").nth(number).click()
            assert visitor.page.locator("dl.cards").is_visible()
            visitor.page.locator("section[aria-labelledby=users] tbody a").first.click()
            assert visitor.page.locator("h2#contributions").is_visible()
            assert visitor.page.title() != "broken" and visitor.page.locator("main img").count() == 0
        visitor.go(page.url)
        visitor.photograph("hostile")


def test_with_redis_away_the_page_says_so_and_comes_back(chrome: Browser, tmp_path: Path, made: Made) -> None:
    (port,) = free_ports(1)
    write = made.documents.org(made.org(0)[0], 1, 0)[1]
    with (
        Served(f"redis://127.0.0.1:{port}/0", "away:", FixedClock(NOW)) as page,
        chrome.visitor(viewport=PHONE) as visitor,
    ):
        with LocalRedis(tmp_path / "one", port=port) as server:
            put(server.url, "away:", [write])
            assert visitor.go(page.url) == 200
        page.checks[1] = ("redis", False, "ConnectionError: Connection refused; since 2026-11-30T12:00:00Z, 3 waiting")
        assert visitor.go(page.url + "/orgs/northwind") == 503
        assert visitor.page.locator("h1").inner_text() == "Redis is away"
        assert "2026-11-30 12:00:00 UTC" in visitor.page.locator(".notice").inner_text()
        assert visitor.violations() == [] and visitor.overflow() <= 0
        visitor.photograph("redis-away")
        visitor.page.get_by_role("link", name="Health").first.click()
        assert "Redis is not answering this page" in visitor.page.locator(".notice").inner_text()
        visitor.photograph("redis-away-health")
        with LocalRedis(tmp_path / "two", port=port) as server:
            put(server.url, "away:", [write])
            assert visitor.go(page.url + "/orgs/northwind") == 200
        visitor.expected = "503"


def test_a_page_refreshes_itself_while_it_is_looked_at(
    chrome: Browser, redis_server: LocalRedis, topic_prefix: str, made: Made
) -> None:
    org = made.org(0)[0]
    put(redis_server.url, topic_prefix, [made.documents.org(org, 1, 0)[1]])
    with Served(redis_server.url, topic_prefix, FixedClock(NOW)) as page, chrome.visitor() as visitor:
        visitor.page.clock.install()
        asked: list[str] = []
        visitor.page.on(
            "request", lambda request: "/static/" in request.url or asked.append(request.url[len(page.url) :])
        )
        with visitor.page.expect_response("**/api/v1/orgs/northwind"):
            visitor.go(page.url + "/orgs/northwind")
        asked.clear()
        with visitor.page.expect_response("**/api/v1/orgs/northwind"):
            visitor.page.clock.run_for(10_500)
        assert asked == ["/api/v1/orgs/northwind"], "nothing has changed, so nothing else is fetched"
        put(redis_server.url, topic_prefix, [made.documents.org(replace(org, score_active=4711), 2, 0)[1]])
        visitor.page.clock.run_for(10_500)
        visitor.page.locator("dd.big", has_text="47.11").wait_for()
        assert "Updated" in visitor.page.locator("#live").inner_text()
        assert visitor.page.locator("section[aria-labelledby=contributions] tfoot td").first.inner_text() == "47.11"
        visitor.page.locator("section[aria-labelledby=contributions] thead button").first.click()
        first = visitor.texts("section[aria-labelledby=contributions] tbody th")
        put(redis_server.url, topic_prefix, [made.documents.org(replace(org, score_active=4712), 3, 0)[1]])
        visitor.page.clock.run_for(10_500)
        visitor.page.locator("dd.big", has_text="47.12").wait_for()
        assert "reload to see all" in visitor.page.locator("#live").inner_text()
        assert visitor.texts("section[aria-labelledby=contributions] tbody th") == first, "what somebody sorted stays"
