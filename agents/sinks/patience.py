"""Waits while a store is away, and knows how it is.

Owns the pauses and what is told meanwhile: /ready, metrics, a line in the log when it begins, every half minute, and
when it is over. Invariant: what waits is tried again until it is stored, or given up because its partition goes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from agents.sinks.errors import LeavingError, StoreAwayError
from agents.sinks.figures import SinkFigures
from streams.clock import Clock

FIRST_PAUSE_SECONDS = 0.5
_LOOK_SECONDS = 0.2
_TELL_AGAIN_SECONDS = 30.0
_log = structlog.get_logger(__name__)
Found = TypeVar("Found")


class Patience:
    """One store's."""

    def __init__(self, store: str, clock: Clock, figures: SinkFigures, longest_pause_seconds: float) -> None:
        self._store, self._clock, self._figures = store, clock, figures
        self._longest_pause_seconds = longest_pause_seconds
        self._problem, self._tries = "not asked yet", 0
        self._since, self._told_at = clock.now(), float("-inf")
        figures.set_up(False)

    @property
    def well(self) -> bool:
        """Whether the store took the last write."""
        return not self._problem

    def check(self) -> tuple[str, bool, str]:
        """Return whether the store is there; if not, what is wrong and since when."""
        if not self._problem:
            return self._store, True, "takes writes"
        since = datetime.fromtimestamp(self._since, UTC).isoformat(timespec="seconds")
        return self._store, False, f"{self._problem}, since {since} ({self._tries} tries)"

    async def until(self, work: Callable[[], Awaitable[Found]], leaving: Callable[[], bool]) -> Found:
        """Return what *work* leads to, trying again while the store is away.

        Raises:
            LeavingError: If the store was away and *leaving* said that there is nothing to wait for any more.
            OperatorError: If the store refuses for good.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                found = await work()
            except StoreAwayError as error:
                self._away(error, pause)
            else:
                self._back()
                return found
            until = time.monotonic() + pause
            while True:
                if leaving():
                    raise LeavingError
                if time.monotonic() >= until:
                    break
                await asyncio.sleep(min(_LOOK_SECONDS, pause))
            pause = min(2 * pause, self._longest_pause_seconds)

    def _away(self, error: StoreAwayError, pause: float) -> None:
        began = not self._problem or not self._tries
        self._figures.failed(error.kind, began=began)
        self._figures.set_up(False)
        if began:
            self._since, self._tries = self._clock.now(), 0
        self._problem = str(error)
        self._tries += 1
        if began or time.monotonic() - self._told_at >= _TELL_AGAIN_SECONDS:
            self._told_at = time.monotonic()
            _log.warning(
                "waiting for the store", store=self._store, problem=self._problem, tries=self._tries,
                next_try_seconds=pause,
            )  # fmt: skip

    def _back(self) -> None:
        if self._tries:
            away = round(self._clock.now() - self._since, 1)
            _log.warning("the store is back", store=self._store, away_seconds=away)
        self._problem, self._tries = "", 0
        self._figures.set_up(True)
