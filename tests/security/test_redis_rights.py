"""Redis over TLS with users who may do what their role does and nothing else; each missing right is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner
from redis.exceptions import NoPermissionError

from agents.cli import orgpulse
from agents.doctor_redis import redis_findings
from deploy.local.ports import free_ports
from deploy.local.redis import LocalRedis
from streams.clock import WallClock
from streams.redis_access import reader_of, redis_client
from streams.redis_rights import ROLES, acl_line, missing_in, trials_of, tried_on
from streams.redis_trouble import redis_trouble
from streams.settings import Settings, override
from tests.security.certificates import Authority
from tests.security.secure_redis import SecureRedis, TlsProxy

PASSWORD = "workers-secret-42"


@pytest.fixture(scope="module")
def secure_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    with SecureRedis(tmp_path_factory.mktemp("secure-redis")) as server:
        yield server


def line_of(role: str, password: Path) -> str:
    """Return what `orgpulse acl redis` prints."""
    done = CliRunner().invoke(orgpulse, ["acl", "redis", "--role", role, "--password-file", str(password)])
    assert done.exit_code == 0, done.output
    return done.output.strip()


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


def settings_of(server: SecureRedis, role: str, password: Path) -> Settings:
    return override(
        Settings(),
        {"redis.url": server.url, "redis.username": f"orgpulse-{role}", "redis.password_file": str(password),
         "redis.ca_file": str(server.authority.ca)},
    )  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_with_its_line_a_role_may_do_all_that_it_does_and_nothing_is_denied(
    secure_redis: SecureRedis, password: Path, role: str
) -> None:
    secure_redis.set_user(line_of(role, password))
    secure_redis.denials()
    settings = settings_of(secure_redis, role, password)
    with redis_client(settings.redis) as client:
        assert missing_in(tried_on(client, role, settings.redis.prefix), settings.redis.prefix) == []  # type: ignore[arg-type]
    assert secure_redis.denials() == []
    with secure_redis.admin() as admin:
        assert admin.keys("*doctor*") == [], "a trial left something behind"


def test_a_worker_may_touch_no_other_keys_and_none_of_the_dangerous_commands(
    secure_redis: SecureRedis, password: Path
) -> None:
    secure_redis.set_user(line_of("worker", password))
    with redis_client(settings_of(secure_redis, "worker", password).redis) as client:
        for command in (
            ("GET", "orgpulse:v1:x"), ("HGETALL", "payments:1"), ("HSET", "orgpulse:v2:x", "a", "1"), ("FLUSHALL",),
            ("CONFIG", "GET", "*"), ("KEYS", "*"), ("ACL", "LIST"), ("CLIENT", "LIST"),
            ("SCRIPT", "FLUSH"), ("SUBSCRIBE", "a"), ("MONITOR",), ("SHUTDOWN",),
        ):  # fmt: skip
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)
    secure_redis.denials()


def test_each_right_taken_away_is_named_by_the_doctor(secure_redis: SecureRedis, password: Path) -> None:
    settings = settings_of(secure_redis, "worker", password)
    whole = line_of("worker", password)
    rights = [f"+{command}" for command in trials_of("worker")] + ["~orgpulse:v1:*"]
    assert all(f" {right} " in f"{whole} " for right in rights) and len(rights) > 25
    for right in rights:
        secure_redis.set_user(f"{whole} ".replace(f" {right} ", " ").strip())
        found = {each.check: each for each in redis_findings(settings, WallClock(), wait_seconds=10)}["redis rights"]
        assert found.state == "failed" and "orgpulse acl redis --role worker" in found.remedy
        assert found.found.endswith(f"missing: {right}"), (right, found.found)
    secure_redis.denials()


def test_a_reader_reads_over_tls_with_its_rights_and_no_more_are_asked_for(
    secure_redis: SecureRedis, password: Path
) -> None:
    secure_redis.set_user(line_of("reader", password))
    secure_redis.denials()
    with reader_of(settings_of(secure_redis, "reader", password).redis) as reader:
        assert reader.org("acme") is None and reader.open_alerts(10) == [] and reader.org_ids() == []
        assert list(reader.changes("0-0")) == []
        assert reader.latency("acme") is None and reader.orgs_of_user("ann") == []
    assert secure_redis.denials() == []


def test_the_prefix_of_the_settings_means_itself_in_the_line() -> None:
    assert " ~a\\*\\[b\\]:* " in acl_line("reader", "x", "a*[b]:", "0" * 64)
    database = acl_line("reader", "x", "a:", "0" * 64, 3)
    assert "+select" in database and "+select" not in acl_line("reader", "x", "a:", "0" * 64)


def test_what_keeps_us_out_is_said_in_words(secure_redis: SecureRedis, password: Path, tmp_path: Path) -> None:
    good = settings_of(secure_redis, "worker", password)
    (tmp_path / "wrong").write_text("not this one")
    other = Authority(tmp_path / "other")

    def said(changes: dict[str, object]) -> str:
        settings = override(good, changes)
        try:
            with redis_client(settings.redis, timeout_seconds=10) as client:
                client.hgetall("orgpulse:v1:totals")
        except (redis.RedisError, OSError) as error:
            found = redis_trouble(error, settings.redis)
            assert found.remedy and PASSWORD not in found.text
            return found.message
        return ""

    secure_redis.set_user(line_of("worker", password))
    assert said({}) == ""
    assert "refuses the login of user orgpulse-worker" in said({"redis.password_file": str(tmp_path / "wrong")})
    no_login = {"redis.username": "", "redis.password_file": ""}
    assert "wants a login" in said(no_login)
    assert "not certified by the system's authorities" in said({"redis.ca_file": ""})
    assert f"not certified by {other.ca}" in said({"redis.ca_file": str(other.ca)})
    plain = {"redis.url": secure_redis.url.replace("rediss://", "redis://"), "redis.ca_file": ""}
    assert "closes the connection" in said(plain) or "no answer" in said(plain)
    with LocalRedis(tmp_path / "open") as server:
        (said_of_plain,) = redis_findings(
            override(good, {"redis.url": server.url.replace("redis://", "rediss://")}), WallClock(), wait_seconds=2
        )
        assert "no answer" in said_of_plain.found and "TLS port?" in said_of_plain.remedy


def test_a_client_certificate_is_shown_where_the_server_wants_one(tmp_path: Path, password: Path) -> None:
    with SecureRedis(tmp_path / "asking", ask_certificate=True) as server:
        server.set_user(line_of("worker", password))
        without = settings_of(server, "worker", password)
        certificate = str(server.authority.certify("worker"))
        with redis_client(override(without, {"redis.certificate_file": certificate}).redis) as client:
            assert client.hgetall("orgpulse:v1:totals") == {}
        refused = pytest.raises((redis.ConnectionError, redis.TimeoutError, OSError))
        with redis_client(without.redis, timeout_seconds=10) as client, refused as caught:
            client.hgetall("orgpulse:v1:totals")
        found = redis_trouble(caught.value, without.redis)
        assert "does not go on" in found.message and "certificate_file" in found.remedy, caught.value


def test_a_certificate_that_expired_or_is_for_another_host_is_told(tmp_path: Path) -> None:
    for kind, certify in (("has expired", {"days": -1}), ("is for another host", {"hosts": ("redis.example.com",)})):
        authority = Authority(tmp_path / kind.split()[-1])
        certificate = authority.certify("redis", **certify)  # type: ignore[arg-type]
        with LocalRedis(tmp_path / f"server-{time.monotonic_ns()}") as server:
            (port,) = free_ports(1)
            proxy = TlsProxy(port, int(server.url.rpartition(":")[2].partition("/")[0]), certificate, None)
            proxy.start()
            try:
                settings = override(
                    Settings(), {"redis.url": f"rediss://127.0.0.1:{port}/0", "redis.ca_file": str(authority.ca)}
                )
                (found,) = redis_findings(settings, WallClock(), wait_seconds=10)
                assert found.state == "failed" and kind in found.found, found
            finally:
                proxy.stop()
