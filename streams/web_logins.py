"""Owns who somebody is: passwords, tokens, and how often they may be guessed at.

Invariant: a wrong password costs the same whether the user exists or not, a right one costs bcrypt once and then a
comparison in constant time; no password, token or hash is in a log line, message or metric.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import bcrypt

from streams.web_buckets import Buckets
from streams.web_config import READ, WebConfig

LONGEST_PASSWORD_BYTES = 72
"""What bcrypt looks at; a longer password is none."""
_LONGEST_HEADER = 1024
_REMEMBERED = 256
_THREADS, _MOST_WAITING = 2, 16
_TRIES, _TRIES_PER_SECOND = 10, 0.1
"""Wrong passwords for one user from one client: at once, and then one in ten seconds."""
_CLIENT_TRIES, _CLIENT_TRIES_PER_SECOND = 30, 0.5
"""Of one client for all users together."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what they may do."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody is not let in; *name* is that of a user who exists, else empty."""

    reason: str  # login, throttled, busy
    wait_seconds: float = 0.0
    name: str = ""


ANONYMOUS = Identity("", READ)


class Logins:
    """Recognises those whom the configuration in force knows."""

    def __init__(self) -> None:
        self._config = WebConfig()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}
        self._tries = Buckets(_TRIES_PER_SECOND, _TRIES)
        self._client_tries = Buckets(_CLIENT_TRIES_PER_SECOND, _CLIENT_TRIES)
        self._threads = ThreadPoolExecutor(_THREADS, "web-password")
        self.hashed = 0
        """How often bcrypt was computed."""

    def use(self, config: WebConfig) -> None:
        """Go by *config* from now on; what was remembered of others' passwords is forgotten."""
        self._config = config
        self._known.clear()

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def identify(self, header: str, client: str, now: float) -> Identity | Refusal | None:
        """Return whom an `Authorization` header names, None without one."""
        if not header:
            return None
        scheme, _, rest = header.strip().partition(" ")
        if len(header) <= _LONGEST_HEADER and scheme.lower() == "bearer":
            return self._bearer(rest.strip(), client, now)
        if len(header) <= _LONGEST_HEADER and scheme.lower() == "basic":
            try:
                name, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
                return await self._basic(name.decode(), password, client, now)
            except (binascii.Error, UnicodeDecodeError):
                pass
        wait = self._client_tries.take(client, now)
        return Refusal("throttled", wait) if wait else Refusal("login")

    def _bearer(self, token: str, client: str, now: float) -> Identity | Refusal:
        if wait := self._client_tries.take(client, now):
            return Refusal("throttled", wait)
        given, found = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), ""
        for name, digest in self._config.tokens.items():
            if hmac.compare_digest(digest, given):
                found = name
        if not found:
            return Refusal("login")
        self._client_tries.give_back(client, now)
        return Identity(found, self._config.role(found))

    async def _basic(self, name: str, password: bytes, client: str, now: float) -> Identity | Refusal:
        config = self._config
        stored = config.users.get(name)
        known = name if stored else ""
        mark = self._mark(name, stored or config.nobody, password)
        sought = (client, hashlib.sha256(name.encode()).digest())
        pending = self._under_way.get(mark)
        if pending is None:  # who asks for several things at once with the same password has tried once
            wait = max(self._tries.wait(sought, now), self._client_tries.wait(client, now))
            if wait:
                return Refusal("throttled", wait, known)
            if mark not in self._known and len(self._under_way) >= _MOST_WAITING:
                return Refusal("busy", 1.0)
            self._tries.take(sought, now)
            self._client_tries.take(client, now)
        right = await (asyncio.shield(pending) if pending else self._check(mark, stored or config.nobody, password))
        if not (right and stored):
            return Refusal("login", name=known)
        if pending is None:
            self._tries.give_back(sought, now)
            self._client_tries.give_back(client, now)
        return Identity(name, config.role(name))

    def _mark(self, name: str, stored: bytes, password: bytes) -> bytes:
        """Return what is remembered of a password that was right: of no use outside this process."""
        parts = (name.encode(), stored, password)
        return hmac.digest(self._key, b"".join(b"%d:%s" % (len(each), each) for each in parts), "sha256")

    async def _check(self, mark: bytes, stored: bytes, password: bytes) -> bool:
        if mark in self._known:
            self._known.move_to_end(mark)
            return True
        if not stored:  # the file names no users at all
            return False
        loop = asyncio.get_running_loop()
        self.hashed += 1
        found = loop.run_in_executor(self._threads, _fits, password, stored)
        self._under_way[mark] = found
        found.add_done_callback(lambda _: self._under_way.pop(mark, None))
        right = await asyncio.shield(found)
        if right:
            self._known[mark] = None
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return right


def _fits(password: bytes, stored: bytes) -> bool:
    """Compute bcrypt; a password that it can't take costs as much as any other."""
    usable = len(password) <= LONGEST_PASSWORD_BYTES and b"\0" not in password
    return bcrypt.checkpw(password if usable else b"-", stored) and usable
