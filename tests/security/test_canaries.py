"""Secrets that are marked, real commands and a real worker that are given them, and a look at everything they wrote.

canaries ─► settings, environment, files ─► commands (servers well, away, hostile), worker at log level debug
    ─► output, logs, tracebacks, metrics, pages, command lines, every topic, every key: no canary anywhere
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from agents.simulate import directory, history, make_base
from deploy.local.ports import free_ports
from streams.kafka_rights import Right
from streams.log_state import ends_of, stretches
from streams.sender import Sender
from streams.settings import Settings, SettingsError, load_settings, override
from streams.settings_child import child_environment
from streams.settings_docs import effective_toml
from streams.topic_specs import topic_specs
from streams.topics import create_topics
from tests.faults.extent import long_form
from tests.faults.system import wait_until
from tests.faults.workers import Workers, send_all
from tests.security.secure_kafka import SecureKafka
from tests.security.secure_redis import SecureRedis

CANARIES = {
    name: f"canary-{name}-7f3a/9@+x" for name in ("kafka", "redis", "inurl", "postgres", "mixpanel", "s3", "token")
}
PAGES = ("/", "/live", "/ready", "/metrics", "/api/v1/orgs", "/api/v1/health", "/system", "/nothing-there")


def found_in(text: str | bytes) -> list[str]:
    """Return which canaries are in *text*: as they are, as a URL or base64 spells them."""
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return [
        name
        for name, secret in CANARIES.items()
        if any(
            form in raw
            for form in (secret.encode(), quote(secret, safe="").encode(), base64.b64encode(secret.encode())[:16])
        )
    ]


def with_canaries(settings: Settings, folder: Path) -> Settings:
    """Return *settings* with a canary in every place for a secret that is not taken yet."""
    changes: dict[str, object] = {
        "sink.postgres_url": f"postgresql://sink:{quote(CANARIES['postgres'], safe='')}@127.0.0.1:1/none",
        "mixpanel.username": "service", "mixpanel.project_id": "1", "mixpanel.secret": CANARIES["mixpanel"],
        "mixpanel.url": "http://127.0.0.1:1/export", "s3.access_key": "me", "s3.secret_key": CANARIES["s3"],
        "s3.endpoint": "http://127.0.0.1:1", "listen.tokens": f"{CANARIES['token']} org=acme",
        "worker.restart": False, "log.level": "debug",
    }  # fmt: skip
    del folder
    return override(settings, changes)


def test_settings_show_no_secret_and_refuse_one_without_repeating_it(tmp_path: Path) -> None:
    settings = with_canaries(
        override(Settings(), {"redis.url": f"redis://me:{quote(CANARIES['inurl'], safe='')}@127.0.0.1:1/0"}), tmp_path
    )
    shown = effective_toml(settings)
    assert found_in(shown) == [] and "***" in shown
    wrong = f"http://me:{CANARIES['inurl']}@cache"
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"ORGPULSE_REDIS_URL": wrong})
    assert found_in(str(caught.value)) == []
    path = tmp_path / "o.toml"
    path.write_text(f'[kafka]\nsecurity = "sasl_ssl"\nusername = "me"\npassword = "{CANARIES["kafka"]}"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert "line 4: kafka.password may not stand in a settings file" in str(caught.value)
    assert found_in(str(caught.value)) == []


def test_a_traceback_of_any_thread_shows_no_secret() -> None:
    program = """
import os, threading
from agents.cli_errors import cover_tracebacks
from streams.settings import load_settings
cover_tracebacks()
settings = load_settings(None)
def fail():
    raise RuntimeError(f"login with {settings.mixpanel.secret} at {settings.redis.url} failed, {settings!r}")
class Late:
    def __del__(self):
        fail()
Late()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORGPULSE_")} | {
        "ORGPULSE_MIXPANEL_SECRET": CANARIES["mixpanel"],
        "ORGPULSE_REDIS_URL": f"redis://me:{quote(CANARIES['inurl'], safe='')}@127.0.0.1:1/0",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1 and done.stderr.count("login with *** at redis://me:***@") >= 3, done.stderr
    assert found_in(done.stdout + done.stderr) == []


