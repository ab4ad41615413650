"""Lets a process begin only once its topics are there.

Owns what is told meanwhile. Invariant: it creates nothing.
"""

from __future__ import annotations

import asyncio

import structlog

from streams.settings import Settings
from streams.side_thread import run_aside
from streams.topics import BrokerError, check_topics

_log = structlog.get_logger(__name__)
_TOPIC_CHECK_SECONDS = 2.0


class TopicGuard:
    """A service that waits until every topic exists."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.problem = "not checked yet"

    async def start(self) -> None:
        """Return when every topic is there."""
        while True:
            try:
                problems = await run_aside(lambda: check_topics(self._settings, wait_seconds=5.0))
                missing = [p for p in problems if p.what == "does not exist" or "partitions" in p.what]
                self.problem = "; ".join(f"{p.topic} {p.what} ({p.remedy})" for p in missing)
            except BrokerError as error:
                self.problem = f"{error.message}: {error.remedy}"
            if not self.problem:
                return
            _log.warning("waiting for topics", problem=self.problem)
            await asyncio.sleep(_TOPIC_CHECK_SECONDS)

    async def stop(self) -> None:
        """Nothing to end."""
