"""Both readers against a real Redis: the same answers, errors of their own, and light to import."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from msgspec import structs

from deploy.local.ports import free_ports
from deploy.local.redis import LocalRedis
from streams import reader_questions
from streams.fenced_write import Write
from streams.published import Change
from streams.reader import Ranking, Reader
from streams.reader_asyncio import AsyncReader
from streams.reader_connect import Connect
from streams.reader_errors import NewerSchemaError, RedisAwayError, RedisRefusedError, UnreadableError
from tests.streams.test_reader import USER, Shop, org, user


@pytest.fixture
def shop(redis_server: LocalRedis, topic_prefix: str) -> Iterator[Shop]:
    opened = Shop(redis_server.url, topic_prefix)
    yield opened
    opened.reader.close()
    opened.redis.close()


QUESTIONS: tuple[Callable[[Any], Any], ...] = (
    lambda r: r.user("acme", "u1"),
    lambda r: r.users([("acme", "u2"), ("acme", "nobody"), ("acme", "u1")]),
    lambda r: r.users([]),
    lambda r: r.org("a"),
    lambda r: r.orgs(["b", "nobody", "a"]),
    lambda r: r.orgs_by_score(Ranking(2, highest=True)),
    lambda r: r.orgs_by_score(Ranking(5, low=20, high=50)),
    lambda r: r.orgs_by_score(Ranking(5, band="healthy")),
    lambda r: r.users_by_score("acme", Ranking(1, band="watch")),
    lambda r: r.latency(),
    lambda r: r.latency("a"),
    lambda r: r.chat("a"),
    lambda r: r.chat("nobody"),
    lambda r: r.totals(),
    lambda r: r.org_ids(),
    lambda r: r.user_ids("acme"),
    lambda r: r.orgs_of_user("u1"),
    lambda r: r.org_lines(),
    lambda r: r.user_count("acme"),
    lambda r: r.workers(),
    lambda r: r.alert_count(),
    lambda r: r.changes(),
    lambda r: r.last_change_id(),
)


def fill(shop: Shop) -> None:
    shop.write(org("a", "50.00"), org("b", "20.00"), org("c", "90.00"))
    shop.write(user("u1", score="30.00"), user("u2", score="10.00"))
    shop.write(Write("latency:{all}", {"timezone": "local", "mon-00": "12.500", "mon-00:n": "3"}, "0000.1"))
    windows = "[[1795334400, 12, null, 12], [1795335000, 3, 0, 15]]"
    shop.write(Write("chat:{a}", {"timezone": "Europe/Vienna", "windows": windows, "messages_10m": "3"}, "0000.1"))
    shop.write(Write("totals", {"orgs": "3"}, "0000.1"))


def test_both_readers_answer_every_question_alike(shop: Shop, redis_server: LocalRedis) -> None:
    fill(shop)

    async def ask() -> list[Any]:
        async with AsyncReader(redis_server.url, shop.prefix, shop.clock) as reader:
            return [await question(reader) for question in QUESTIONS]

    answers = [question(shop.reader) for question in QUESTIONS]
    assert asyncio.run(ask()) == answers
    _, users, none, _, orgs, top, within, healthy, watch, *_ = answers
    assert [one and one.user for one in users] == ["u2", None, "u1"] and none == [] == healthy
    assert [one and one.org for one in orgs] == ["b", None, "a"]
    assert [one.org for one in top] == ["c", "a"] and [one.org for one in within] == ["b", "a"]
    assert [one.user for one in watch] == ["u2"]


def test_a_band_is_looked_for_beyond_the_first_page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_questions, "PAGE", 2)
    for n in range(6):
        write = user(f"u{n}", score=f"{n}0.00")
        shop.write(structs.replace(write, fields={**write.fields, "band": "healthy" if n in (1, 3, 4) else "watch"}))
    found = shop.reader.users_by_score("acme", Ranking(2, band="healthy"))
    assert [one.user for one in found] == ["u1", "u3"]
    found = shop.reader.users_by_score("acme", Ranking(9, band="healthy", highest=True))
    assert [one.user for one in found] == ["u4", "u3", "u1"]


def test_a_latency_map_has_168_hours_and_none_where_nothing_is_known(shop: Shop) -> None:
    fill(shop)
    found = shop.reader.latency()
    assert found is not None and len(found.week) == 168
    assert (found.week[0].seconds, found.week[0].replies, found.week[0].messages) == (12.5, 3, None)
    assert (found.week[1].seconds, found.week[1].replies) == (None, None)


def test_of_chat_activity_missing_is_none_and_the_moments_are_the_servers(shop: Shop) -> None:
    fill(shop)
    found = shop.reader.chat("a")
    assert found is not None and shop.reader.chat("b") is None
    assert (found.online, found.rate_per_minute, found.window_messages, found.people) == (None, None, 3, ())
    assert [(w.messages, w.online, w.cumulative) for w in found.windows] == [(12, None, 12), (3, 0, 15)]
    assert found.windows[0].start.isoformat() == "2026-11-22T09:00:00+01:00"
    assert (found.age_seconds, found.stale) == (None, True), "how old it is is not known"
    shop.write(Write("totals", {"orgs": "3", "as_of": "2026-11-22T08:00:00Z"}, "0000.2"))
    again = shop.reader.chat("a")
    assert again is not None and (again.age_seconds, again.stale) == (60.0, False)
    shop.write(Write("chat:{a}", {"timezone": "No/where", "windows": "[]"}, "0000.3"))
    with pytest.raises(UnreadableError):
        shop.reader.chat("a")


def test_changes_are_followed_by_both_readers_from_the_last_id_on(shop: Shop, redis_server: LocalRedis) -> None:
    for n in range(3):
        shop.write(user("u1", score=f"{n}0.00", fence=f"0000.{n}"))
    followed = list(islice(shop.reader.follow("0"), 2))
    assert [change.fields["to"] for change in followed] == ["00.00", "10.00"]

    async def go_on(changes: AsyncIterator[Change]) -> Change:
        waiting = asyncio.ensure_future(anext(changes))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        return await waiting

    async def ask() -> tuple[Change, Change]:
        async with AsyncReader(redis_server.url, shop.prefix) as reader:
            changes = reader.follow(followed[-1].id)
            third = await go_on(changes)
            waiting = asyncio.ensure_future(anext(changes))  # type: ignore[arg-type]
            shop.write(user("u1", score="70.00", fence="0000.7"))
            return third, await waiting

    third, fourth = asyncio.run(ask())
    assert (third.fields["to"], fourth.fields["to"], fourth.org, fourth.user) == ("20.00", "70.00", "acme", "u1")


def test_a_consumer_group_gives_each_change_once_and_again_when_its_consumer_died(shop: Shop) -> None:
    shop.reader.make_group("mail", "0")
    shop.reader.make_group("mail", "0")
    shop.write(user("u1"))
    shop.write(user("u1", score="60.00", fence="0000.2"))
    first = shop.reader.group_changes("mail", "one", count=1)
    second = shop.reader.group_changes("mail", "two")
    assert [len(first), len(second)] == [1, 1] and first != second
    assert shop.reader.acknowledge("mail", first) == 1
    assert shop.reader.claim("mail", "three", 0) == second
    assert shop.reader.group_changes("mail", "one") == []


def test_a_newer_schema_a_foreign_value_and_another_type_are_errors_not_none(shop: Shop) -> None:
    shop.write(Write("user:{a}:new", {**USER, "schema": "2"}, "0000.1"))
    shop.write(Write("user:{a}:odd", {**USER, "score": "high"}, "0000.1"))
    shop.redis.set(f"{shop.prefix}user:{{a}}:text", "x")
    for name, error in (("new", NewerSchemaError), ("odd", UnreadableError), ("text", RedisRefusedError)):
        with pytest.raises(error):
            shop.reader.user("a", name)


def test_a_redis_that_is_away_has_its_own_error() -> None:
    (port,) = free_ports(1)
    connect = Connect(timeout_seconds=1)

    async def ask() -> None:
        async with AsyncReader(f"redis://127.0.0.1:{port}/0", connect=connect) as reader:
            await reader.org("a")

    with Reader(f"redis://127.0.0.1:{port}/0", connect=connect) as reader, pytest.raises(RedisAwayError):
        reader.org("a")
    with pytest.raises(RedisAwayError):
        asyncio.run(ask())


def test_wrong_arguments_are_said_before_anything_is_sent(shop: Shop) -> None:
    for wrong in (
        lambda: shop.reader.changes(wait_seconds=60),
        lambda: shop.reader.orgs_by_score(Ranking(0)),
        lambda: shop.reader.orgs(["a"] * 10_001),
        lambda: Reader("redis://x", connect=Connect(tls_ca_file="ca.pem")),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_importing_the_readers_loads_neither_the_pipeline_nor_pandas() -> None:
    code = "import sys, streams.reader, streams.reader_asyncio; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "faust",
        "mode",
        "aiokafka",
        "kafka",
        "pandas",
        "numpy",
        "aiohttp",
        "msgspec",
        "structlog",
        "agents",
        "state",
    }
    assert "redis" in said and not heavy & set(said)
