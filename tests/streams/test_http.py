"""The worker's pages over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from streams.http import Check, HttpServer, ListenError
from streams.metrics import Metrics
from streams.settings_web import WebSettings

Scenario = Callable[[HttpServer, aiohttp.ClientSession], Awaitable[None]]


def served(checks: Callable[[], list[Check]], scenario: Scenario) -> None:
    async def main() -> None:
        server = HttpServer("127.0.0.1", 0, Metrics().registry, checks)
        await server.start()
        try:
            async with aiohttp.ClientSession(server.url) as session:
                await scenario(server, session)
        finally:
            await server.stop()

    asyncio.run(main())


def test_ready_is_200_only_while_every_check_passes_and_names_each() -> None:
    passing = {"kafka": True, "redis": False}

    async def scenario(_: HttpServer, session: aiohttp.ClientSession) -> None:
        async with session.get("/ready") as answer:
            assert answer.status == 503
            body = await answer.json()
        assert body == {
            "ready": False,
            "checks": [
                {"name": "kafka", "ok": True, "detail": "says kafka"},
                {"name": "redis", "ok": False, "detail": "says redis"},
            ],
        }
        passing["redis"] = True
        async with session.get("/ready") as answer:
            assert answer.status == 200

    served(lambda: [(name, ok, f"says {name}") for name, ok in passing.items()], scenario)


def test_live_metrics_and_the_index_answer_and_nothing_else_does() -> None:
    async def scenario(_: HttpServer, session: aiohttp.ClientSession) -> None:
        async with session.get("/live") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with session.get("/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "orgpulse_rebalances_total 0.0" in await answer.text()
        async with session.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as answer:
            assert (await answer.text()).endswith("# EOF\n")
        async with session.get("/") as answer:
            assert "/ready" in await answer.text()
        async with session.get("/tables") as answer:
            assert answer.status == 404

    served(list, scenario)


def test_a_taken_port_says_what_to_do() -> None:
    async def scenario(server: HttpServer, _: aiohttp.ClientSession) -> None:
        second = HttpServer("127.0.0.1", server.port, Metrics().registry, list)
        with pytest.raises(ListenError) as caught:
            await second.start()
        assert caught.value.message == f"127.0.0.1:{server.port} is taken"
        assert "[web] port" in caught.value.remedy

    served(list, scenario)


def test_an_address_of_another_machine_says_what_to_do() -> None:
    settings = WebSettings(allow_anonymous=True)
    server = HttpServer("192.0.2.1", 0, Metrics().registry, list, web_settings=settings)
    with pytest.raises(ListenError, match=r"\[web\] host"):
        asyncio.run(server.start())


def test_after_stop_nothing_listens_and_stopping_twice_is_harmless() -> None:
    async def main() -> None:
        server = HttpServer("127.0.0.1", 0, Metrics().registry, list)
        await server.start()
        await server.stop()
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)

    asyncio.run(main())
