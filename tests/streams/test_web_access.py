"""Who is let in, to what, and how often somebody may guess."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from streams import web_logins
from streams.settings import load_settings
from tests.faults.system import wait_until
from tests.streams.web_house import PATIENCE_SECONDS, House, Reply, ask, basic, hashed, sign

pytestmark = pytest.mark.security

TOKEN = "a-token-that-nobody-guesses"
PATHS = ("/", "/metrics", "/api/v1/totals", "/nothing")


def users(folder: Path, extra: str = "") -> Path:
    file = folder / "web.yml"
    file.write_text(
        f"basic_auth_users:\n  ann: {hashed('right horse')}\n  reader: {hashed('reads only')}\n"
        f"bearer_tokens:\n  ci: sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n"
        f"roles:\n  ann: admin\n{extra}",
        encoding="utf-8",
    )
    return file


def changing(app: web.Application) -> None:
    async def index(_: web.Request) -> web.Response:
        return web.Response(text="the page")

    app.router.add_get("/", index)
    app.router.add_post("/change", index)


@pytest.fixture
def no_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no more tries gets none while the test lasts, however slow the machine is."""
    for name in ("_TRIES_PER_SECOND", "_CLIENT_TRIES_PER_SECOND"):
        monkeypatch.setattr(web_logins, name, 1e-6)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(users(tmp_path), extend=changing, checks=[("kafka", True, "at broker-7")]) as found:
        yield found


def test_nothing_but_liveness_and_readiness_is_told_to_somebody_unknown(house: House) -> None:
    for path in (*PATHS, "/status"):
        reply = house.get(path)
        assert reply.status == 401 and "page" not in reply.text
        assert reply.headers.get_all("WWW-Authenticate") == [
            'Basic realm="orgpulse", charset="UTF-8"', 'Bearer realm="orgpulse"',
        ]  # fmt: skip
    live = house.get("/live")
    assert (live.status, live.text) == (200, "")
    ready = house.get("/ready")
    assert ready.status == 200 and json.loads(ready.text) == {"ready": True}


def test_users_and_tokens_read_and_only_admins_see_the_status_and_change_something(house: House) -> None:
    reader, ann, token = (
        basic("reader", "reads only"),
        basic("ann", "right horse"),
        {"Authorization": f"Bearer {TOKEN}"},
    )
    for who in (reader, ann, token):
        assert house.get("/", headers=who).text == "the page"
        assert "orgpulse_web_requests_total" in house.get("/metrics", headers=who).text
        assert json.loads(house.get("/ready", headers=who).text)["checks"][0]["detail"] == "at broker-7"
    for who in (reader, token):
        assert house.get("/status", headers=who).status == 403
        assert house.get("/change", "POST", headers=who).status == 403
    status = json.loads(house.get("/status", headers=ann).text)
    assert status["web"]["roles"] == {"ann": "admin", "reader": "read", "ci": "read"}
    assert "$2" not in json.dumps(status) and "sha256" not in json.dumps(status)
    assert house.get("/change", "POST", headers=ann).status == 200


def test_a_tenants_passwords_open_its_own_pages_and_nobody_elses(tmp_path: Path) -> None:
    tenants, file = ("acme", "globex"), tmp_path / "orgpulse.toml"
    for name in tenants:
        (tmp_path / f"{name}.yml").write_text(f"basic_auth_users:\n  ann: {hashed(name)}\n", "utf-8")
    file.write_text("".join(f"[tenants.{t}.web]\nconfig_file = '{tmp_path / t}.yml'\n" for t in tenants), "utf-8")
    for name in tenants:
        web_settings = load_settings(file, {}, tenant=name).web
        with House(Path(web_settings.config_file), extend=changing) as house:
            seen = {other: house.get("/", headers=basic("ann", other)).status for other in (*tenants, name)}
            assert seen == {other: 200 if other == name else 401 for other in tenants}


@pytest.mark.parametrize(
    "path", ["/st%61tus", "/status/", "//status", "/./status", "/x/../status", "/status;a", "/status%2f", "/STATUS",
             "/live/../status", "/live%2f..%2fstatus", "/ready/../status", "/status?x=/live", "/status#/live"],
)  # fmt: skip
def test_no_spelling_of_an_address_gets_around_a_role(house: House, path: str) -> None:
    target = path.encode()
    reader = basic("reader", "reads only")["Authorization"].encode()
    for header, allowed in ((b"Authorization: " + reader + b"\r\n", (403, 404, 400)), (b"", (401, 400))):
        for host in (b"", b"http://localhost"):
            request = b"GET " + host + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + header
            with house.connect(request + b"\r\n") as connection:
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert int(answer.split()[1]) in allowed and b"roles" not in answer, (path, host, answer[:80])


