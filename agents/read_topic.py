"""Reads a topic from its beginning to its end, for commands that show how far they are.

Invariant: only reads, in no group; committed records only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiokafka.structs import TopicPartition

from agents.cli_progress import Tell
from streams.kafka_access import Brokers
from streams.log_state import ends_of, starts_of, stretches

_TELL_EVERY = 2_000


async def records_of(brokers: Brokers, topic: str, tell: Tell) -> AsyncIterator[tuple[TopicPartition, Any]]:
    """Yield every record with its partition; *tell* hears how many offsets are behind, and how many there are.

    Raises:
        TopicMissingError: If there is no such topic.
        LookCutShortError: If not all of it could be read.
    """
    ends, starts = await ends_of(brokers, [topic]), await starts_of(brokers, [topic])
    # Offsets that were compacted away count as read when the one after them is.
    total, reached, count = sum(ends[tp] - starts[tp] for tp in ends), dict(starts), 0
    async for tp, record in stretches(brokers, starts, ends, whole=True):
        yield tp, record
        reached[tp] = record.offset + 1
        count += 1
        if count % _TELL_EVERY == 0:
            tell(sum(reached[tp] - starts[tp] for tp in reached), total)
    tell(total, total)