COMMANDS = (
    ("settings",), ("settings", "--changed"), ("doctor", "--wait", "1"), ("doctor", "--json", "--wait", "1"),
    ("topics", "create", "--wait", "1"), ("topics", "check", "--wait", "1"), ("ledger", "--wait", "1"),
    ("score", "acme"), ("latency", "all"), ("chat", "acme"), ("alerts", "list"), ("alerts", "ack", "acme"),
    ("export", "weeks", "--out", "/nowhere/x.csv"), ("dead-letters", "list"), ("dead-letters", "replay"),
    ("identity", "show", "ann"), ("model", "compare"), ("report", "all"), ("rebuild",), ("backfill", "list"),
    ("import", "mixpanel", "2026-01-01", "2026-01-02"), ("import", "events", "s3://bucket/prefix"),
    ("acl", "kafka"), ("acl", "redis"), ("sink", "postgres"), ("listen",), ("worker",),
)  # fmt: skip
ENDLESS = ("sink", "listen", "worker")


def written_by(settings: Settings, arguments: tuple[str, ...], folder: Path) -> str:
    """Run a command, an endless one for some seconds; return what it wrote and what its command line shows."""
    log = folder / f"{'-'.join(arguments).replace('/', '_')}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "agents.cli", *arguments], env=child_environment(settings), stdout=output,
            stderr=output, cwd=folder,
        )  # fmt: skip
        line = Path(f"/proc/{process.pid}/cmdline")
        shown = line.read_bytes().decode("utf-8", "replace") if line.exists() else ""
        try:
            if arguments[0] in ENDLESS:  # it says something once it has begun; then some seconds more
                wait_until(lambda: "" if log.stat().st_size or process.poll() is not None else "silent", 60.0)
            process.wait(timeout=10 if arguments[0] in ENDLESS else 240)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(timeout=90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=30)
    return shown + log.read_text(encoding="utf-8", errors="replace")


