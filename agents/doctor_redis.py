"""Owns what `orgpulse doctor` looks at on Redis.

Invariant: the only key it writes is its own, with a lifetime of seconds; a Redis that is down is a
finding, not an error.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from redis.exceptions import AuthenticationError, RedisError

from agents.doctor import Finding, skew_finding
from streams.clock import Clock
from streams.redis_access import redis_client
from streams.settings import Settings, redacted_url

OLDEST_VERSION = (6, 2)
TRIAL_KEY_SECONDS = 10


def redis_findings(settings: Settings, clock: Clock, *, wait_seconds: float) -> Iterator[Finding]:
    """Yield what is to say about the server, writing to it, its memory policy and its clock."""
    where = redacted_url(settings.redis.url)
    try:
        with redis_client(settings.redis, timeout_seconds=wait_seconds, decode_responses=True) as server:
            yield _server_finding(server.info(), where)
            yield _writing_finding(server, settings.redis.prefix)
            yield _memory_finding(server.info("memory"))
            yield _clock_finding(server, clock)
    except AuthenticationError as error:
        remedy = "Put user and password into [redis] url, or its file's name into ORGPULSE_REDIS_URL_FILE."
        yield Finding(check="redis", state="failed", found=f"{where} refuses us: {error}", remedy=remedy)
    except (RedisError, OSError, ValueError) as error:
        remedy = "Start it, or set [redis] url (ORGPULSE_REDIS_URL) to where it listens."
        found = f"no answer from {where}: {redacted_url(str(error))}"
        yield Finding(check="redis", state="failed", found=found, remedy=remedy)


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


def _writing_finding(server: Any, prefix: str) -> Finding:
    """Write, read and delete a key by a script, as publishing does."""
    key = f"{prefix}doctor:{uuid.uuid4().hex}"
    script = "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) return redis.call('GET', KEYS[1])"
    try:
        answer = server.eval(script, 1, key, "well", str(TRIAL_KEY_SECONDS))
        server.delete(key)
    except RedisError as error:
        remedy = f"Let this user write {prefix}* and run scripts; a full or read-only server must be mended."
        return Finding(check="redis writing", state="failed", found=str(error), remedy=remedy)
    if answer != "well":
        return Finding(
            check="redis writing",
            state="failed",
            found=f"wrote well, read {answer}",
            remedy="Is a proxy between us and Redis?",
        )
    return Finding(check="redis writing", state="ok", found=f"script ran under {prefix}")


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
    seconds, micros = server.time()
    ours = (before + clock.now()) / 2
    return skew_finding("redis clock", "Redis", seconds + micros / 1e6 - ours)
