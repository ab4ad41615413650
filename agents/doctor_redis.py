"""Owns what `orgpulse doctor` looks at on Redis.

Invariant: the only keys it writes are its own, with a lifetime of seconds; a Redis that is down is a
finding, not an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from redis.exceptions import NoPermissionError, RedisError

from agents.doctor import Finding, skew_finding
from streams.clock import Clock
from streams.redis_access import redis_client
from streams.redis_rights import Role, Tried, missing_in, refused_in, told_missing, trials_of, tried_on
from streams.redis_trouble import redis_trouble
from streams.settings import Settings, redacted_url
from streams.settings_wire import RedisSettings

OLDEST_VERSION = (6, 2)


def redis_findings(
    settings: Settings, clock: Clock, *, wait_seconds: float, role: Role = "worker"
) -> Iterator[Finding]:
    """Yield what is to say about the server, this user's rights on it, its memory policy and its clock."""
    where, redis = redacted_url(settings.redis.url), settings.redis
    try:
        with redis_client(redis, timeout_seconds=wait_seconds, decode_responses=True) as server:
            database = int(server.connection_pool.connection_kwargs.get("db") or 0)
            tried = tried_on(server, role, redis.prefix, database)
            yield _access_finding(settings, where)
            yield _rights_finding(tried, settings, role)
            if role in ("worker", "operator"):
                with contextlib.suppress(NoPermissionError):  # said above
                    yield _server_finding(server.info(), where)
                    yield _memory_finding(server.info("memory"))
            if "time" in trials_of(role) or not _has_login(redis):
                yield _clock_finding(server, clock)
            else:  # it would ask for a right that only an operator has
                yield Finding(check="redis clock", state="ok", found="not asked (--role operator asks)")
    except (RedisError, OSError, ValueError) as error:
        found, remedy, _ = redis_trouble(error, redis)
        yield Finding(check="redis", state="failed", found=found, remedy=remedy)


def _access_finding(settings: Settings, where: str) -> Finding:
    """Say how one gets in: over TLS, as whom."""
    redis = settings.redis
    user = redis.username or urlsplit(redis.url).username or "default"
    way = "TLS" if redis.url.startswith("rediss://") else "no TLS"
    way += f", as {user}" if _has_login(redis) else ", no login"
    if redis.certificate_file:
        way += ", with a certificate"
    return Finding(check="redis access", state="ok", found=way)


def _has_login(redis: RedisSettings) -> bool:
    """Say whether a login is shown to Redis."""
    return bool(redis.password or redis.password_file or urlsplit(redis.url).password)


def _rights_finding(tried: Tried, settings: Settings, role: Role) -> Finding:
    """Judge the trial of everything the role does, with a key of our own that is gone at its end."""
    redis = settings.redis
    if missing := missing_in(tried, redis.prefix):
        user = redis.username or urlsplit(redis.url).username or "default"
        found, remedy = told_missing(missing, user, role)
        return Finding(check="redis rights", state="failed", found=found, remedy=remedy)
    if refused := refused_in(tried):
        remedy = "A full or read-only server must be mended."
        return Finding(check="redis rights", state="failed", found=refused, remedy=remedy)
    found = f"{len(tried)} commands of a {role} under {redis.prefix}"
    return Finding(check="redis rights", state="ok", found=found)


def _server_finding(info: dict[str, Any], where: str) -> Finding:
    """Judge version and role. Valkey says its own version apart and a Redis one that it equals."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    text = str(info.get("valkey_version", info["redis_version"]))
    found = f"{name} {text} at {where}"
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if version < OLDEST_VERSION:
        return Finding(check="redis", state="failed", found=found, remedy="Use Redis 6.2 or newer, or Valkey.")
    if info.get("role") not in (None, "master"):
        remedy = "It is a replica and takes no writes: set [redis] url to the primary."
        return Finding(check="redis", state="failed", found=f"{found}, {info['role']}", remedy=remedy)
    return Finding(check="redis", state="ok", found=found)


def _memory_finding(memory: dict[str, Any]) -> Finding:
    """Judge the memory policy: a server that evicts drops scores in silence, and fences with them."""
    policy, limit = str(memory.get("maxmemory_policy", "unknown")), int(memory.get("maxmemory", 0))
    used = int(memory.get("used_memory", 0))
    found = f"{used / 1024**2:.0f} MiB of {f'{limit / 1024**2:.0f} MiB' if limit else 'unlimited'}, {policy}"
    if limit and policy != "noeviction":
        remedy = "CONFIG SET maxmemory-policy noeviction; a server of our own is best."
        return Finding(check="redis memory", state="failed", found=found, remedy=remedy)
    if limit and used > 0.9 * limit:
        return Finding(check="redis memory", state="warning", found=found, remedy="Raise maxmemory.")
    return Finding(check="redis memory", state="ok", found=found)


def _clock_finding(server: Any, clock: Clock) -> Finding:
    """Compare Redis's clock with ours, half the round trip allowed for."""
    before = clock.now()
    try:
        seconds, micros = server.time()
    except NoPermissionError:
        return Finding(check="redis clock", state="ok", found="not told (no right to TIME)")
    ours = (before + clock.now()) / 2
    return skew_finding("redis clock", "Redis", seconds + micros / 1e6 - ours)
