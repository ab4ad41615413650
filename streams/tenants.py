"""Owns the namespaces of tenants: which names they may have, and what of an installation's settings follows from one.

    without    product-events, weeks, …         orgpulse-shard-changelog          orgpulse:v1:…
    tenant     t.NAME.product-events, …         t.NAME.orgpulse-shard-changelog   t:NAME:orgpulse:v1:…

Invariant: everything of a tenant, in Kafka and in Redis, begins with its namespace; no name holds the character that
ends a namespace, so none is the beginning of another, and nothing of the installation itself begins like one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.settings import Settings

NO_TENANT = "none"
"""Said in the place of a name: what runs beside the tenants, without a namespace."""
NAME_TEXT = "up to 32 small letters, digits and hyphens, no hyphen at the ends"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_KAFKA, _REDIS, _SCHEMA = "t.", "t:", "t_"

DERIVED = (
    ("kafka", "prefix"), ("kafka", "application"), ("redis", "prefix"), ("sink", "schema"),
    ("sink", "parquet_directory"),
)  # fmt: skip
"""What follows from a tenant's name; nobody may set it for one, for then it could be another's."""

Problem = tuple[tuple[str, str], str, str]
"""(section, key), what is wrong with it, what to do."""


def is_tenant_name(name: str) -> bool:
    """Say whether a tenant may be called so.

    >>> [is_tenant_name(name) for name in ("acme", "acme-2", "", "Acme", "a.b", "a_b", "-a", "none", "a" * 33)]
    [True, True, False, False, False, False, False, False, False]
    """
    return name != NO_TENANT and _NAME.fullmatch(name) is not None


def kafka_namespace(name: str) -> str:
    """Return what every topic, group and transactional id of a tenant begins with.

    >>> kafka_namespace("acme")
    't.acme.'
    """
    return f"{_KAFKA}{name}."


def redis_namespace(name: str) -> str:
    """Return what every Redis key of a tenant begins with.

    >>> redis_namespace("acme")
    't:acme:'
    """
    return f"{_REDIS}{name}:"


def derived(base: Settings, name: str) -> dict[tuple[str, str], Any]:
    """Return (section, key) → value of the settings in `DERIVED` for a tenant of the installation *base*."""
    directory = PurePath(base.sink.parquet_directory)
    return {
        ("kafka", "prefix"): kafka_namespace(name) + base.kafka.prefix,
        ("kafka", "application"): kafka_namespace(name) + base.kafka.application,
        ("redis", "prefix"): redis_namespace(name) + base.redis.prefix,
        ("sink", "schema"): f"{_SCHEMA}{name.replace('-', '_')}_{base.sink.schema}",
        ("sink", "parquet_directory"): str(directory.parent / kafka_namespace(name).rstrip(".") / directory.name),
        ("worker", "tenant"): name,
    }


def base_problems(base: Settings) -> Iterator[Problem]:
    """Yield which settings of an installation begin like a tenant's, so that one could be taken for the other."""
    for section, key, space in (
        ("kafka", "prefix", _KAFKA), ("kafka", "application", _KAFKA), ("redis", "prefix", _REDIS),
        ("sink", "schema", _SCHEMA),
    ):  # fmt: skip
        value: str = getattr(getattr(base, section), key)
        # Rights in Redis are given by the beginning of keys: one that tenants' namespaces begin with gives theirs too.
        if value.startswith(space) or (section == "redis" and space.startswith(value)):
            yield (section, key), f'= "{value}" does not keep apart from the tenants\' "{space}NAME"', "Choose another."


def tenant_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong when settings say whose they are, but not his names."""
    name = settings.worker.tenant
    if not name:
        return
    for section, key, space in (
        ("kafka", "prefix", kafka_namespace(name)), ("kafka", "application", kafka_namespace(name)),
        ("redis", "prefix", redis_namespace(name)),
    ):  # fmt: skip
        value: str = getattr(getattr(settings, section), key)
        if not value.startswith(space):
            yield (
                (section, key),
                f'= "{value}" is not in the namespace of the tenant "{name}"',
                "Say whose it is with `orgpulse --tenant NAME …` or ORGPULSE_TENANT, which sets all of it.",
            )
