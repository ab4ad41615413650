"""Owns how the report on quality gets what it needs: the workers' own readers, and the directory.

Invariant: a directory that can't be had is said, and never taken for an empty one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from kafka.errors import KafkaError

from agents.directory import directory_limits_of, read_directory
from agents.importers.json_rows import decode_object, key_of
from agents.importers.quality import Quality
from agents.importers.source import InputError, open_source
from agents.ingest import PARK
from agents.wiring import sources
from state.identity import Directory
from streams.clock import WallClock
from streams.errors import OperatorError
from streams.generation import with_generation
from streams.kafka_access import addresses
from streams.model_file import load_model
from streams.read_directory import org_entry, user_entry
from streams.reading import Rejected
from streams.settings import Settings
from streams.topic_specs import topic_names

_CONNECT_SECONDS = 2.0


def quality_of(
    settings: Settings, topic: str, fields: Sequence[str], needed: Sequence[str], directory: Directory | None
) -> Quality:
    """Return what looks at the rows of an import into *topic* (its full name)."""
    clock = WallClock()
    source = next(
        each for each in sources(settings, load_model(settings.model.file), topic_names(settings), clock)
        if each.topic == topic
    )  # fmt: skip
    return Quality(
        source.name, source.read, fields, needed,
        now_ms=int(clock.now() * 1000), ahead_ms=settings.time.max_ahead_seconds * 1000,
        lateness_ms=settings.time.allowed_lateness_hours * 3_600_000, partitions=settings.kafka.partitions,
        directory=directory, parks=source.unknown == PARK,
    )  # fmt: skip


def directory_of(settings: Settings, file: Path | None) -> tuple[Directory | None, str]:
    """Return who there is, and which directory that is; or `None` and why it is not known.

    Args:
        settings: Where Kafka is.
        file: Users and orgs as JSON lines in the form of the topics `users` and `orgs`; `None`: ask Kafka.

    Raises:
        InputError: If the file can't be read, or a line of it is neither a user nor an org.
    """
    if file is not None:
        return _from_file(settings, file), str(file)
    broker = addresses(settings.kafka)[0]
    host, _, port = broker.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return None, f"no Kafka broker answers at {broker} (--directory FILE names another directory)"
    try:
        found = asyncio.run(read_directory(with_generation(settings, patience_seconds=0)))
    except OperatorError as error:
        return None, f"the directory can't be read: {error.message}"
    except KafkaError as error:
        return None, f"the directory can't be read: {error}"
    if not found.users and not found.orgs:
        return None, "the topics `users` and `orgs` are empty"
    return found, "the directory in Kafka"


def _from_file(settings: Settings, path: Path) -> Directory:
    directory, limits = Directory(), directory_limits_of(settings)
    source = open_source(str(path))
    try:
        for number, line in enumerate(source.lines(), start=1):
            if line is None or not line.strip():
                continue
            entry = decode_object(line) or {}
            try:
                if "user_id" in entry:
                    directory.learn_user(*user_entry(key_of(entry["user_id"]), line.strip(), limits))
                else:
                    directory.learn_org(*org_entry(key_of(entry.get("org_id")), line.strip(), limits))
            except Rejected as error:
                raise InputError(f"{path}, line {number}: neither a user nor an org: {error}") from None
    finally:
        source.close()
    return directory
