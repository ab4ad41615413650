"""What `orgpulse web-password` writes is what the web configuration takes, and nothing of the password is shown."""

from __future__ import annotations

import hashlib
import os
import pty
import sys
from pathlib import Path

import bcrypt
import pytest
from click.testing import CliRunner, Result

from agents.cli import orgpulse
from streams.web_config import load_web_config

pytestmark = pytest.mark.security

#: What is set here and is no setting, such as how far tests go.
VARIABLES = [name for name in os.environ if name.startswith("ORGPULSE_")]


def run(*arguments: str, given: str | bytes = "") -> Result:
    return CliRunner(env=dict.fromkeys(VARIABLES)).invoke(orgpulse, ["web-password", *arguments], input=given)


def test_the_line_is_one_that_the_file_takes_and_the_password_fits_it(tmp_path: Path) -> None:
    result = run("--user", "ann", "--cost", "10", given="right horse\n")
    assert result.exit_code == 0 and "right horse" not in result.output
    file = tmp_path / "web.yml"
    file.write_text(result.stdout, encoding="utf-8")
    stored = load_web_config(file).users["ann"]
    assert bcrypt.checkpw(b"right horse", stored) and stored.startswith(b"$2b$10$")


def test_a_token_is_shown_once_beside_the_file_and_its_hash_goes_in(tmp_path: Path) -> None:
    result = run("--token", "ci")
    file = tmp_path / "web.yml"
    file.write_text(result.stdout, encoding="utf-8")
    token = result.stderr.rpartition(": ")[2].strip()
    assert load_web_config(file).tokens["ci"] == hashlib.sha256(token.encode()).digest()
    assert len(token) >= 40 and token not in result.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [("short\n", "fewer than 8"), ("", "fewer than 8"), ("x" * 73, "73 bytes"), ("two lines\nof text\n", "several"),
     (b"\xff" * 12, "UTF-8"), ("nul\0nul\0nul", "NUL")],
)  # fmt: skip
def test_a_password_that_can_not_be_used_is_refused_with_a_remedy(given: str | bytes, said: str) -> None:
    result = run(given=given)
    assert result.exit_code == 2 and said in result.stderr and len(result.stderr.splitlines()) == 2
    assert "basic_auth_users" not in result.output


def test_on_a_terminal_it_is_asked_for_twice_and_not_echoed() -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # the child's standard streams are the terminal
        plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        os.execve(sys.executable, [sys.executable, "-m", "agents.cli", "web-password", "--cost", "10"], plain)
    seen = b""
    for _ in range(2):
        asked = seen.count(b": ")
        while seen.count(b": ") == asked:
            seen += os.read(terminal, 1024)
        os.write(terminal, b"right horse\n")
    while b"$2b$" not in seen:
        seen += os.read(terminal, 1024)
    assert os.waitpid(pid, 0)[1] == 0 and b"horse" not in seen
    os.close(terminal)
