"""Reads the topic `weeks` for a report.

Invariant: only reads, in no group; committed records only.
"""

from __future__ import annotations

from agents.cli_progress import Tell
from reports.history import HistoryReader
from streams.log_state import ends_of, starts_of, stretches
from streams.settings import Settings
from streams.topic_specs import topic_names

_TELL_EVERY = 5_000


async def read_history(settings: Settings, tell: Tell) -> HistoryReader:
    """Return all of the topic; *tell* hears how many of its records are read.

    Raises:
        TopicMissingError: If there is no such topic.
        LookCutShortError: If not all of it could be read.
    """
    topic = topic_names(settings).weeks
    ends = await ends_of(settings.kafka.brokers, [topic])
    starts = await starts_of(settings.kafka.brokers, [topic])
    # Offsets that were compacted away count as read when the one after them is.
    total, reached = sum(ends[tp] - starts[tp] for tp in ends), dict(starts)
    found, count = HistoryReader(), 0
    async for tp, record in stretches(settings.kafka.brokers, starts, ends, whole=True):
        found.add(record.key, record.value)
        reached[tp] = record.offset + 1
        count += 1
        if count % _TELL_EVERY == 0:
            tell(sum(reached[tp] - starts[tp] for tp in reached), total)
    tell(total, total)
    return found
