"""Reads Redis for the page: within a time limit, remembering since when it is away; the list of orgs is kept a moment.

Invariant: a question ends within `LIMIT_SECONDS`, with an answer or a `ProblemError`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from agents.page.problems import of_reader
from streams.clock import Clock
from streams.published_index import OrgLine
from streams.reader_asyncio import AsyncReader
from streams.reader_errors import ReaderError, RedisAwayError
from streams.reader_questions import STALE_SECONDS
from streams.redis_access import connect_of
from streams.settings import Settings

LIMIT_SECONDS = 3.0
KEEP_LINES_SECONDS = 3.0
_CONNECTIONS = 8

T = TypeVar("T")


class Asking:
    """Questions of one page; of one event loop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Prepare, without connecting."""
        stale = max(STALE_SECONDS, 2 * settings.calibration.every_seconds)
        connect = connect_of(settings.redis, timeout_seconds=LIMIT_SECONDS / 2, max_connections=_CONNECTIONS)
        self.reader = AsyncReader(settings.redis.url, settings.redis.prefix, clock, stale, connect)
        self.away_since: datetime | None = None
        self.error = ""
        self._clock = clock
        self._lines: list[OrgLine] = []
        self._lines_at: float | None = None
        self._reading: asyncio.Future[list[OrgLine]] | None = None

    async def __call__(self, question: Awaitable[T]) -> T:
        """Return the answer to *question*.

        Raises:
            ProblemError: If there is none.
        """
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                answer = await question
        except TimeoutError:
            raise self._problem(RedisAwayError("it does not reply in time")) from None
        except ReaderError as error:
            raise self._problem(error) from error
        self.away_since, self.error = None, ""
        return answer

    async def lines(self) -> list[OrgLine]:
        """Return a line of each org, at most `KEEP_LINES_SECONDS` old; who asks meanwhile shares one reading.

        Raises:
            ProblemError: If there is no answer; all who share the reading get it at once.
        """
        if self._lines_at is not None and time.monotonic() - self._lines_at <= KEEP_LINES_SECONDS:
            return self._lines
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_lines())
        return await asyncio.shield(self._reading)

    async def _read_lines(self) -> list[OrgLine]:
        self._lines = await self(self.reader.org_lines())
        self._lines_at = time.monotonic()
        return self._lines

    def _problem(self, error: ReaderError) -> Exception:
        if isinstance(error, RedisAwayError) or self.away_since is None:
            self.away_since = self.away_since or datetime.fromtimestamp(self._clock.now(), UTC)
        self.error = str(error)
        return of_reader(error, f"{self.away_since:%Y-%m-%d %H:%M:%S} UTC")
