"""Owns `orgpulse web-password`: makes what the web configuration file holds of a password or a token.

Invariant: a password is never an argument, never shown and never logged; a token is shown once, to whoever made it.
"""

from __future__ import annotations

import hashlib
import secrets
import sys

import bcrypt
import click

from agents.cli_errors import EXIT_USAGE, ToldError
from streams.web_config import LEAST_COST, MOST_COST
from streams.web_logins import LONGEST_PASSWORD_BYTES

SHORTEST_CHARACTERS = 8
COST = 12
_TOKEN_BYTES = 32

_EPILOG = """\b
Examples:
  orgpulse web-password --user ann                asks twice, and echoes nothing
  orgpulse web-password --user prometheus < /run/secrets/scrape-password
  orgpulse web-password --token ci                makes a token for a program, and its line

\b
The lines go into the file that [web] config_file names: docs/security-http.md
"""


@click.command("web-password", epilog=_EPILOG)
@click.option("--user", default="NAME", metavar="NAME", help="Whose password it is; only for the line that is written.")
@click.option("--token", metavar="NAME", help="Make a random token under this name instead, and show it this once.")
@click.option(
    "--cost", type=click.IntRange(LEAST_COST, MOST_COST), default=COST, show_default=True,
    help="Of bcrypt; one more doubles the time that a login takes.",
)  # fmt: skip
def web_password(user: str, token: str | None, cost: int) -> None:
    """Make the hash of a password, or a token, for the web configuration file.

    The password is asked for on a terminal, else read from standard input (one line).
    """
    if token is not None:
        made = secrets.token_urlsafe(_TOKEN_BYTES)
        click.echo(f"# The token, shown this once: {made}", err=True)
        click.echo(f"bearer_tokens:\n  {token}: sha256:{hashlib.sha256(made.encode()).hexdigest()}")
        return
    password = _asked() if sys.stdin.isatty() else _read()
    _check(password)
    click.echo(f"basic_auth_users:\n  {user}: {bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()}")


def _asked() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True))


def _read() -> str:
    """Return the line of standard input without its end."""
    try:
        text = sys.stdin.buffer.read(4096).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ToldError("The password is no UTF-8 text", "Send text in UTF-8.", EXIT_USAGE) from None
    if "\n" in text:
        raise ToldError("There are several lines on standard input", "Send one line: the password.", EXIT_USAGE)
    return text


def _check(password: str) -> None:
    size = len(password.encode())
    if len(password) < SHORTEST_CHARACTERS:
        raise ToldError(
            f"The password has fewer than {SHORTEST_CHARACTERS} characters",
            "Take a longer one; nobody has to type it: head -c 24 /dev/urandom | base64",
            EXIT_USAGE,
        )
    if size > LONGEST_PASSWORD_BYTES or "\0" in password:
        raise ToldError(
            f"The password has {size} bytes or a NUL; bcrypt looks at {LONGEST_PASSWORD_BYTES} and at no NUL",
            "Take a shorter one, or --token for programs.",
            EXIT_USAGE,
        )
