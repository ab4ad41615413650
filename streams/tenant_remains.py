"""Owns what there is of a tenant in Kafka and Redis, whatever made it, and taking it away.

Invariant: nothing is looked at but what begins with the tenant's namespace, and nothing else is ever deleted; while
somebody works on it, nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from streams.errors import OperatorError
from streams.kafka_rights import BACKFILL
from streams.redis_access import redis_client
from streams.redis_rights import escaped
from streams.settings import Settings
from streams.tenants import kafka_namespace, redis_namespace
from streams.topics import TopicNames, connected_admin, delete_topics, members_of_group

_KEYS_AT_ONCE = 1000


class TenantError(OperatorError):
    """Something of a tenant can't be done."""


class Remains(msgspec.Struct, frozen=True):
    """What there is in Kafka."""

    topics: tuple[str, ...]
    groups: tuple[str, ...]
    members: tuple[str, ...]
    """Who is in one of the groups, or "nobody can tell"."""


def remains_of(settings: Settings, *, wait_seconds: float = 10.0) -> Remains:
    """Return what there is of the tenant of *settings* in Kafka: of every generation, sink and backfill.

    Raises:
        TenantError: If *settings* are no tenant's.
        BrokerError: If no broker answers.
    """
    _checked(settings)
    group, is_his = settings.kafka.application, _topics_of(settings)
    with connected_admin(settings, wait_seconds=wait_seconds) as admin:
        topics = tuple(sorted(name for name in admin.list_topics() if is_his.fullmatch(name)))
        found = sorted(each["group_id"] for each in admin.list_groups())
        groups = tuple(each for each in found if each == group or each.startswith(f"{group}-"))
        members = tuple(said for each in groups if (said := members_of_group(admin, each)))
    return Remains(topics, groups, members)


def _topics_of(settings: Settings) -> re.Pattern[str]:
    """Return what the names of a tenant's topics look like: of every generation and backfill, and changelogs.

    By whole names: another installation on the cluster, with a prefix, may have a tenant of the same name.
    """
    kinds = "|".join(
        field.replace("_", "-") for field in TopicNames.__struct_fields__ if not field.endswith("_changelog")
    )
    prefix, group = re.escape(settings.kafka.prefix), re.escape(settings.kafka.application)
    return re.compile(rf"{prefix}({re.escape(BACKFILL)}[a-z0-9-]+\.)?({kinds})(-g\d+)?|{group}-.+")


def remove_from_kafka(settings: Settings, found: Remains) -> None:
    """Delete the topics and groups that were *found*.

    Raises:
        TenantError: If somebody is in one of the groups.
    """
    space = kafka_namespace(_checked(settings))
    assert all(name.startswith(space) for name in (*found.topics, *found.groups))
    if found.members:
        raise TenantError(
            f"{', '.join(found.members)} of the tenant still run",
            "Stop its workers and sinks; one that was killed is missed after [kafka] session_timeout_seconds.",
        )
    delete_topics(settings, found.topics)
    if found.groups:
        with connected_admin(settings, wait_seconds=10.0) as admin:
            admin.delete_groups(list(found.groups))


def remove_from_redis(settings: Settings, told: Callable[[int], None] = lambda keys: None) -> int:
    """Delete every key of the tenant; *told* is called with how many are gone so far. Return how many there were."""
    assert settings.redis.prefix.startswith(redis_namespace(_checked(settings)))
    gone = 0
    with redis_client(settings.redis) as client:
        for keys in _keys(client, settings.redis.prefix):
            gone += client.delete(*keys)
            told(gone)
    return gone


def _keys(client: Any, prefix: str) -> Iterator[list[bytes]]:
    """Yield the keys that begin with *prefix*, some at a time."""
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, match=f"{escaped(prefix)}*", count=_KEYS_AT_ONCE)
        if keys:
            yield keys
        if not cursor:
            return


def _checked(settings: Settings) -> str:
    """Return the tenant of *settings*."""
    if not settings.worker.tenant:
        raise TenantError("the settings are no tenant's", "Name one with --tenant.")
    return settings.worker.tenant