WRONG = {
    "wrong password": basic("ann", "wrong"),
    "unknown user": basic("bob", "right horse"),
    "empty password": basic("ann", ""),
    "no name": basic("", "right horse"),
    "longer than bcrypt looks": basic("ann", "right horse" + "x" * 80),
    "NUL": basic("ann", "right horse\0"),
    "hash as password": basic("ann", hashed("right horse")),
    "no base64": {"Authorization": "Basic !!!"},
    "no UTF-8": {"Authorization": "Basic /////w=="},
    "wrong token": {"Authorization": "Bearer nothing"},
    "digest as token": {"Authorization": f"Bearer {hashlib.sha256(TOKEN.encode()).hexdigest()}"},
    "another scheme": {"Authorization": f"Digest {TOKEN}"},
    "huge": {"Authorization": f"Basic {'A' * 3000}"},
    "odd bytes": {"Authorization": "Bearer \xff\xfe"},
}


def test_what_is_wrong_is_refused_whatever_it_is(house: House) -> None:
    for name, headers in WRONG.items():
        reply = house.get("/metrics", headers=headers)
        assert reply.status in (401, 429), name
        assert house.get("/ready", headers=headers).status in (401, 429), name
        assert house.get("/live", headers=headers).status == 200, name


def test_two_authorization_headers_are_none(house: House) -> None:
    good = basic("ann", "right horse")["Authorization"].encode()
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + good + b"\r\nAuthorization: x\r\n\r\n"
    with house.connect(request) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_a_password_costs_bcrypt_once_and_a_user_who_is_unknown_as_much_as_one_who_is_known(house: House) -> None:
    logins = house.server._guard.logins
    for _ in range(5):
        assert house.get("/metrics", headers=basic("ann", "right horse")).status == 200
    assert logins.hashed == 1
    for before, name in enumerate(("ann", "nobody"), start=1):
        assert logins.hashed == before
        assert house.get("/metrics", headers=basic(name, "wrong")).status == 401
    assert logins.hashed == 3
    assert house.server._gate.config.nobody.startswith(b"$2b$10$")  # the dearest of those in the file


def test_who_asks_for_many_things_at_once_is_checked_once(house: House) -> None:
    found: list[int] = []

    def get() -> None:
        found.append(house.get("/metrics", headers=basic("ann", "right horse")).status)

    threads = [threading.Thread(target=get) for _ in range(24)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_SECONDS)
    assert found == [200] * 24 and house.server._guard.logins.hashed == 1


@pytest.mark.usefixtures("no_second_chance")
def test_who_guesses_is_held_off_even_with_the_right_password_and_others_are_not(tmp_path: Path) -> None:
    with House(users(tmp_path)) as house:
        guess(house)


def guess(house: House) -> None:
    """Guess one password too often."""
    replies = [house.get("/metrics", headers=basic("ann", f"guess {number}")) for number in range(14)]
    assert [reply.status for reply in replies[:10]] == [401] * 10 and {reply.status for reply in replies[10:]} == {429}
    assert int(replies[-1].headers["Retry-After"]) >= 1
    hashed_before = house.server._guard.logins.hashed
    held = house.get("/metrics", headers=basic("ann", "right horse"))
    assert held.status == 429 and house.server._guard.logins.hashed == hashed_before
    assert house.get("/metrics", headers=basic("reader", "reads only")).status == 200
    other = ask(house.port, "/metrics", headers=basic("ann", "right horse"), source="127.0.0.2")
    assert other.status == 200
    assert house.count("throttled") >= 4 and house.count("login") >= 10


@pytest.mark.usefixtures("no_second_chance")
def test_who_tries_one_password_with_many_users_is_held_off_too(tmp_path: Path) -> None:
    with House(users(tmp_path)) as house:
        found = [house.get("/metrics", headers={"Authorization": f"Bearer guess-{n}"}).status for n in range(40)]
        assert found == [401] * 30 + [429] * 10


