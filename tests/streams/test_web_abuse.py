"""Clients that hold on, send too much, or ask under another name keep nobody out and learn nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from pathlib import Path
from threading import Semaphore

import pytest
import uvloop
from aiohttp import web

from streams.web_guard import HEADERS
from tests.faults.system import wait_until
from tests.streams.web_house import PATIENCE_SECONDS, House, ask, connect, is_closed, many, sign

pytestmark = pytest.mark.security


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"], autouse=True)
def loop_of_each_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run on uvloop where there is one, else on asyncio's own loop; the two differ where it hurts."""
    monkeypatch.setattr(House, "new_loop", staticmethod(request.param))


HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


def all_closed(connections: list[socket.socket]) -> str:
    still = sum(not is_closed(each) for each in connections)
    return f"{still} of {len(connections)} are open" if still else ""


def test_many_slow_clients_keep_neither_others_nor_their_own_machine_out() -> None:
    """300 connections that never end their head, against 16 that there may be: each that asks is answered at once."""
    with (
        House(max_connections=16, head_seconds=600, idle_seconds=600) as house,
        many(lambda: house.connect(HEAD + b"X-Slow: "), 300) as slow,
    ):
        # All of them have come: each but the 4 that one client may have was ended by a later one.
        wait_until(lambda: "" if house.count("connections") == 296 else "they still come", PATIENCE_SECONDS)
        for source in ("127.0.0.1", "127.0.0.2"):
            for _ in range(5):
                assert ask(house.port, "/metrics", source=source).status == 200
        assert house.server._look() <= 4
        assert sum(not is_closed(each) for each in slow) <= 4


def test_who_comes_amid_a_burst_is_answered_and_nobody_is_counted_twice() -> None:
    """In each turn of the server's loop some slow clients come, and last, behind them, one that asks.

        turn      1     2     3    …    12
        come   s s s  s s   s s s s   s s s a    of one client, which may have 4 connections of 16

    However far those before it are (accepted, being greeted, standing, dropped), each that comes ends an older one.
    """
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    with House(max_connections=16, head_seconds=600, idle_seconds=600) as house:
        for _ in range(25):
            with contextlib.ExitStack() as stack, Turns(house) as turns:
                for _ in range(12):
                    turns.next()
                    slow = [stack.enter_context(house.connect(HEAD)) for _ in range(chance.randrange(6))]
                asking = stack.enter_context(house.connect(HEAD + b"\r\n"))
                turns.end()
                assert asking.recv(20).startswith(b"HTTP/1.1 200")
                assert sum(not is_closed(each) for each in slow) <= 4
                assert house.on_loop(house.connections) == house.on_loop(house.server._look) <= 4
            wait_until(lambda: str(house.server._look() or ""), PATIENCE_SECONDS)


class Turns:
    """Lets the server's loop take one turn after the other, each when it is told to."""

    def __init__(self, house: House) -> None:
        self._loop, self._go, self._stands, self._ends = house.loop, Semaphore(0), Semaphore(0), False

    def __enter__(self) -> Turns:
        self._loop.call_soon_threadsafe(self._turn)
        assert self._stands.acquire(timeout=PATIENCE_SECONDS)
        return self

    def next(self) -> None:
        """Let it take a turn, and wait until it stands before the next one."""
        self._go.release()
        assert self._stands.acquire(timeout=PATIENCE_SECONDS)

    def end(self) -> None:
        """Let it go on."""
        self._ends = True
        self._go.release()

    def __exit__(self, *_: object) -> None:
        self.end()

    def _turn(self) -> None:
        self._stands.release()
        if self._go.acquire(timeout=PATIENCE_SECONDS) and not self._ends:
            self._loop.call_soon(self._turn)


def test_a_head_that_trickles_ends_in_time_however_often_a_byte_comes() -> None:
    with House(head_seconds=0.5, idle_seconds=600) as house, house.connect(HEAD) as slow:

        def trickled() -> str:
            with contextlib.suppress(OSError):
                slow.setblocking(True)
                slow.send(b"X")
            return "" if is_closed(slow) else "it still lets bytes in"

        wait_until(trickled, PATIENCE_SECONDS)
        assert house.count("slow_head") == 1


