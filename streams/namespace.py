"""Owns the namespaces of backfills: their names, the settings that lead there, and the record that describes each.

    live       product-events, weeks, …          orgpulse-shard-changelog            orgpulse:v1:…
    backfill   backfill.NAME.product-events, …   orgpulse-backfill-NAME-shard-…      orgpulse:v1:backfill:NAME:…

Invariant: nothing of a namespace has a name of the live system's; it can be used only once its record says `done`.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from streams.errors import OperatorError
from streams.kafka_access import aiokafka_options
from streams.kafka_rights import BACKFILL
from streams.log_state import TopicMissingError, content_of
from streams.plain_sender import send_all
from streams.settings import Settings, override
from streams.tenants import kafka_namespace
from streams.topic_specs import topic_names
from streams.topics import delete_group, delete_topics
from streams.transactions import Outgoing

KEY = b"backfill"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LIVE_NAMES = ("live", "published")
_COMMANDS = ("run", "save", "list", "drop")

Days = dict[str, dict[str, int]]
"""Source (without prefix) → day (UTC, ISO 8601) → messages that arrived."""


class NamespaceError(OperatorError):
    """A namespace can't be used as asked."""


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """What the record of a namespace says."""

    name: str
    state: Literal["computing", "done"] = "computing"
    run: str = ""
    """Of which run it is: one that finds another's here must not go on."""
    begun: str = ""
    ended: str = ""
    """ISO 8601, like `begun`."""
    first_week: str = ""
    last_week: str = ""
    """ISO weeks, both inclusive."""
    read_from_ms: int = 0
    """Messages that arrived before were left out; 0 = none were."""
    source: str = "topics"
    """Where messages came from: the live topics, or a folder."""
    cut_points: str = "published"
    lost_cut_points: list[int] = []
    """Generations that published rows name, and whose cut points nobody knows any more."""
    directory_as_of: str = ""
    time_zone: str = ""
    model: str = ""
    """The text of the health model."""
    lateness_hours: int = 0
    late: int = 0
    """Events that were late even here."""
    messages: Days = {}
    gone: dict[str, int] = {}
    """Source → messages at its beginning that it no longer had."""


def checked_name(name: str) -> str:
    """Return *name*.

    Raises:
        NamespaceError: If no namespace may be called so.
    """
    if name in _LIVE_NAMES:
        raise NamespaceError(f'"{name}" is what the live system is called', "Choose another name, such as check-w40.")
    if name in _COMMANDS or not _NAME.fullmatch(name):
        raise NamespaceError(
            f'"{name}" is no name of a backfill', "Use up to 40 small letters, digits and hyphens, such as check-w40."
        )
    return name


def namespace_of(live: Settings, name: str) -> Settings:
    """Return the settings of the namespace *name* beside *live*; its workers tell no Redis.

    Raises:
        NamespaceError: If *live* are a namespace's own.

    >>> namespace_of(Settings(), "check").kafka.prefix, namespace_of(Settings(), "check").kafka.application
    ('backfill.check.', 'orgpulse-backfill-check')
    """
    kafka = live.kafka
    if BACKFILL in kafka.prefix.removeprefix(kafka_namespace(live.worker.tenant)):  # a tenant may be called so
        raise NamespaceError(
            f"the settings are those of a backfill already: [kafka] prefix is {kafka.prefix}",
            "Use the settings of the live system.",
        )
    return override(
        live,
        {
            "kafka.prefix": f"{kafka.prefix}{BACKFILL}{checked_name(name)}.",
            "kafka.application": f"{kafka.application}-backfill-{name}",
            "redis.prefix": f"{live.redis.prefix}backfill:{name}:",
            "worker.generation": 0,
            "worker.aside": "everything",
            "web.host": "127.0.0.1",
        },
    )


async def names_of(live: Settings) -> list[str]:
    """Return the names of all namespaces, finished or not."""
    admin = AIOKafkaAdminClient(**aiokafka_options(live.kafka))
    await admin.start()
    try:
        topics = await admin.list_topics()
    finally:
        await admin.close()
    pattern = re.compile(rf"{re.escape(live.kafka.prefix + BACKFILL)}([a-z0-9-]+)\.control")
    return sorted(found[1] for found in map(pattern.fullmatch, topics) if found)


async def backfill_of(space: Settings) -> Backfill | None:
    """Return what the namespace with the settings *space* says of itself, None = there is none.

    One that was cut off before it said anything is being computed, by nobody.
    """
    control = topic_names(space).control
    try:
        (content,) = await content_of(space.kafka, control)
    except TopicMissingError:
        return None
    if KEY not in content:
        return Backfill(name=control.rpartition(BACKFILL)[2].removesuffix(".control"))
    return msgspec.json.decode(content[KEY], type=Backfill)


async def say(space: Settings, found: Backfill) -> None:
    """Write what a namespace says of itself."""
    await send_all(space, [Outgoing(topic_names(space).control, 0, KEY, msgspec.json.encode(found))])


def drop(space: Settings) -> list[str]:
    """Delete everything of a namespace, its record last; return the names of the topics."""
    names = topic_names(space)
    every = {getattr(names, field) for field in names.__struct_fields__}
    gone = delete_topics(space, every - {names.control})
    delete_group(space)
    return gone + delete_topics(space, {names.control})