def test_a_refused_login_is_told_once_a_minute_and_without_what_was_sent(
    house: House, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        house.get("/metrics", headers=basic("mallory-name", f"canary-password-{number}"))
    said = "".join(capfd.readouterr()) + caplog.text  # wherever another test has told logs to go
    assert said.count("not let in") == 1 and "mallory" not in said and "canary" not in said


def test_buckets_forget_the_oldest_and_never_grow() -> None:
    logins = web_logins.Logins()
    for number in range(20_000):
        logins._client_tries.take(number, 0.0)
    assert len(logins._client_tries) == 10_000
    logins.close()


def test_a_new_file_counts_at_once_and_a_broken_one_changes_nothing(house: House, tmp_path: Path) -> None:
    file, figures = tmp_path / "web.yml", house.server.figures
    assert house.get("/metrics", headers=basic("ann", "right horse")).status == 200
    file.write_text("basic_auth_users:\n  ann: plain\n", encoding="utf-8")

    def told() -> str:
        text = house.get("/metrics", headers=basic("ann", "right horse")).text
        return "" if "orgpulse_web_config_ok 0.0" in text else text[-200:]

    wait_until(told, PATIENCE_SECONDS)
    assert "line 2" in json.loads(house.get("/status", headers=basic("ann", "right horse")).text)["web"]["problem"]
    file.write_text(f"basic_auth_users:\n  ann: {hashed('another horse')}\n", encoding="utf-8")
    wait_until(lambda: _unless(house.get("/metrics", headers=basic("ann", "another horse")), 200), PATIENCE_SECONDS)
    assert house.get("/metrics", headers=basic("ann", "right horse")).status == 401
    assert house.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status == 401
    assert figures.config_ok.value() in (1, None) or house.server._gate.problem == ""


def _unless(reply: Reply, status: int) -> str:
    return "" if reply.status == status else f"{reply.status} {reply.text}"


def test_a_file_that_opens_everything_to_others_is_not_taken(tmp_path: Path) -> None:
    file = users(tmp_path)
    with House(file, host="0.0.0.0") as house:
        file.write_text("# all gone\n", encoding="utf-8")
        ann = basic("ann", "right horse")
        wait_until(lambda: "" if house.server._gate.problem else "no problem yet", PATIENCE_SECONDS)
        assert house.get("/metrics").status == 401 and house.get("/metrics", headers=ann).status == 200


def trusting(folder: Path, **options: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    if "client" in options:
        context.load_cert_chain(folder / f"{options['client']}.pem", folder / f"{options['client']}.key")
    return context


def test_tls_is_spoken_in_the_versions_that_are_wanted_and_a_new_certificate_needs_no_restart(tmp_path: Path) -> None:
    authority = sign("authority")
    authority.write(tmp_path, "authority")
    first, second = sign("server", authority), sign("server", authority)
    first.write(tmp_path, "server")
    file = users(
        tmp_path, "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  min_version: TLS13\n"
    )
    with House(file) as house:
        assert house.server.url.startswith("https://")
        ann, tls = basic("ann", "right horse"), trusting(tmp_path)
        assert house.get("/metrics", headers=ann, tls=tls).status == 200
        old = trusting(tmp_path)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            house.get("/metrics", headers=ann, tls=old)
        with pytest.raises((OSError, Exception)):
            house.get("/live")  # in plain
        wait_until(lambda: "" if house.count("tls") >= 2 else "not counted", PATIENCE_SECONDS)
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", house.port, context=tls)) as kept:
            for _ in range(3):
                kept.request("GET", "/metrics", headers=ann)
                reply = kept.getresponse()
                assert reply.status == 200 and reply.read() and not reply.will_close

        def shown() -> int:
            with house.connect() as plain, tls.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
                certificate = wrapped.getpeercert()
                assert certificate is not None
                return int(str(certificate["serialNumber"]), 16)

        assert shown() == first.certificate.serial_number
        second.write(tmp_path, "server")
        wait_until(lambda: "" if shown() == second.certificate.serial_number else "the old one", PATIENCE_SECONDS)
        assert house.get("/metrics", headers=ann, tls=tls).status == 200
        (tmp_path / "server.key").write_text("no key", encoding="utf-8")
        wait_until(lambda: "" if house.server._gate.problem else "not seen", PATIENCE_SECONDS)
        assert house.get("/metrics", headers=ann, tls=tls).status == 200


def test_a_client_certificate_can_be_what_lets_one_in(tmp_path: Path) -> None:
    authority, other = sign("authority"), sign("other")
    authority.write(tmp_path, "authority")
    other.write(tmp_path, "other")
    sign("server", authority).write(tmp_path, "server")
    sign("prometheus", authority).write(tmp_path, "prometheus")
    file = tmp_path / "web.yml"
    file.write_text(
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: authority.pem\n",
        encoding="utf-8",
    )
    with House(file, host="0.0.0.0") as house:
        assert house.get("/metrics", tls=trusting(tmp_path, client="prometheus")).status == 200
        for context in (trusting(tmp_path), trusting(tmp_path, client="other")):
            with pytest.raises(OSError):
                house.get("/metrics", tls=context)
        assert house.get("/status", tls=trusting(tmp_path, client="prometheus")).status == 403
