"""`orgpulse listen` as somebody meets it who has not set it up."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping

import pytest

from streams.settings import Settings, override
from streams.settings_child import child_environment

TOKEN = "a-token-that-nobody-guesses"


def run(changes: Mapping[str, object], *arguments: str) -> tuple[int, str]:
    """Run it to its end; return the exit code and what it says against it."""
    done = subprocess.run(
        [sys.executable, "-m", "agents.cli", "listen", *arguments],
        env=child_environment(override(Settings(), changes)), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        ((), {}, "orgpulse listen --only syslog"),
        ((), {"listen.tokens": "short"}, "secrets.token_urlsafe"),
        (("--only", "syslog"), {"listen.tls_certificate": "/nowhere.pem"}, "tls_certificate"),
    ],
)
def test_what_is_not_set_up_is_told_with_a_remedy(
    arguments: tuple[str, ...], changes: dict[str, str], said: str
) -> None:
    code, text = run({"kafka.brokers": "127.0.0.1:9", "listen.pages_port": 0, **changes}, *arguments)
    assert code and said in text and "Traceback" not in text, text


@pytest.mark.parametrize("port", ["http_port", "syslog_tcp_port", "syslog_udp_port", "pages_port"])
def test_a_port_that_is_taken_is_told_with_a_remedy(port: str) -> None:
    kind = socket.SOCK_DGRAM if "udp" in port else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        ports = dict.fromkeys(("http_port", "syslog_tcp_port", "syslog_udp_port", "pages_port"), 0)
        ports[port] = taken.getsockname()[1]
        changes = {f"listen.{name}": number for name, number in ports.items()}
        code, text = run({"kafka.brokers": "127.0.0.1:9", "listen.tokens": TOKEN, **changes})
    assert code == 1 and str(ports[port]) in text and "[listen] " in text and "Traceback" not in text, text
