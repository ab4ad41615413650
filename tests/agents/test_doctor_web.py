"""What `orgpulse doctor` says of the pages: who may look, and what is wrong with the file that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.doctor import Finding, web_finding
from agents.worker_card import page_address
from streams.settings import Settings, override
from tests.streams.web_house import hashed, sign

pytestmark = pytest.mark.security


def found(**web: object) -> Finding:
    return web_finding(override(Settings(), {f"web.{name}": value for name, value in web.items()}))


def test_the_doctor_says_who_may_look_and_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    users = f"basic_auth_users:\n  ann: {hashed('right horse')}\n"
    file.write_text(users)
    file.chmod(0o600)
    config = str(file)
    assert (found().state, found().found) == ("ok", "127.0.0.1: nobody is asked, no TLS")
    assert (found(config_file=config).state, found(config_file=config).found) == (
        "ok", "127.0.0.1: 1 users, 0 tokens, no TLS",
    )  # fmt: skip
    assert found(host="0.0.0.0").state == "failed" and "allow_anonymous" in found(host="0.0.0.0").remedy
    opened = found(host="0.0.0.0", allow_anonymous=True)
    assert opened.state == "warning" and "Everybody who reaches it" in opened.remedy
    plain = found(host="0.0.0.0", config_file=config)
    assert plain.state == "warning" and "read on the way" in plain.remedy
    sign("127.0.0.1").write(tmp_path, "server")
    (tmp_path / "server.key").chmod(0o600)
    file.write_text(users + "tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    assert (found(host="0.0.0.0", config_file=config).state, "TLS" in found(config_file=config).found) == ("ok", True)
    for readable in (file, tmp_path / "server.key"):
        readable.chmod(0o644)
        assert f"chmod o-r {readable}" in found(config_file=config).remedy
        readable.chmod(0o600)
    file.write_text("basic_auth_users: {ann: plain}\n")
    broken = found(config_file=config)
    assert broken.state == "failed" and "line 1" in broken.found and "web-password" in broken.remedy


def test_a_worker_with_tls_is_shown_to_others_under_https() -> None:
    assert page_address("https://0.0.0.0:6066", "0.0.0.0").startswith("https://")
    assert page_address("http://0.0.0.0:6066", "0.0.0.0").endswith(":6066")
