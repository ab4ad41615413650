"""The web configuration file: what it takes, and what it refuses with which words."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from streams.http import HttpServer
from streams.metrics import Metrics
from streams.settings import Settings
from streams.settings_child import child_environment
from streams.settings_file import SettingsError
from streams.settings_web import WebSettings
from streams.web_config import load_web_config
from tests.streams.web_house import Signed, hashed, sign

pytestmark = pytest.mark.security

HASH = hashed("right horse")
DIGEST = hashlib.sha256(b"token").hexdigest()


@pytest.fixture(scope="module")
def signed() -> Signed:
    return sign("127.0.0.1")


def written(folder: Path, text: str) -> Path:
    file = folder / "web.yml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_whole_file_is_read(tmp_path: Path, signed: Signed) -> None:
    signed.write(tmp_path, "server")
    config = load_web_config(
        written(
            tmp_path,
            f"""\
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  min_version: TLS13
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: server.pem
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  ann: {HASH}
  prometheus: {HASH}
bearer_tokens:
  ci: sha256:{DIGEST}
roles:
  ann: admin
""",
        )
    )
    assert config.asks and config.is_closed and config.tls is not None and config.tls.asks
    assert [config.role(name) for name in ("ann", "prometheus", "ci")] == ["admin", "read", "read"]
    assert config.tokens["ci"] == hashlib.sha256(b"token").digest()
    assert config.headers == {"Strict-Transport-Security": "max-age=31536000"}


def test_an_empty_file_lets_everybody_in(tmp_path: Path) -> None:
    assert not load_web_config(written(tmp_path, "# nothing yet\n")).is_closed


TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
WRONG = {
    "unknown section": ("basic_auth_user:\n  ann: x\n", "line 2", "basic_auth_users"),
    "unknown key of TLS": (f"{TLS}  min_versoin: TLS12\n", "line 4", "min_version"),
    "a key that exporters know": (f"{TLS}  cipher_suites: [X]\n", "line 4", "Known are"),
    "no bcrypt": ("basic_auth_users:\n  ann: secret-in-plain\n", "line 2", "orgpulse web-password"),
    "too cheap": (f"basic_auth_users:\n  ann: {HASH.replace('$10$', '$04$')}\n", "has cost 4", "web-password"),
    "too dear": (f"basic_auth_users:\n  ann: {HASH.replace('$10$', '$31$')}\n", "has cost 31", "web-password"),
    "a user twice": (f"basic_auth_users:\n  ann: {HASH}\n  ann: {HASH}\n", "line 3", "Remove one"),
    "a name with a colon": (f'basic_auth_users:\n  "a:b": {HASH}\n', "line 2", "another name"),
    "a number for a hash": ("basic_auth_users:\n  ann: 12345\n", "line 2", "in quotes"),
    "no hash of a token": ("bearer_tokens:\n  ci: sha256:abc\n", "line 2", "--token"),
    "a token named like a user": (
        f"basic_auth_users:\n  ann: {HASH}\nbearer_tokens:\n  ann: sha256:{DIGEST}\n", "line 4", "own"
    ),
    "an unknown role": (f"basic_auth_users:\n  ann: {HASH}\nroles:\n  ann: root\n", "line 4", "docs/security-http.md"),
    "a role of nobody": ("roles:\n  ann: admin\n", "line 2", "Add one"),
    "no certificate named": ("tls_server_config:\n  min_version: TLS12\n", "line 2", "Name both"),
    "no such certificate": (TLS.replace("server.pem", "other.pem"), "line 2", "may read"),
    "another's key": (TLS.replace("server.key", "other.key"), "line 2", "belongs to it"),
    "a certificate that is none": (TLS.replace("server.pem", "web.yml"), "line 2", "PEM"),
    "an old version": (f"{TLS}  min_version: TLS10\n", "line 4", "docs/security-http.md"),
    "versions crosswise": (f"{TLS}  min_version: TLS13\n  max_version: TLS12\n", "line 5", "Raise it"),
    "no authorities": (f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n", "line 4", "authorities"),
    "authorities in vain": (f"{TLS}  client_ca_file: server.pem\n", "line 4", "client_auth_type"),
    "a kind that Python can't": (f"{TLS}  client_auth_type: RequireAnyClientCert\n", "line 4", "docs/"),
    "HTTP/2": ("http_server_config:\n  http2: true\n", "line 2", "false"),
    "a header that is not ours": ("http_server_config:\n  headers:\n    Set-Cookie: a\n", "line 3", "Known are"),
    "a header in two lines": (
        'http_server_config:\n  headers:\n    X-Frame-Options: "a\\r\\nb"\n', "line 3", "one line"
    ),
    "a list": ("- ann\n", "line 1", "docs/security-http.md"),
    "no YAML": ("basic_auth_users: {\n", "line 2", "docs/security-http.md"),
    "two documents": ("{}\n---\n{}\n", "line 2", "docs/security-http.md"),
    "too deep": ("[" * 700, "not valid YAML", "docs/security-http.md"),
    "not UTF-8": (b"\xff\xfe".decode("latin-1"), "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
def test_what_can_not_be_meant_is_refused_with_file_line_and_remedy(name: str, tmp_path: Path, signed: Signed) -> None:
    text, place, remedy = WRONG[name]
    signed.write(tmp_path, "server")
    sign("127.0.0.1").write(tmp_path, "other") if "other.key" in text else None
    file = written(tmp_path, text)
    if name == "not UTF-8":
        file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError) as caught:
        load_web_config(file)
    assert str(file) in caught.value.message and place in caught.value.message
    assert remedy in caught.value.remedy and caught.value.remedy
    for secret in (HASH, "secret-in-plain", DIGEST):
        assert secret not in str(caught.value)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(tmp_path: Path, signed: Signed) -> None:
    from cryptography.hazmat.primitives import serialization

    signed.write(tmp_path, "server")
    (tmp_path / "server.key").write_bytes(
        signed.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    with pytest.raises(SettingsError, match="encrypted"):
        load_web_config(written(tmp_path, TLS))


def test_a_file_that_is_missing_a_folder_or_huge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        load_web_config(tmp_path / "none.yml")
    with pytest.raises(SettingsError, match="can't be read"):
        load_web_config(tmp_path)
    with pytest.raises(SettingsError, match="larger"):
        load_web_config(written(tmp_path, "#" * (2 << 20)))


def made(host: str, **settings: object) -> HttpServer:
    given = WebSettings(**settings)  # type: ignore[arg-type]
    return HttpServer(host, 0, Metrics().registry, list, web_settings=given)


def test_other_machines_are_let_in_unknown_only_by_a_setting_that_says_so(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "worker-1"):
        with pytest.raises(SettingsError) as caught:
            made(host)
        assert host in caught.value.message
        for way_out in ("[web] config_file", "[web] host to 127.0.0.1", "[web] allow_anonymous"):
            assert way_out in caught.value.remedy
        made(host, allow_anonymous=True)
    for host in ("127.0.0.1", "::1", "localhost"):
        made(host)
    closed = written(tmp_path, f"basic_auth_users:\n  ann: {HASH}\n")
    made("0.0.0.0", config_file=str(closed))
    with pytest.raises(SettingsError, match="nobody has to say who they are"):
        made("0.0.0.0", config_file=str(written(tmp_path, "roles:\n")))


def test_a_worker_that_would_be_open_to_everybody_does_not_start() -> None:
    environment = {**child_environment(Settings()), "ORGPULSE_WEB_HOST": "0.0.0.0"}
    command = [sys.executable, "-m", "agents.cli", "worker"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "nobody has to say who they are" in ended.stderr and "[web] config_file" in ended.stderr
