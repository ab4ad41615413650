"""Owns which generation of its state an installation lives on: the record in the topic `control`.

    generation 0: activities, orgpulse-shard-changelog, …    generation 2: activities-g2, orgpulse-g2-shard-changelog, …

Each rebuild computes a new generation beside the present one and then swaps. Invariant: workers of a generation read
and write its own logs and tables only, and none runs while two of them are swapped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from typing import Literal

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.errors import OperatorError
from streams.kafka_access import aiokafka_options
from streams.log_state import TopicMissingError, content_of
from streams.settings import Settings, override
from streams.topic_specs import topic_names

KEY = b"generation"
_PAUSE_SECONDS = 1.0
_LEAST_SECONDS = 5.0  # for one answer
_SAY_EVERY_SECONDS = 15.0

_log = structlog.get_logger(__name__)


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What `control` says."""

    number: int = 0
    state: Literal["live", "swapping"] = "live"
    since: str = ""
    """When it was written, ISO 8601."""


class ControlLostError(OperatorError):
    """The topic that says which generation is live is gone or empty; taking the first one would be wrong in silence."""

    def __init__(self, control: str, highest: int) -> None:
        super().__init__(
            f"topic {control} does not say which generation of the state is live, and there are topics of "
            f"generation {highest}",
            f"If it was live, set [worker] generation = {highest} (ORGPULSE_WORKER_GENERATION) on all workers; "
            "if unsure, run `orgpulse rebuild`, which computes another one.",
        )
        self.highest = highest


def generation_in(value: bytes | None) -> Generation:
    """Return what a record of `control` says; without one, the first generation is live.

    Raises:
        msgspec.DecodeError: If *value* is no such record.
    """
    return Generation() if value is None else msgspec.json.decode(value, type=Generation)


async def generation_of(settings: Settings) -> Generation:
    """Ask Kafka for the generation.

    Raises:
        KafkaError, OSError: If no broker answers.
        ControlLostError: If nothing is said, but there are later generations than the first.
    """
    value = None
    with contextlib.suppress(TopicMissingError):
        (content,) = await content_of(settings.kafka, topic_names(settings).control)
        value = content.get(KEY)
    if value is None and (highest := await _highest_generation(settings)) > settings.worker.generation:
        raise ControlLostError(topic_names(settings).control, highest)
    return generation_in(value)


async def _highest_generation(settings: Settings) -> int:
    """Return the highest generation that there are topics of."""
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    await admin.start()
    try:
        pattern = re.compile(rf"{re.escape(settings.kafka.application)}-g(\d+)-origins-changelog")
        found = [pattern.fullmatch(name) for name in await admin.list_topics()]
    finally:
        await admin.close()
    return max((int(match[1]) for match in found if match), default=0)


async def say_generation(settings: Settings, generation: Generation) -> None:
    """Write the generation to Kafka."""
    producer = AIOKafkaProducer(**aiokafka_options(settings.kafka), acks="all", enable_idempotence=True)
    await producer.start()
    try:
        value = msgspec.json.encode(generation)
        await producer.send_and_wait(topic_names(settings).control, key=KEY, value=value, partition=0)
    finally:
        await producer.stop()


def _asked(settings: Settings, seconds: float) -> Generation:
    """Ask once; that no broker answers is told by whoever needs one, not by the client's log."""
    library = logging.getLogger("aiokafka")
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        return asyncio.run(asyncio.wait_for(generation_of(settings), seconds))
    finally:
        library.setLevel(level)


def settings_of_generation(settings: Settings, number: int) -> Settings:
    """Return *settings* for generation *number*, or the one that they name if that is newer."""
    return override(settings, {"worker.generation": max(number, settings.worker.generation)})


def with_generation(settings: Settings, *, patience_seconds: float) -> Settings:
    """Return *settings* for the generation that is live; waits for the end of a swap.

    Without an answer for *patience_seconds* they come back as they are: a worker asks again once Kafka is there.
    """
    deadline, said_at = time.monotonic() + patience_seconds, 0.0
    while True:
        try:
            found = _asked(settings, max(_LEAST_SECONDS, patience_seconds))
        except (KafkaError, OSError, TimeoutError):
            if time.monotonic() >= deadline:
                return settings
            time.sleep(_PAUSE_SECONDS)
            continue
        if found.state == "live":
            return settings_of_generation(settings, found.number)
        if time.monotonic() - said_at >= _SAY_EVERY_SECONDS:
            said_at = time.monotonic()
            _log.info("waiting for the end of a swap; if no `orgpulse rebuild` runs, run it", generation=found.number)
        time.sleep(_PAUSE_SECONDS)
