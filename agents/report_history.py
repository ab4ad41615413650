"""Reads the topic `weeks` for a report.

Invariant: only reads, in no group; committed records only.
"""

from __future__ import annotations

from agents.cli_progress import Tell
from agents.read_topic import records_of
from reports.history import HistoryReader
from streams.settings import Settings
from streams.topic_specs import topic_names


async def read_history(settings: Settings, tell: Tell) -> HistoryReader:
    """Return all of the topic; *tell* hears how many of its records are read.

    Raises:
        TopicMissingError: If there is no such topic.
        LookCutShortError: If not all of it could be read.
    """
    found = HistoryReader()
    async for _, record in records_of(settings.kafka, topic_names(settings).weeks, tell):
        found.add(record.key, record.value)
    return found
