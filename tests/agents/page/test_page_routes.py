"""The pages against a real Redis that the sink's script filled."""

from __future__ import annotations

import html
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
import redis

from agents.page.asking import LIMIT_SECONDS
from agents.page.templating import org_url, user_url
from agents.worker_card import make_card
from deploy.local.ports import free_ports
from deploy.local.redis import LocalRedis
from streams.clock import FixedClock
from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.published_workers import CARDS, card_fields, card_key
from streams.reader import Ranking, Reader
from tests.agents.page.filled import Made, make, put
from tests.agents.page.served import Served

NOW = 1_796_040_000.0
ORGS = 60
BUSY_SECONDS = 20.0
"""So much longer may a page take on a busy machine; a dozen that wait for one another take twelve times the limit."""


@pytest.fixture(scope="module")
def made() -> Made:
    return make(int(NOW * 1000) - 40_000, ORGS, 400)


@pytest.fixture(scope="module")
def served(redis_server: LocalRedis, made: Made) -> Iterator[Served]:
    prefix = "page-routes:"
    put(redis_server.url, prefix, made.writes())
    with Served(redis_server.url, prefix, FixedClock(NOW)) as page:
        yield page


@pytest.fixture(scope="module")
def reader(served: Served) -> Iterator[Reader]:
    with Reader(served.settings.redis.url, served.settings.redis.prefix, FixedClock(NOW)) as found:
        yield found


@pytest.fixture
def empty(redis_server: LocalRedis, topic_prefix: str) -> Iterator[Served]:
    """A page over a Redis that holds nothing under its prefix."""
    with Served(redis_server.url, topic_prefix, FixedClock(NOW)) as page:
        yield page


def rows_of(text: str) -> list[list[str]]:
    """Return the texts of the cells of the table of accounts."""
    table = re.search(r'<table class="figures accounts">.*?</table>', text, re.DOTALL)
    rows = re.findall(r"<tr>\s*(<th scope=\"row\">.*?)</tr>", table[0], re.DOTALL) if table else []
    return [
        [plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows
    ]  # fmt: skip


def plain(piece: str) -> str:
    return " ".join(html.unescape(re.sub(r"<title>.*?</title>|<[^>]*>", "", piece)).split())


def links_of(text: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'<th scope="row"><a href="([^"]+)"', text)]


def test_accounts_show_every_org_once_with_the_numbers_of_redis(served: Served, reader: Reader) -> None:
    rows = [row for page in (1, 2, 3) for row in rows_of(served.get(f"/?per_page=25&page={page}").text)]
    orgs = {org.name: org for org in reader.orgs_by_score(Ranking(1000))}
    assert len(rows) == len(orgs) > 50
    for name, band, score, change, _, seats, _ in rows:
        org = next(org for said, org in orgs.items() if name.startswith(said))
        assert score == f"{org.score_active:.2f}" and band == org.band.replace("_", " ")
        assert org.score_active is not None and org.previous is not None
        assert change == f"{org.score_active - org.previous:+.2f}"
        assert seats == f"{org.active_users}/{org.licensed_users}"


def test_those_at_risk_come_first_and_those_that_lost_most_before_others(served: Served) -> None:
    rows = rows_of(served.get("/").text)
    order = ["at risk", "watch", "healthy"]
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), key=order.index)
    fallen = [Decimal(row[3]) for row in rows if row[1] == "at risk"]
    assert fallen[0] < -10


def test_accounts_are_found_by_band_group_and_name_without_a_script(served: Served, reader: Reader) -> None:
    orgs = reader.orgs_by_score(Ranking(1000))
    at_risk = {org.name for org in orgs if org.band == "at_risk"}
    assert {name for name, *_ in map(first_word, rows_of(served.get("/?band=at_risk").text))} == at_risk
    rows = rows_of(served.get("/?q=NORTH&sort=name").text)
    assert [row[0].split(" Enterprise")[0] for row in rows] == ["Northwind Traders"]
    smb = rows_of(served.get("/?group_type=SMB&per_page=100").text)
    assert len(smb) == sum(org.group_type == "SMB" for org in orgs)
    assert "No account matches" in served.get("/?q=nobody+here").text


def first_word(row: list[str]) -> list[str]:
    return [re.split(r" (?:SMB|Enterprise|Internal)", row[0])[0], *row[1:]]


