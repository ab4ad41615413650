"""Owns what `orgpulse doctor` says of tenants: whether one's password opens what is another's.

Invariant: it looks at the settings of every tenant of the file as a process of that tenant would load them. Whose can't
be loaded here, where only another's secrets may lie, is named and is no failure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from agents.doctor import Finding
from streams.settings import Settings, SettingsError, load_settings, tenant_names


def tenant_findings(config: Path | None, environ: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Yield which tenants of the settings file share what is to keep them apart; nothing where it has none.

    Args:
        config: The file.
        environ: Variables that stand over it, the process's own when None.
    """
    try:
        names = tenant_names(config)
    except SettingsError as error:
        yield Finding(check="tenants", state="failed", found=error.message, remedy=error.remedy)
        return
    each = dict[str, Settings]()
    for name in names:
        try:
            each[name] = load_settings(config, environ, tenant=name)
        except SettingsError as error:
            found = f"{name} is not compared with the others: {error.message}"
            yield Finding(check="tenants", state="warning", found=found, remedy=error.remedy)
    shared = [finding for what in _WAYS_IN for finding in _shared(each, *what)]
    yield from shared
    if len(each) > 1 and not shared:
        yield Finding(check="tenants", state="ok", found=f"{', '.join(each)}: each has ways in of its own")


def _shared(
    each: Mapping[str, Settings], way_in: Callable[[Settings], str], what: str, remedy: str
) -> Iterator[Finding]:
    by_way = defaultdict[str, list[str]](list)
    for name, settings in each.items():
        by_way[way_in(settings)].append(name)
    for way, names in by_way.items():
        if len(names) > 1 and way:
            yield Finding(check="tenants", state="warning", found=f"{', '.join(names)}: {what}", remedy=remedy)


def _pages(settings: Settings) -> str:
    return settings.web.config_file


def _kafka(settings: Settings) -> str:
    kafka = settings.kafka
    login = kafka.username if kafka.security.startswith("sasl") else kafka.certificate_file
    return f"{kafka.brokers} as {login}"


def _redis(settings: Settings) -> str:
    parts = urlsplit(settings.redis.url)
    login = settings.redis.username or parts.username or settings.redis.certificate_file
    return f"{parts.hostname}:{parts.port}{parts.path} as {login}"


_WAYS_IN: tuple[tuple[Callable[[Settings], str], str, str], ...] = (
    (_pages, "the passwords of one open the pages of all", "Name a file for each in [tenants.NAME.web] config_file."),
    (
        _kafka,
        "one user (or none) of Kafka",
        "Whoever has its password reads all: [tenants.NAME.kafka] username, `orgpulse --tenant NAME acl kafka`.",
    ),
    (
        _redis,
        "one user (or none) of Redis",
        "Whoever has its password reads all: [tenants.NAME.redis] username, `orgpulse --tenant NAME acl redis`.",
    ),
)