def test_a_client_that_does_not_read_its_answer_is_let_go() -> None:
    def large(app: web.Application) -> None:
        async def page(_: web.Request) -> web.Response:
            return web.Response(body=b"x" * 50_000_000)

        app.router.add_get("/", page)

    with House(extend=large, answer_seconds=1, idle_seconds=600) as house:
        with house.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            wait_until(lambda: "" if house.count("slow_answer") else "it is still waited for", PATIENCE_SECONDS)
        assert house.get("/metrics").status == 200
        wait_until(lambda: "" if house.server._look() <= 1 else "still counted", PATIENCE_SECONDS)


def test_answers_that_nobody_reads_are_held_up_to_a_limit_only() -> None:
    """60 clients' worth of 4 MB each, none of them read: half of 64 MB is kept for one address, the rest is refused."""

    def large(app: web.Application) -> None:
        async def page(_: web.Request) -> web.Response:
            return web.Response(body=bytes(4 << 20))

        app.router.add_get("/", page)

    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        House(extend=large, answer_seconds=600, max_connections=512) as house,
        many(lambda: house.connect(request), 60),
    ):
        wait_until(lambda: "" if house.count("busy") else "all of it is kept", PATIENCE_SECONDS)
        wait_until(
            lambda: "" if house.server.figures.requests.values.get(("200",)) else "none is sent", PATIENCE_SECONDS
        )
        doors = house.server._runner.doors  # type: ignore[union-attr]
        assert doors is not None and doors.sending.total() <= 33 << 20
        assert ask(house.port, "/metrics").status == 200
        assert ask(house.port, "/", source="127.0.0.2").status == 200


ODD = {
    "HTTP/2 upgrade": HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n",
    "web socket": HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n",
    "HTTP/1.0": b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "whole address": b"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", list(ODD))
def test_what_is_odd_but_allowed_is_answered(name: str) -> None:
    with House() as house, house.connect(ODD[name]) as connection:
        assert connection.recv(100).split()[1] == b"200"
        wait_until(lambda: "" if house.get("/live").status == 200 else "no", PATIENCE_SECONDS)


