"""A real worker on every address: who looks has to say who they are, and who abuses it keeps nobody out.

    attackers ──300 heads that never end, 200 header bombs, bytes that are no HTTP──► worker ◄──scrape── Prometheus

Its streams, its readiness and its scrapes must be as if nobody had been there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.faults.extent import long_form
from tests.faults.system import Size, System, wait_until
from tests.streams.web_house import Reply, ask, basic, connect, hashed, many

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.security, pytest.mark.timeout(900)]

PATIENCE_SECONDS = 180.0
#: Faust's own pages, which would show tables, agents and the state of the process.
FAUST = (
    "/table", "/table/", "/tables", "/tables/shard/", "/table/shard/", "/stats/", "/graph/", "/router/", "/index/",
    "/production_index/", "/live/../tables/", "/assignment/", "/docs", "/agents",
)  # fmt: skip
MOST_GROWTH_BYTES = 150 << 20


def listening(pid: int) -> set[tuple[str, int]]:
    """Return addresses (as the kernel writes them) and ports that a process listens on."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
            sockets |= {found[1]} if found else set()
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                address, port = fields[1].split(":")
                addresses.add((address, int(port, 16)))
    return addresses


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_worker_under_abuse_answers_those_it_knows_and_tells_others_nothing(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    config = tmp_path / "web.yml"
    config.write_text(
        f"basic_auth_users:\n  prometheus: {hashed('scrape it')}\n  ann: {hashed('right horse')}\n"
        "roles: {ann: admin}\n"
    )
    changes = {
        "web.config_file": str(config), "web.host": "0.0.0.0", "web.max_connections": 32, "web.head_seconds": 600.0,
        "web.requests_per_second": 0,
    }  # fmt: skip
    scraper, ann = basic("prometheus", "scrape it"), basic("ann", "right horse")
    with System(kafka.bootstrap, redis_server.url, tmp_path, workers=1, size=Size(3, 60, 1), changes=changes) as system:
        port, pid = system.workers.port(0), system.workers.pid(0)

        def scrape(source: str = "127.0.0.1") -> Reply:
            return ask(port, "/metrics", headers=scraper, source=source)

        def ready() -> str:
            try:
                reply = ask(port, "/ready")
            except OSError as error:
                return str(error)
            return "" if reply.status == 200 else reply.text

        wait_until(ready, PATIENCE_SECONDS)
        assert json.loads(ask(port, "/ready").text) == {"ready": True}
        assert len(json.loads(ask(port, "/ready", headers=scraper).text)["checks"]) >= 6

        # One socket, and nothing of the framework behind it: not for those who are known either.
        assert listening(pid) == {("00000000", port)}
        for path in FAUST:
            assert ask(port, path).status == 401, path
            assert ask(port, path, headers=ann).status in (301, 404), path
        for path in ("/", "/metrics", "/status", "/api/v1/orgs", "/health"):
            assert ask(port, path).status == 401, path
        assert ask(port, "/status", headers=scraper).status == 403
        assert json.loads(ask(port, "/status", headers=ann).text)["web"]["tls"] is False
        assert ask(port, "/health", headers=scraper).status == 200

        before = resident_bytes(pid)
        head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
        with many(lambda: connect(port, head), 300):

            def pushed_out() -> str:
                text = scrape("127.0.0.2").text
                found = re.search(r'(?m)^orgpulse_web_refused_total{reason="connections"} (\S+)', text)
                return "" if found and float(found[1]) >= 270 else "they still come"

            wait_until(pushed_out, PATIENCE_SECONDS)
            for source in ("127.0.0.1", "127.0.0.2"):
                for _ in range(3):
                    assert scrape(source).status == 200
            connections = re.search(r"(?m)^orgpulse_web_connections (\S+)", scrape().text)
            assert connections is not None and float(connections[1]) <= 32
        for number in range(200):
            bomb = head + b"canary-in-a-header" * 20_000 if number % 2 else b"canary \x1b[31m no http\r\n" * 500
            with contextlib.suppress(OSError), connect(port) as connection:
                connection.sendall(bomb)
                connection.recv(4096)
            if number % 50 == 0:
                assert scrape().status == 200
        for number in range(40):
            ask(port, "/metrics", headers=basic("ann", f"canary-password-{number}"), source="127.0.0.3")
        assert scrape().status == 200 and ask(port, "/status", headers=ann).status == 200
        assert resident_bytes(pid) - before < MOST_GROWTH_BYTES
        assert not ready()

        # A new password counts without a restart, a broken file does not.
        config.write_text(f"basic_auth_users:\n  prometheus: {hashed('scrape anew')}\n")
        anew = basic("prometheus", "scrape anew")
        wait_until(lambda: "" if ask(port, "/metrics", headers=anew).status == 200 else "not yet", PATIENCE_SECONDS)
        config.write_text("basic_auth_users: [\n")

        def told() -> str:
            text = ask(port, "/metrics", headers=anew).text
            return "" if "orgpulse_web_config_ok 0.0" in text else text[:200]

        wait_until(told, PATIENCE_SECONDS)
        assert scrape().status == 401

        assert system.workers.running == [0]
        said = system.workers.log(0).read_text(encoding="utf-8", errors="replace")
        assert "canary" not in said and "\x1b[31m no http" not in said and "not let in" in said
        assert "the web configuration stays as it was" in said and "Traceback" not in said
