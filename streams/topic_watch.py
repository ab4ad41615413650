"""Watches the topics under a running worker: none may be made anew, go, or change its partitions.

Invariant: the worker stops for what two looks in a row have seen; a broker that does not answer proves nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from streams.errors import OperatorError
from streams.recovery import check_topics
from streams.topic_ids import check_same

if TYPE_CHECKING:
    from streams.faust_app import ChunkApp

log = logging.getLogger(__name__)

#: Pause between two looks (seconds); what a look finds is looked at again sooner.
LOOK_SECONDS = 4.0
CONFIRM_SECONDS = 0.5


class TopicWatch:
    """Asks a broker every few seconds whether the app's topics are still those it took over."""

    def __init__(self, app: ChunkApp) -> None:
        self._app = app
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="topics")

    def stop(self) -> None:
        """End; nobody has to wait for it."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        suspected = False
        while not self._app.should_stop:
            await asyncio.sleep(CONFIRM_SECONDS if suspected else LOOK_SECONDS)
            try:
                await self._look()
            except OperatorError as error:
                if suspected:
                    await self._app.crash(error)
                    return
                suspected = True
            except (KafkaError, OSError, TimeoutError) as error:
                log.info("the topics could not be looked at: %r", error)
            else:
                suspected = False

    async def _look(self) -> None:
        app = self._app
        then = app.layouts
        now = await app.consumer._thread.layouts(app.expected_topics)
        if then is app.layouts:  # else they were looked at anew meanwhile
            check_topics(app.expected_topics, {topic: layout.partitions for topic, layout in now.items()})
            check_same(then, now)