@pytest.mark.parametrize(
    ("sort", "column", "turn"), [("score", 2, 1), ("change", 3, 1), ("users", 5, -1)], ids=lambda each: str(each)
)
def test_accounts_are_ordered_as_asked(served: Served, sort: str, column: int, turn: int) -> None:
    cells = [row[column] for row in rows_of(served.get(f"/?sort={sort}").text)]
    figures = [turn * max(float(part) for part in cell.split("/")) for cell in cells]
    assert figures == sorted(figures) and len(set(figures)) > 10


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("page=0", "must be a whole number from 1"), ("page=x", "must be a whole number"), ("per_page=101", "to 100"),
        ("page=٣", "must be a whole number"), ("band=bad", "must be one of healthy, watch, at_risk"),
        ("sort=<script>", "must be one of risk"), ("q=" + "x" * 201, "at most 200"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_and_not_repeated_as_html(served: Served, query: str, said: str) -> None:
    name, _, value = query.partition("=")
    answer = served.get(f"/?{name}={quote(value)}")
    assert answer.status == 400 and said in html.unescape(answer.text)
    assert "<script>" not in answer.text and 'aria-label="Pages"' in answer.text


def test_an_orgs_page_shows_what_redis_holds(served: Served, reader: Reader) -> None:
    org, text = reader.org("northwind"), served.get("/orgs/northwind").text
    assert org is not None and org.split is not None
    for figure in (org.score_active, org.score_licensed, org.score_median, *(r.points for r in org.reasons)):
        assert f">{figure:.2f}<" in text
    for part in (org.split.own, org.split.population, org.split.membership, org.split.total):
        assert f">{part:+.2f}</span>" in text
    for mover in org.movers:
        assert f'href="{user_url("northwind", mover.user)}"' in text and f"{mover.change:+.2f}" in text
    users = reader.users_by_score("northwind", Ranking(25))
    places = [text.index(f'<a href="{user_url("northwind", user.user)}" title') for user in users]
    assert places == sorted(places) and len(places) == len(users) > 5
    assert "alert" in text.lower() and "Weeks before, oldest first" in text


def test_a_map_is_a_table_with_all_168_hours(served: Served, reader: Reader) -> None:
    from reports.short_text import two_digits

    for path, org in (("/hours", "all"), ("/orgs/northwind", "northwind")):
        text, week = served.get(path).text, reader.latency(org)
        assert week is not None
        table = re.search(r'<table class="week">.*?</table>', text, re.DOTALL)
        assert table is not None and "<caption>" in table[0] and table[0].count('<th scope="row">') == 7
        cells = re.findall(r'<td class="([^"]+)" title="([^"]+)">([^<]*)(?:<small>([^<]*)</small>)?', table[0])
        assert len(cells) == 168
        for cell, (kind, title, figure, count) in zip(week.week, cells, strict=True):
            assert figure == ("–" if cell.seconds is None else two_digits(cell.seconds)), title
            assert (kind == "none") == (cell.seconds is None)
            assert count == ("" if not cell.replies else str(cell.replies))


def test_all_open_alerts_have_a_page(served: Served, reader: Reader) -> None:
    alerts, text = reader.open_alerts(), served.get("/alerts").text
    assert links_of(text) == [org_url(alert.org) for alert in alerts] and len(alerts) > 2
    assert f">{alerts[0].former:.2f}</td>" in text and "nobody yet" in text
    assert "No alert is open on this page" in served.get("/alerts?page=9").text


def test_a_user_has_a_page_with_reasons(served: Served, reader: Reader) -> None:
    (user,) = reader.users_by_score("northwind", Ranking(1))
    text = served.get(user_url("northwind", user.user)).text
    assert f">{user.score:.2f}<" in text and all(f"<bdi>{r.attribute}</bdi>" in text for r in user.reasons)


def test_chat_is_shown_where_there_is_any(served: Served, reader: Reader) -> None:
    chat, text = reader.chat("homebase"), served.get("/orgs/homebase").text
    assert chat is not None
    assert f'<dd class="big">{chat.rate_per_minute:.2f}</dd>' in text and f"{chat.messages_total:,}" in text
    assert text.count("<tr>") > 40 and "Chat" not in re.findall(
        r"<h2[^>]*>(.*?)</h2>", served.get("/orgs/northwind").text
    )


HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a'b\"c", "😀 家族 👨‍👩‍👧", "a/b/../c", "..", ".",
    "x%2Fy",
    "?q=1#top", "x" * 256, "\u202eevil", "{{7*7}}", "javascript:alert(1)", " space ", "&amp;", "users",
]  # fmt: skip


def hostile_writes(made: Made) -> Iterator[Write]:
    (model_org, _), model_user = made.org(0), next(made.users(0))
    from msgspec.structs import replace

    for number, name in enumerate(HOSTILE):
        org = name.replace("/", "").replace("{", "").replace("}", "")
        said = replace(model_org, org=f"{org}", name=name, group_type=name[:20], movers=[(name, -5)])
        yield made.documents.org(said, number, 0)[1]
        yield made.documents.user(replace(model_user, org=org, user=name), number, 0)[1]


