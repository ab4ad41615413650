"""Owns the life of a service that is one task: begun, and cancelled at its end.

Invariant: after `stop` the task has ended; what it raised is nobody's any more.
"""

from __future__ import annotations

import asyncio


class TaskService:
    """A service with start and stop, whose work is `_run`."""

    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=type(self).__name__)

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        raise NotImplementedError
