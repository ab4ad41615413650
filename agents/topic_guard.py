"""Lets a process begin only once its topics are there.

Owns what is told meanwhile. Invariant: it creates nothing.
"""

from __future__ import annotations

import asyncio

import structlog
from kafka.errors import KafkaError

from streams.kafka_granted import missing_rights, role_specs, told_missing
from streams.kafka_rights import Role
from streams.settings import Settings
from streams.side_thread import run_aside
from streams.topics import HIDDEN, BrokerError, connected_admin, problems_of

_log = structlog.get_logger(__name__)
_TOPIC_CHECK_SECONDS = 2.0


class TopicGuard:
    """A service that waits until every topic of a role exists, and this process's user has the role's rights."""

    def __init__(self, settings: Settings, role: Role = "worker") -> None:
        self._settings, self._role = settings, role
        self.problem = "not checked yet"

    async def start(self) -> None:
        """Return when every topic is there."""
        while True:
            try:
                self.problem = await run_aside(self._look)
            except BrokerError as error:
                self.problem = f"{error.message}: {error.remedy}"
            if not self.problem:
                return
            _log.warning("waiting for topics, and for the rights to them", problem=self.problem)
            await asyncio.sleep(_TOPIC_CHECK_SECONDS)

    def _look(self) -> str:
        """Return what is missing, empty when nothing is.

        Raises:
            BrokerError: If Kafka can't be reached or refuses to tell.
        """
        specs = role_specs(self._settings, self._role)
        with connected_admin(self._settings, wait_seconds=5.0) as admin:
            try:
                lacking = missing_rights(admin, self._settings, self._role, [spec.name for spec in specs])
            except KafkaError:  # a coordinator that is on its way; what follows asks again
                lacking = []
            if lacking:
                return ". ".join(told_missing(lacking, self._settings.kafka.username, self._role))
            problems = problems_of(admin, specs)
        missing = [p for p in problems if p.what in ("does not exist", HIDDEN) or "partitions" in p.what]
        return "; ".join(f"{p.topic} {p.what} ({p.remedy})" for p in missing)

    async def stop(self) -> None:
        """Nothing to end."""