def test_names_and_ids_of_any_kind_are_text_and_lead_to_their_pages(empty: Served, made: Made) -> None:
    writes = list(hostile_writes(made))
    put(empty.settings.redis.url, empty.settings.redis.prefix, writes)
    text = empty.get("/?per_page=100").text
    assert len(links_of(text)) == len(HOSTILE)
    for name in HOSTILE:
        org = name.replace("/", "").replace("{", "").replace("}", "")
        assert org_url(org) in links_of(text)
        page = empty.get(org_url(org))
        assert page.status == 200, org
        assert user_url(org, name) in links_of(page.text)
        user = empty.get(user_url(org, name))
        assert user.status == 200, name
        for each in (text, page.text, user.text):
            assert "<script>alert" not in each and "<img" not in each and "\u202e" not in re.sub("<[^>]*>", "", each)
            assert re.search(r"""href=["']?javascript:""", each) is None


def test_the_answer_to_an_org_or_user_that_is_not_there_says_so(served: Served) -> None:
    for path, said in (
        ("/orgs/nobody", 'No org "nobody" has a score'), ("/orgs/northwind/users/x", 'has no user "x"'),
        ("/nowhere", "no such page"), ("/subject", "org is missing"), ("/static/0/page.css", "no such page"),
    ):  # fmt: skip
        answer = served.get(path)
        assert answer.status in (400, 404) and said in html.unescape(answer.text)
    assert 'href="/?q=nobody"' in served.get("/orgs/nobody").text


def test_nothing_at_all_is_no_error(empty: Served) -> None:
    assert "No org has a score yet" in empty.get("/").text
    assert "No reply was seen" in empty.get("/hours").text
    assert empty.get("/health").status == 200


def test_every_answer_has_its_headers_and_only_reading_is_allowed(served: Served) -> None:
    for path in ("/", "/orgs/nobody", "/api/v1/totals", "/api/v1/nope", "/hours", "/nowhere"):
        headers = served.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self'; object-src 'none'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
    for path in ("/", "/api/v1/totals"):
        refused = served.get(path, "POST")
        assert refused.status == 405 and "GET" in refused.headers["Allow"]
        head = served.get(path, "HEAD")
        assert (head.status, head.text) == (200, "")
    asset = re.search(r'href="(/static/[^"]+page.css)"', served.get("/").text)
    assert asset is not None
    found = served.get(asset[1])
    assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert found.headers["Content-Type"].startswith("text/css")


def test_no_page_holds_an_inline_style_or_script(served: Served) -> None:
    for path in ("/", "/orgs/northwind", "/orgs/homebase", "/hours", "/health", "/runbooks"):
        text = served.get(path).text
        assert " style=" not in text and "<style" not in text and not re.search(r"\son\w+=", text)
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


def test_the_other_pages_of_a_worker_stay_as_they_are(served: Served) -> None:
    ready = served.get("/ready")
    assert ready.json == {
        "ready": True,
        "checks": [
            {"name": "kafka", "ok": True, "detail": "answers"}, {"name": "redis", "ok": True, "detail": "takes writes"},
        ],
    }  # fmt: skip
    assert ready.headers["Content-Type"].startswith("application/json")
    assert served.get("/metrics").text.startswith("# HELP") and served.get("/live").text == ""


def test_a_newer_schema_is_named_and_not_guessed_at(empty: Served, made: Made) -> None:
    write = made.documents.org(made.org(0)[0], 1, 0)[1]
    put(
        empty.settings.redis.url,
        empty.settings.redis.prefix,
        [Write(write.key, {**write.fields, "schema": "2"}, "1", write.ranks)],
    )
    for path in ("/", "/orgs/northwind"):
        answer = empty.get(path)
        assert answer.status == 503 and "Update this worker" in answer.text and "schema 2" in answer.text
        assert answer.headers["Retry-After"] is None


def test_without_redis_pages_say_since_when_and_come_back_with_it(tmp_path: Any, made: Made) -> None:
    (port,) = free_ports(1)
    with Served(f"redis://127.0.0.1:{port}/0", "away:", FixedClock(NOW)) as page:
        page.checks[1] = ("redis", False, "ConnectionError; since 2026-11-30T11:59:00Z (60 s), 7 waiting")
        for path in ("/", "/orgs/northwind", "/hours", "/orgs/northwind/users/u1"):
            answer = page.get(path)
            assert answer.status == 503 and answer.headers["Retry-After"] == "5"
            assert "2026-11-30 12:00:00 UTC" in answer.text and "since 2026-11-30T11:59:00Z" in answer.text
            assert 'aria-label="Pages"' in answer.text and "Traceback" not in answer.text
        problem = page.get("/api/v1/orgs")
        assert problem.headers["Content-Type"].startswith("application/problem+json")
        assert (problem.status, problem.json["title"]) == (503, "Redis is away")
        health = page.get("/health")
        assert health.status == 200 and "7 waiting" in health.text and "not answering this page" in health.text
        assert page.get("/api/v1/health").json["others"] is None
        with LocalRedis(tmp_path, port=port) as server:
            put(server.url, "away:", [made.documents.org(made.org(0)[0], 1, 0)[1]])
            assert "Northwind" in page.get("/").text
            assert "answers this page" in page.get("/api/v1/health").text


