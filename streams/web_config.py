"""Owns the web configuration file: who may look, under which role, over which TLS, with which headers.

The form is that of the Prometheus exporters' web configuration (exporter-toolkit, docs/web-configuration.md), and
beside it `bearer_tokens` and `roles`. Invariant: a `WebConfig` is complete and checked; what can't be offered is
refused, never left out in silence.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt

from streams.web_tls import TLS_KEYS, Tls, tls_of
from streams.web_yaml import Value, read_yaml

READ, ADMIN = "read", "admin"
LEAST_COST, MOST_COST = 10, 15
"""Of bcrypt: below it guessing is cheap, above it one login takes seconds."""
MAKE_HASH = "Make one with `orgpulse web-password`."
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_NAME = re.compile(r"[\w.@+-]{1,64}", re.ASCII)
_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users", "bearer_tokens", "roles")
_HEADERS = (
    "Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options",
    "X-XSS-Protection", "Referrer-Policy", "Permissions-Policy", "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says; without a file nothing."""

    users: Mapping[str, bytes] = field(default_factory=dict)
    """Name → bcrypt hash."""
    tokens: Mapping[str, bytes] = field(default_factory=dict)
    """Name → SHA-256 of the token."""
    roles: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: Tls | None = None
    nobody: bytes = b""
    """A hash that no password fits, as dear as the dearest of the users'."""

    @property
    def asks(self) -> bool:
        """Whether one has to say who one is by a password or a token."""
        return bool(self.users or self.tokens)

    @property
    def is_closed(self) -> bool:
        """Whether nobody gets in unknown: by password, token or certificate."""
        return self.asks or (self.tls is not None and self.tls.asks)

    def role(self, name: str) -> str:
        """Return what a user or token may do; to read unless the file says otherwise."""
        return self.roles.get(name, READ)


def load_web_config(file: Path) -> WebConfig:
    """Read and check a file, and the certificates that it names (relative to its folder).

    Raises:
        SettingsError: If anything in it can't be used, with its line and what to do.
    """
    sections = read_yaml(file).fields(_SECTIONS)
    users = _users(sections.get("basic_auth_users"))
    tokens = _tokens(sections.get("bearer_tokens"), users)
    return WebConfig(
        users=users,
        tokens=tokens,
        roles=_roles(sections.get("roles"), {*users, *tokens}),
        headers=_headers(sections.get("http_server_config")),
        tls=tls_of(fields, file.parent) if (fields := _fields(sections.get("tls_server_config"), TLS_KEYS)) else None,
        nobody=_nobody(users),
    )


def _fields(section: Value | None, known: tuple[str, ...]) -> dict[str, Value]:
    return {} if section is None else section.fields(known)


def _users(section: Value | None) -> dict[str, bytes]:
    users: dict[str, bytes] = {}
    for name, value in section.table() if section else ():
        _check_name(name, value)
        found = _BCRYPT.fullmatch(value.text())
        if found is None:
            raise value.refuse("is no bcrypt hash ($2b$12$…)", MAKE_HASH)
        if not LEAST_COST <= int(found[1]) <= MOST_COST:
            raise value.refuse(f"has cost {int(found[1])}, must have {LEAST_COST} to {MOST_COST}", MAKE_HASH)
        users[name] = found[0].encode()
    return users


def _nobody(users: Mapping[str, bytes]) -> bytes:
    """Return what a password of somebody unknown is compared with."""
    cost = max((int(each[4:6]) for each in users.values()), default=0)
    return bcrypt.hashpw(secrets.token_hex(16).encode(), bcrypt.gensalt(cost)) if cost else b""


def _tokens(section: Value | None, users: Mapping[str, bytes]) -> dict[str, bytes]:
    tokens: dict[str, bytes] = {}
    for name, value in section.table() if section else ():
        _check_name(name, value)
        if name in users:
            raise value.refuse("is the name of a user too", "Give the token a name of its own.")
        kind, _, digits = value.text().partition(":")
        if kind != "sha256" or len(digits) != 64 or not set(digits) <= set(string.hexdigits):
            raise value.refuse("is no hash of a token (sha256:…)", "Make both with `orgpulse web-password --token`.")
        tokens[name] = bytes.fromhex(digits)
    return tokens


def _check_name(name: str, value: Value) -> None:
    if not _NAME.fullmatch(name):
        raise value.refuse("is named by other than 1 to 64 letters, digits and . _ @ + -", "Choose another name.")


def _roles(section: Value | None, known: set[str]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for name, value in section.table() if section else ():
        if name not in known:
            raise value.refuse(
                "is neither a user nor a token of this file", "Add one of that name, or remove the line."
            )
        roles[name] = value.choice((READ, ADMIN))
    return roles


def _headers(section: Value | None) -> dict[str, str]:
    fields = _fields(section, ("headers", "http2"))
    if "http2" in fields and fields["http2"].truth():
        raise fields["http2"].refuse("can't be true: HTTP/1.1 is what is spoken here", "Remove it, or set it to false.")
    headers = {name: value.text() for name, value in _fields(fields.get("headers"), _HEADERS).items()}
    for name, text in headers.items():
        if not text.isascii() or not text.isprintable():
            raise fields["headers"].refuse(f"has a {name} with other than printable ASCII", "Write it in one line.")
    return headers
