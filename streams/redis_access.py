"""The one place where settings become what Redis's clients are given: address, login, certificates, limits.

Invariant: no client of the house is made without it (tests/streams/test_one_way_in.py holds it), and none asks the
server for more than its work takes: no name of a library is told, no maintenance news is subscribed to, so an ACL
user needs no right for that.
"""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from streams.clock import Clock
from streams.reader import Reader
from streams.reader_connect import Connect
from streams.settings_access import password_of
from streams.settings_wire import RedisSettings


def connect_of(redis: RedisSettings, *, timeout_seconds: float = 5.0, max_connections: int = 16) -> Connect:
    """Return how a reader reaches the Redis of the settings."""
    return Connect(
        timeout_seconds=timeout_seconds,
        max_connections=max_connections,
        username=redis.username or None,
        password=password_of(redis) or None,
        tls_ca_file=redis.ca_file or None,
        tls_cert_file=redis.certificate_file or None,
        tls_key_file=redis.key_file or None,
    )


def reader_of(redis: RedisSettings, clock: Clock | None = None) -> Reader:
    """Return a blocking reader of what is published there."""
    return Reader(redis.url, redis.prefix, clock, connect=connect_of(redis))


def redis_client(redis: RedisSettings, *, timeout_seconds: float | None = None, **options: Any) -> Any:
    """Return a blocking client."""
    return Redis.from_url(redis.url, **_options(redis, timeout_seconds), **options)


def async_redis_client(redis: RedisSettings, **options: Any) -> Any:
    """Return a client for asyncio."""
    return AsyncRedis.from_url(redis.url, **_options(redis, None), **options)


def _options(redis: RedisSettings, timeout_seconds: float | None) -> dict[str, Any]:
    timeout = redis.timeout_seconds if timeout_seconds is None else timeout_seconds
    return connect_of(redis).login_options(redis.url) | {"socket_timeout": timeout, "socket_connect_timeout": timeout}
