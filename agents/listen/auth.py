"""Owns who may send: tokens, and what each of them allows.

Invariant: a token is compared in constant time with all that are known, and is in no log line, message or record.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.listen.rows import KINDS
from streams.settings import SettingsError

SHORTEST_TOKEN = 16
_PLACE = "listen.tokens"


@dataclass(frozen=True, slots=True)
class Grant:
    """What one sender may do."""

    org: str = ""
    """The org that everything it sends belongs to; empty: what the rows say."""
    kinds: frozenset[str] = frozenset(KINDS)
    """Which of events, transactions and chat it may send."""


class Tokens:
    """The senders that are known."""

    def __init__(self, grants: Mapping[str, Grant]) -> None:
        self._grants = [(_digest(token), grant) for token, grant in grants.items()]

    def __len__(self) -> int:
        return len(self._grants)

    def grant_of(self, token: str) -> Grant | None:
        """Return what *token* allows, None if it is not known; takes as long for any token."""
        given, found = _digest(token), None
        for known, grant in self._grants:
            if hmac.compare_digest(known, given):
                found = grant
        return found

    def grant_of_header(self, header: str) -> tuple[Grant | None, bool]:
        """Return what an `Authorization` header allows, and whether it is that of a vendor's library (basic).

        Basic: the token is the user's name with an empty password (Segment's write key, Mixpanel's secret), or the
        password (the secret of a service account).
        """
        scheme, _, rest = header.strip().partition(" ")
        if scheme.lower() == "bearer":
            return self.grant_of(rest.strip()), False
        if scheme.lower() != "basic":
            return None, False
        try:
            name, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except ValueError:  # no base64, or no UTF-8 in it
            return None, True
        return self.grant_of(password or name), True


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def parse_tokens(text: str) -> Tokens:
    """Return the senders that the setting names.

    Raises:
        SettingsError: If a line doesn't say what it should; the token itself is not shown.

    >>> len(parse_tokens("0123456789abcdef org=acme topics=events,chat"))
    1
    """
    grants: dict[str, Grant] = {}
    for number, line in enumerate(re.split(r"[\n;]", text), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        token, said = words[0], f"{_PLACE}, line {number}"
        if len(token) < SHORTEST_TOKEN:
            raise SettingsError(
                f"{said}: the token has {len(token)} characters, fewer than {SHORTEST_TOKEN}",
                "Make one that nobody guesses: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        if token in grants:
            raise SettingsError(f"{said}: the token stands there twice", "Give each sender a token of its own.")
        grants[token] = _grant(words[1:], said)
    return Tokens(grants)


def _grant(words: Sequence[str], said: str) -> Grant:
    org, kinds = "", frozenset(KINDS)
    for word in words:
        name, sign, value = word.partition("=")
        if name == "org" and value:
            org = value
        elif name == "topics" and value and set(value.split(",")) <= set(KINDS):
            kinds = frozenset(value.split(","))
        else:
            shown = f"{name}=" if sign else "a word"
            raise SettingsError(
                f"{said}: {shown} can't be read", f"Write TOKEN org=ID topics={','.join(KINDS)}; both are optional."
            )
    return Grant(org, kinds)