class Parrot(threading.Thread):
    """A hostile server: it says back whatever it is told, and closes the connection."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(1.0)
                try:
                    told = client.recv(65536)
                    client.sendall(b"-ERR you said " + told.replace(b"\r\n", b" ") + b"\r\n")
                except OSError:
                    continue


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    server = Parrot()
    server.start()
    yield server
    server.listener.close()


@long_form
@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("servers", ["away", "hostile"])
def test_no_command_writes_a_secret_when_its_servers_fail(tmp_path: Path, parrot: Parrot, servers: str) -> None:
    (closed,) = free_ports(1)
    port = closed if servers == "away" else parrot.port
    settings = with_canaries(
        override(
            Settings(),
            {"kafka.brokers": f"127.0.0.1:{port}", "kafka.security": "sasl_plaintext", "kafka.username": "me",
             "kafka.password": CANARIES["kafka"],
             "redis.url": f"redis://me:{quote(CANARIES['inurl'], safe='')}@127.0.0.1:{port}/0"},
        ),
        tmp_path,
    )  # fmt: skip
    leaks, sizes = {}, {}
    for arguments in COMMANDS:
        text = written_by(settings, arguments, tmp_path)
        sizes[arguments] = len(text)
        if found := found_in(text):
            leaks[arguments] = (found, [line[:300] for line in text.splitlines() if found_in(line)][:3])
    print(f"{servers}: {len(COMMANDS)} commands wrote {sum(sizes.values()):,} characters")
    assert leaks == {}
    assert [arguments for arguments, size in sizes.items() if size < 20] == []


@long_form
@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_secret_reaches_a_log_a_page_a_topic_or_redis_when_all_is_well(
    secure_kafka: SecureKafka, tmp_path: Path, topic_prefix: str
) -> None:
    user, password = f"{topic_prefix}user", tmp_path / "kafka.password"
    password.write_text(CANARIES["kafka"])
    secure_kafka.add_user(user, CANARIES["kafka"])
    everything = (Right(kind, topic_prefix, True, ("All",)) for kind in ("Topic", "Group", "TransactionalId"))  # type: ignore[arg-type]
    secure_kafka.allow(user, everything)
    with SecureRedis(tmp_path / "redis") as redis_server:
        digest = hashlib.sha256(CANARIES["redis"].encode()).hexdigest()
        redis_server.set_user(f"user me on #{digest} ~* -@all +@all")
        (tmp_path / "redis.password").write_text(CANARIES["redis"])
        settings = with_canaries(
            override(
                Settings(),
                {**secure_kafka.settings(user, password), "kafka.prefix": topic_prefix, "kafka.partitions": 2,
                 "kafka.application": f"{topic_prefix}app", "redis.url": redis_server.url, "redis.username": "me",
                 "redis.password_file": str(tmp_path / "redis.password"), "redis.prefix": f"{topic_prefix}:",
                 "redis.ca_file": str(redis_server.authority.ca), "calibration.every_seconds": 2.0},
            ),
            tmp_path,
        )  # fmt: skip
        create_topics(settings)
        base, pages = make_base(7, 10, 60), {}
        with Sender(settings.kafka) as sender:
            send_all(sender, topic_prefix, [*directory(base), *history(base, time.time(), 1)])
            sender.send(f"{topic_prefix}product-events", b"k", b"not json")
        with Workers(settings, 1, tmp_path) as workers:

            def missing() -> str:
                with redis_server.admin() as shown:
                    orgs = shown.zcard(f"{topic_prefix}:orgs:by-score")
                return "" if orgs == len(base.orgs) else f"{orgs} of {len(base.orgs)} orgs"

            wait_until(missing, 90.0)
            for path in PAGES:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{workers.port(0)}{path}", timeout=60) as page:
                        pages[path] = page.read()
                except urllib.error.HTTPError as error:
                    pages[path] = error.read()
            line = Path(f"/proc/{workers.pid(0)}/cmdline")
            shown = line.read_bytes() if line.exists() else b""
            # Now Redis goes away, and the password of Kafka is another one: what is said then?
            secure_kafka.add_user(user, "another-password-now")
            redis_server.set_user(f"user me on #{'0' * 64} ~* -@all +@all")
            for name in ("doctor", "ledger", "score"):
                shown += written_by(settings, (name, *(("acme",) if name == "score" else ())), tmp_path).encode()
            secure_kafka.add_user(user, CANARIES["kafka"])
            redis_server.set_user(f"user me on #{digest} ~* -@all +@all")
            log = workers.log(0).read_bytes()
            workers.stop(0)
        assert found_in(shown) == [] and {path: found_in(text) for path, text in pages.items() if found_in(text)} == {}
        assert len(pages["/metrics"]) > 1000 and len(log) > 10_000
        assert found_in(log) == [], [line for line in log.splitlines() if found_in(line)][:3]
        assert found_in(workers.log(0).read_bytes()) == []
        records = asyncio.run(everything_in(settings))
        assert len(records) > 100 and [record for record in records if found_in(record)] == []
        with redis_server.admin() as client:
            keys = list(client.scan_iter(count=1000))
            dumped = [str(client.execute_command(*_whole(client, key))) for key in keys]
        assert len(keys) > 20 and [text for text in (*keys, *dumped) if found_in(text)] == []
    print(f"looked at {len(log):,} bytes of log, {len(records)} records, {len(keys)} keys, {len(pages)} pages")


async def everything_in(settings: Settings) -> list[bytes]:
    """Return key and value of every record of every topic."""
    ends = await ends_of(settings.kafka, [spec.name for spec in topic_specs(settings)])
    found = []
    async for _, record in stretches(settings.kafka, dict.fromkeys(ends, 0), ends, whole=True):
        found.append((record.key or b"") + b" " + (record.value or b"") + repr(record.headers).encode())
    return found


def _whole(client: object, key: str) -> tuple[object, ...]:
    """Return the command that shows all of a key."""
    kind = client.type(key)  # type: ignore[attr-defined]
    return {
        "hash": ("HGETALL", key), "zset": ("ZRANGE", key, 0, -1), "stream": ("XRANGE", key, "-", "+"),
    }.get(kind, ("GET", key))  # fmt: skip