@pytest.mark.parametrize("request_line", [b"CONNECT evil.example:443", b"OPTIONS *", b"PRI *", b"GET *", b"TRACE /"])
def test_what_is_odd_and_means_nothing_here_is_refused(request_line: bytes) -> None:
    with House() as house, house.connect(request_line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
        answer = connection.recv(4096)
        assert answer.split()[1] in (b"400", b"404", b"405", b"413") and b"evil" not in answer
        assert house.get("/live").status == 200


def test_connections_without_a_request_end_and_those_between_two_scrapes_stay() -> None:
    with House(idle_seconds=1) as house, house.connect() as idle, house.connect(HEAD + b"\r\n") as kept:
        assert kept.recv(20).startswith(b"HTTP/1.1 200")
        wait_until(lambda: all_closed([idle, kept]), PATIENCE_SECONDS)
        assert house.count("idle") == 2


BOMBS = {
    "a line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "one header": HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "a name": HEAD + b"X" * 100_000 + b": a\r\n\r\n",
    "many headers": HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(10_000)) + b"\r\n",
    "many headers of one name": HEAD + b"X: a\r\n" * 10_000 + b"\r\n",
    "no end": HEAD + b"X: " + b"a" * 1_000_000,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hostile \x1b[31m bytes\r\n\r\n",
    "a method": b"A" * 10_000 + b" / HTTP/1.1\r\n\r\n",
    "a bad version": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "folded": HEAD + b"X: a\r\n b\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "length and chunks": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "NUL": HEAD + b"X: a\0b\r\n\r\n",
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_header_bomb_is_refused_and_none_of_it_comes_back_or_into_the_log(
    name: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with House() as house:
        received = b""
        with house.connect() as connection, contextlib.suppress(OSError):
            with contextlib.suppress(OSError):  # refused before all of it was sent
                connection.sendall(BOMBS[name])
            while part := connection.recv(65536):
                received += part
        if received:
            assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 413")), received[:200]
            assert b"hostile" not in received and b"aaaa" not in received and b"nosniff" in received
        assert house.count("malformed") + house.count("body") >= 1
        assert house.get("/metrics").status == 200
    said = "".join(capfd.readouterr()) + caplog.text
    assert "hostile" not in said and "\x1b[31m" not in said and "aaaa" not in said and "Traceback" not in said


def test_a_request_with_a_body_is_refused_before_the_body_is_there() -> None:
    with House() as house:
        with house.connect(HEAD + b"Content-Length: 1000000000\r\n\r\n") as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
        with house.connect(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_who_asks_too_often_waits_and_others_do_not() -> None:
    with House(requests_per_second=1) as house:
        assert [house.get("/live").status for _ in range(10)] == [200] * 10
        assert any(house.get("/live").status == 429 for _ in range(2000))
        assert ask(house.port, "/live", source="127.0.0.2").status == 200


def test_only_so_much_is_answered_at_once_and_one_client_has_half_of_it() -> None:
    def endless(app: web.Application) -> None:
        async def page(_: web.Request) -> web.Response:
            await asyncio.sleep(3600)
            return web.Response()

        app.router.add_get("/", page)

    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        House(extend=endless, max_connections=512, answer_seconds=600) as house,
        many(lambda: house.connect(request), 40),
    ):
        wait_until(lambda: "" if house.count("busy") == 8 else str(house.count("busy")), PATIENCE_SECONDS)
        assert ask(house.port, "/metrics", source="127.0.0.2").status == 200


@pytest.mark.parametrize(
    "host", [b"evil.example", b"evil.example:6066", b"localhost.evil.example", b"127.0.0.1.evil.example", b"", b"a/b"]
)
def test_another_name_is_not_answered(host: bytes) -> None:
    with House() as house:
        for request in (b"GET /metrics HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",):
            with house.connect(request) as connection:
                answer = connection.recv(65536)
                assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.0 400")) and b"evil" not in answer
        two = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: " + host + b"\r\n\r\n"
        with house.connect(two) as connection:
            assert connection.recv(100).startswith((b"HTTP/1.1 421", b"HTTP/1.0 400"))
        with house.connect(b"GET /live HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_the_names_of_this_machine_and_those_that_are_allowed_are_answered() -> None:
    with House(allowed_hosts=("pulse.example.com", ".workers")) as house:
        names = ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:6066", "10.1.2.3", socket.gethostname(),
                 "pulse.example.com", "Pulse.Example.com.", "worker-0.workers")  # fmt: skip
        for name in names:
            assert house.get("/metrics", headers={"Host": name}).status == 200, name


def test_every_answer_has_the_security_headers(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("http_server_config:\n  headers:\n    X-Frame-Options: SAMEORIGIN\n", encoding="utf-8")
    with House(file) as house:
        for path, method in (("/", "GET"), ("/live", "GET"), ("/ready", "GET"), ("/metrics", "HEAD"), ("/no", "GET"),
                             ("/", "POST"), ("/", "TRACE"), ("/status", "GET")):  # fmt: skip
            reply = house.get(path, method)
            for name, value in HEADERS.items():
                assert reply.headers[name] == ("SAMEORIGIN" if name == "X-Frame-Options" else value), (path, name)
            assert reply.headers["Cache-Control"] == "no-store"
        policy = HEADERS["Content-Security-Policy"]
        assert "unsafe-inline" not in policy and "frame-ancestors 'none'" in policy


def test_clients_that_never_agree_on_tls_are_bounded_and_keep_nobody_out(tmp_path: Path) -> None:
    authority = sign("authority")
    authority.write(tmp_path, "authority")
    sign("server", authority).write(tmp_path, "server")
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n", encoding="utf-8")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    with House(file, max_connections=16, head_seconds=600) as house:
        with many(lambda: connect(house.port, b"\x16\x03\x01"), 100) as silent:
            wait_until(lambda: "" if house.count("connections") >= 84 else "they still come", PATIENCE_SECONDS)
            assert house.server._look() <= 16
            for source in ("127.0.0.1", "127.0.0.2"):
                assert ask(house.port, "/metrics", tls=trusting, source=source).status == 200
            wait_until(lambda: "" if sum(not is_closed(e) for e in silent) <= 16 else "too many", PATIENCE_SECONDS)
        wait_until(lambda: "" if house.server._look() == 0 else str(house.server._look()), PATIENCE_SECONDS)


def test_a_handshake_that_takes_too_long_ends(tmp_path: Path) -> None:
    sign("server").write(tmp_path, "server")
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n", encoding="utf-8")
    with House(file, head_seconds=0.5) as house, connect(house.port) as silent:
        wait_until(lambda: all_closed([silent]), PATIENCE_SECONDS)
        assert house.count("tls") == 1
        wait_until(lambda: "" if house.server._look() == 0 else str(house.server._look()), PATIENCE_SECONDS)
