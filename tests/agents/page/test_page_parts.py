"""What the pages are made of: colours that can be read, runbooks, files, cards of workers."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from agents.page import draw, runbooks
from agents.page.assets import FOLDER, Assets
from agents.page.choose import SORTS, Choice, Part, choose
from agents.worker_card import LIFE_SECONDS, CardWriter, make_card, page_address
from deploy.local.redis import LocalRedis
from streams.clock import FixedClock
from streams.metrics import Metrics
from streams.published_index import OrgLine
from streams.published_workers import WorkerCard, card_fields, card_of
from streams.reader import Reader
from streams.settings import Settings, override
from tests.state.worlds import examples

ROOT = Path(__file__).parents[3]
NOW = 1_796_040_000.0


def test_the_colours_of_the_map_are_those_of_the_terminal_and_can_be_read() -> None:
    styles = (FOLDER / "page.css").read_text("utf-8")
    assert styles.endswith(draw.level_styles())
    for red, green, blue, ink in re.findall(r"level-\d+ \{ background: #(..)(..)(..); color: (#\w+);", styles):
        light = draw.luminance([int(part, 16) for part in (red, green, blue)])
        contrast = (light + 0.05) / 0.05 if ink == "#000" else 1.05 / (light + 0.05)
        assert contrast >= 4.5
    assert draw.luminance((255, 255, 255)) == pytest.approx(1) and draw.luminance((0, 0, 0)) == 0


def test_runbooks_have_an_anchor_for_each_alert_and_no_html_of_their_own() -> None:
    book = runbooks.render(
        "# Runbooks\n\nintro\n\n## OrgAtRisk\n\ntext <script>alert(1)</script> [x](javascript:alert(1))\n\n"
        "### What to do\n\n```sh\norgpulse doctor\n```\n\n## RedisAway\n\n"
        "### What to do\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    assert book.headings == [("orgatrisk", "OrgAtRisk"), ("redisaway", "RedisAway")]
    assert '<h2 id="orgatrisk">' in book.html and '<h3 id="what-to-do-2">' in book.html
    assert "<script>" not in book.html and 'href="javascript' not in book.html and "<h1" not in book.html
    assert '<pre tabindex="0">' in book.html and book.html.count("<table") == 1


def test_every_alert_leads_to_its_heading_on_the_page() -> None:
    rules = "".join(path.read_text("utf-8") for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
    wanted = set(re.findall(r"/runbooks#([\w-]+)", rules))
    path = runbooks.find()
    assert path is not None and len(wanted) > 15
    assert wanted <= {anchor for anchor, _ in runbooks.read(path).headings}


def test_the_runbooks_of_a_checkout_are_found_and_missing_ones_are_none(tmp_path: Path) -> None:
    assert runbooks.PLACES[0] == ROOT / "docs" / "runbooks.md"
    assert runbooks.find((tmp_path / "no.md",)) is None
    (tmp_path / "runbooks.md").write_text("# Runbooks\n## A\n", "utf-8")
    found = runbooks.find((tmp_path / "no.md", tmp_path / "runbooks.md"))
    assert found is not None and runbooks.read(found).headings == [("a", "A")]


def test_the_address_of_a_file_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a")
    (tmp_path / "b.js").write_text("b")
    before = Assets(tmp_path).address("a.css")
    (tmp_path / "b.js").write_text("c")
    assert Assets(tmp_path).address("a.css") != before


def test_the_chart_library_is_vendored_with_its_licence() -> None:
    library = (FOLDER / "uPlot.iife.min.js").read_text("utf-8")
    assert "v1.6.32" in library.splitlines()[0] and "MIT License" in (FOLDER / "uPlot.LICENSE.txt").read_text("utf-8")
    assert "1.6.32" in (ROOT / "DECISIONS.md").read_text("utf-8")


LINES = st.builds(
    OrgLine, st.uuids().map(str), st.text(max_size=5), st.sampled_from(["healthy", "watch", "at_risk", ""]),
    st.none() | st.just("SMB"), st.none() | st.integers(0, 9999).map(lambda n: Decimal(n) / 100),
    st.none() | st.integers(0, 9999).map(lambda n: Decimal(n) / 100), st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 9), st.none(),
)  # fmt: skip


@examples(60)
@given(st.lists(LINES, max_size=30, unique_by=lambda line: line.org), st.sampled_from(sorted(SORTS)), st.integers(1, 7))
def test_every_org_is_on_exactly_one_page_in_any_order(lines: list[OrgLine], sort: str, per_page: int) -> None:
    part = Part(1, per_page)
    found = choose(lines, Choice(sort=sort, part=part))
    parts = [Part(n, per_page) for n in range(1, part.pages(len(found)) + 1)]
    pages = [line.org for each in parts for line in found[each.skip :][:per_page]]
    assert sorted(pages) == sorted(line.org for line in lines)
    assert choose(list(reversed(lines)), Choice(sort=sort)) == found


def card(**more: Any) -> WorkerCard:
    metrics = Metrics()
    metrics.lag.set(7, "product-events", 2)
    metrics.last_commit.set(NOW - 1, "product-events", 2)
    metrics.watermark.set(NOW - 60, 10)
    metrics.watermark.set(NOW - 50, 9)
    metrics.ledger.set(3, "product-events", 2, "accepted")
    metrics.ledger.set(4, "product-events", 1, "accepted")
    metrics.ledger_gap.set(1, "product-events", 2)
    metrics.backlog.set(1)
    metrics.kafka_brokers.set(3)
    metrics.recovery_duration.set(1.25)
    return make_card("w/1", "http://127.0.0.1:6066", metrics, [("kafka", True, "fine"), ("redis", False, "é")], NOW)


def test_a_card_comes_back_as_it_was() -> None:
    said = card()
    assert (said.ready, said.backlog, said.gap_messages, said.ledger) == (
        False,
        True,
        1,
        {"product-events": {"accepted": 7, "gap": 1}},
    )
    assert list(said.watermarks) == ["9", "10"]
    assert card_of("w/1", card_fields(said), NOW) == said
    later = card_of("w/1", card_fields(said), NOW + 12)
    assert later is not None and later.age_seconds == 12
    assert card_of("w/1", {}, NOW) is None


def test_a_worker_writes_its_card_and_takes_it_away(redis_server: LocalRedis, topic_prefix: str) -> None:
    names = {"redis.url": redis_server.url, "redis.prefix": topic_prefix, "worker.name": "w-1"}
    settings, client = override(Settings(), names), redis.Redis.from_url(redis_server.url)

    async def run() -> None:
        writer = CardWriter(settings, card, FixedClock(NOW))
        await writer.start()
        with Reader(redis_server.url, topic_prefix, FixedClock(NOW + 3)) as reader:
            for _ in range(500):
                await asyncio.sleep(0.01)
                if found := reader.workers():
                    break
            assert [(each.name, each.age_seconds) for each in found] == [("w-1", 3.0)]
            life: Any = client.ttl(f"{topic_prefix}worker:{{w-1}}")
            assert 0 < life <= LIFE_SECONDS
            await writer.stop()
            assert reader.workers() == []

    asyncio.run(run())
    client.close()


def test_redis_away_is_nothing_to_a_card_writer() -> None:
    settings = override(Settings(), {"redis.url": "redis://127.0.0.1:1/0"})

    async def run() -> None:
        writer = CardWriter(settings, card, FixedClock(NOW))
        await writer.start()
        await asyncio.sleep(0.1)
        assert writer._task is not None and not writer._task.done()
        await writer.stop()

    asyncio.run(run())


def test_a_worker_that_listens_everywhere_is_reached_by_its_machines_name() -> None:
    assert re.fullmatch(r"http://[^/:]+:7000", page_address("http://0.0.0.0:7000", "0.0.0.0"))
    assert page_address("http://[::1]:7000", "::1") == "http://[::1]:7000"