def test_a_redis_that_hangs_holds_a_page_up_for_seconds_only(tmp_path: Any, made: Made) -> None:
    with LocalRedis(tmp_path) as server, Served(server.url, "hangs:", FixedClock(NOW)) as page:
        put(server.url, "hangs:", [made.documents.org(made.org(0)[0], 1, 0)[1]])
        assert page.get("/orgs/northwind").status == 200
        os.kill(server.pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            answer = page.get("/orgs/northwind")
            assert answer.status == 503 and "Redis is away" in answer.text
            assert time.monotonic() - begin < LIMIT_SECONDS + BUSY_SECONDS
            with ThreadPoolExecutor(12) as visitors:
                begin = time.monotonic()
                assert {answer.status for answer in visitors.map(page.get, ["/"] * 12)} == {503}
            assert time.monotonic() - begin < LIMIT_SECONDS + BUSY_SECONDS, "nobody waits for the one before"
            assert page.get("/health").status == 200
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert page.get("/orgs/northwind").status == 200


def test_a_page_of_2000_orgs_asks_little_of_redis(redis_server: LocalRedis) -> None:
    big = make(int(NOW * 1000), 2000, 2100)
    assert put(redis_server.url, "page-big:", big.writes(users_of=())) > 2000
    client = redis.Redis.from_url(redis_server.url)
    with Served(redis_server.url, "page-big:", FixedClock(NOW)) as page:
        page.get("/health")
        before: Any = client.info("stats")
        client.config_resetstat()
        answer = page.get("/?page=17&sort=score")
        stats: Any = client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
        assert before and answer.status == 200 and len(rows_of(answer.text)) == 50
        assert (
            calls["eval"] == 4
            and calls["hgetall"] <= 50 + 8 + 1
            and sum(calls.values()) - calls["hmget"] < 75
            and len(answer.text) < 120_000
        )
        client.config_resetstat()
        rows = rows_of(page.get("/?page=1&sort=score&q=bank").text)
        stats = client.info("commandstats")
        assert "cmdstat_eval" not in stats and len(rows) == 50
    client.close()


def test_the_health_page_shows_the_other_workers_and_links_only_to_web_addresses(empty: Served) -> None:
    client, prefix = redis.Redis.from_url(empty.settings.redis.url), empty.settings.redis.prefix
    metrics = Metrics()
    metrics.lag.set(12, "product-events", 0)
    metrics.ledger.set(1234, "product-events", 0, "accepted")
    metrics.ledger_gap.set(2, "product-events", 0)
    metrics.watermark.set(NOW - 90, 3)
    empty.metrics.ledger.set(1000, "product-events", 1, "accepted")
    empty.metrics.lag.set(3, "product-events", 1)
    for name, address in (("worker-2", "http://127.0.0.1:9"), ("<b>evil</b>", "javascript:alert(1)")):
        card = make_card(name, address, metrics, [("kafka", False, "away <now>")], NOW - 4)
        client.hset(prefix + card_key(name), mapping=dict(card_fields(card)))
        client.zadd(prefix + CARDS, {name: NOW})
    client.close()
    text = empty.get("/health").text
    assert 'href="http://127.0.0.1:9/health"' in text and "javascript:" not in text and "<b>evil" not in text
    assert "away &lt;now&gt;" in text and "Not every worker is ready" in text
    assert '<th scope="row">product-events</th><td class="num">2</td><td class="num">27</td>' in text
    assert '<td class="num">3,468</td>' in text, "the parts of the ledger add up"
    assert "gap of 4" in text and "4s ago" in text
    found = empty.get("/api/v1/health").json
    assert [each["name"] for each in found["others"]] == ["<b>evil</b>", "worker-2"]


def test_a_tenants_page_says_whose_it_is_and_knows_nobody_elses_orgs(served: Served, reader: Reader) -> None:
    (first,) = reader.orgs_by_score(Ranking(1))
    names = {"worker.tenant": "acme", "kafka.prefix": "t.acme.", "kafka.application": "t.acme.orgpulse"}
    space = "t:acme:" + served.settings.redis.prefix
    with Served(served.settings.redis.url, space, FixedClock(NOW), **names) as page:
        accounts = page.get("/")
        assert "<title>Accounts · acme · orgpulse</title>" in accounts.text and first.org not in accounts.text
        for path in (f"/orgs/{first.org}", f"/api/v1/orgs/{first.org}"):
            assert (page.get(path).status, served.get(path).status) == (404, 200)
    assert "acme" not in served.get("/health").text
