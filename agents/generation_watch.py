"""Watches, under a running worker, which generation is live; the end of its own is the end of this life.

Invariant: a worker aside is left alone; any other that is not of the live generation starts anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.errors import StartAnewError
from streams.generation import KEY, Generation, generation_in
from streams.log_reader import Follower
from streams.settings import Settings
from streams.topic_specs import topic_names


class GenerationWatch:
    """A service; start and stop. *fail* ends the worker with the error it is given."""

    def __init__(self, settings: Settings, fail: Callable[[BaseException], None]) -> None:
        self._mine, self._aside, self._fail = settings.worker.generation, settings.worker.aside != "no", fail
        self._found = Generation()
        self._follower = Follower(settings.kafka, [topic_names(settings).control], self._take)

    async def start(self) -> None:
        """Begin, and return once the present generation is known."""
        if not self._aside:
            await self._follower.start()
            self._judge()

    async def stop(self) -> None:
        """End."""
        await self._follower.stop()

    def _take(self, _: str, record: Any) -> None:
        if record.key == KEY:
            self._found = generation_in(record.value)
            if self._follower.is_caught_up:  # what was before is history
                self._judge()

    def _judge(self) -> None:
        found = self._found
        if found.number > self._mine or found.state != "live":
            self._fail(StartAnewError(f"generation {found.number} takes the place of {self._mine} ({found.state})"))
