"""Owns the driver of agents: a chunk goes in, its outcome is committed, in order.

Invariant: a partition's outcomes are committed in the order of its chunks, those of one lane one transaction after
the other, and after the first error nothing is committed any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faust.types import TP

from streams.transactions import Outgoing
from streams.transport import QUEUED_CHUNKS, Chunk, ChunkSchema

if TYPE_CHECKING:
    from streams.faust_app import ChunkApp


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a chunk leads to: records, the offset to read next, and what to do once both are committed.

    `further` makes records that something must be looked up for; the agent does not wait for it, the commit does.
    """

    records: Sequence[Outgoing]
    next_offset: int
    after_commit: Callable[[], None] | None = None
    further: Callable[[], Awaitable[Sequence[Outgoing]]] | None = None


#: Outcomes of one lane that wait for its commit; at more its agents wait too.
MOST_WAITING = 64
#: From so many on, no commit is put off any longer.
MUCH_WAITING = 16

Handler = Callable[[Chunk], "Outcome | Awaitable[Outcome | None] | None"]


class DrainTimeoutError(RuntimeError):
    """Chunks under way did not end in time before their partitions had to be given up."""


class HoleError(RuntimeError):
    """A chunk does not begin where the former one of its partition ended: records would be lost or repeated."""


class ChunkDriver:
    """Runs handlers and commits their outcomes, each partition's in order.

    The commit of one lane runs while the handlers work on its next chunks; at most one commit a lane is under way.
    Outcomes that come meanwhile wait and then go out together: the slower commits are, the more goes into each. A
    commit begins `commit_seconds` after the former one began at the earliest, unless much waits.
    """

    def __init__(self, app: ChunkApp) -> None:
        self.app = app
        self._commits: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, list[tuple[TP, Any, Outcome]]] = {}
        self._much: dict[str, asyncio.Event] = {}
        self._hurry = False
        self._handling = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._failed = False
        #: Offset after the last handled record, by partition.
        self.handled: dict[TP, int] = {}
        #: Records handled since the start, by topic.
        self.records: dict[str, int] = {}
        #: Which call of its handler each topic is in; handlers take one chunk after the other.
        self.at_work: dict[str, int] = {}
        self._calls = 0
        #: How often handlers said that they get on.
        self.steps = 0

    def note_step(self) -> None:
        """Note that a handler gets on with a long chunk."""
        self.steps += 1

    async def run(self, stream: Any, handler: Handler) -> None:
        """Feed *handler* the chunks of *stream* until the app stops."""
        async for event in stream.noack().events():
            if self._failed:
                return
            self._handling += 1
            self._idle.clear()
            try:
                await self._handle(event, handler)
            except Exception as error:  # noqa: BLE001  # any error ends the worker
                await self.fail(error)
                return
            finally:
                self._handling -= 1
                if not self._handling:
                    self._idle.set()
            await asyncio.sleep(0)

    async def _handle(self, event: Any, handler: Handler) -> None:
        chunk: Chunk = event.message
        expected = self.handled.get(chunk.tp)
        if expected is not None and chunk.begin != expected:
            raise HoleError(
                f"{chunk.tp.topic}-{chunk.tp.partition}: next is {expected}, but a chunk from {chunk.begin} came"
            )
        self._calls += 1
        self.at_work[chunk.tp.topic] = self._calls
        try:
            result = handler(chunk)
            outcome = await result if inspect.isawaitable(result) else result
        finally:
            self.at_work.pop(chunk.tp.topic, None)
        self.handled[chunk.tp] = chunk.next_offset
        self.records[chunk.tp.topic] = self.records.get(chunk.tp.topic, 0) + len(chunk.records)
        if outcome is None:
            chunk.done = True
            event.ack()
            return
        lane = self.app.transactions.lane_of(chunk.tp)
        waiting = self._waiting.setdefault(lane, [])
        waiting.append((chunk.tp, event, outcome))
        running = self._commits.get(lane)
        if running is None or running.done():
            much = self._much.setdefault(lane, asyncio.Event())
            running = self._commits[lane] = asyncio.create_task(self._commit(lane, waiting, much))
        if len(chunk.records) >= self.app.max_chunk or len(waiting) >= MUCH_WAITING:
            self._much[lane].set()
        if len(waiting) >= MOST_WAITING:
            await running

    async def _commit(self, lane: str, waiting: list[tuple[TP, Any, Outcome]], much: asyncio.Event) -> None:
        """Commit what waits for *lane*, all of it in one transaction, until nothing does."""
        try:
            while waiting and not self._failed:
                began = time.monotonic()
                much.clear()
                together, waiting[:] = list(waiting), []
                await self._commit_together(together)
                if self.app.commit_seconds and not self._hurry:
                    pause = began + self.app.commit_seconds - time.monotonic()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(much.wait(), max(0.0, pause))
        except Exception as error:  # noqa: BLE001  # any error ends the worker
            await self.fail(error)

    async def _commit_together(self, together: list[tuple[TP, Any, Outcome]]) -> None:
        transactions, origins = self.app.transactions, self.app.origins
        records = [record for _, _, outcome in together for record in outcome.records]
        # At once: one after the other, a row of look-ups could take longer than a commit may.
        further = [outcome.further() for _, _, outcome in together if outcome.further is not None]
        records += [record for made in await asyncio.gather(*further) for record in made]
        offsets = {tp: outcome.next_offset for tp, _, outcome in together}
        if origins is not None:
            records += [record for tp in offsets for record in origins.first(tp, self.app.layouts)]
        await transactions.commit_all(offsets, self.app.bundle(records))
        for _, event, outcome in together:
            if outcome.after_commit is not None:
                outcome.after_commit()
            event.message.done = True
            event.ack()

    async def fail(self, error: BaseException) -> None:
        """Stop the worker; nothing is committed from here on."""
        self._failed = True
        await self.app.crash(error)

    async def drain(self, timeout_seconds: float) -> None:
        """Wait until no chunk is under way.

        Raises:
            DrainTimeoutError: If that takes longer than *timeout_seconds*.
        """
        self._hurry = True
        for much in self._much.values():
            much.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
                await asyncio.gather(*self._commits.values())
        except TimeoutError as error:
            raise DrainTimeoutError(f"chunks still under way after {timeout_seconds} s") from error
        finally:
            self._hurry = False
        self._commits.clear()


def add_chunk_agent(
    app: ChunkApp, topic_name: str, handler: Handler, *, name: str, partitions: int | None = None, kept: bool = False
) -> Any:
    """Register an agent that hands the chunks of *topic_name* to *handler*.

    The handler may be a plain or an async function. It returns what to commit, or
    None when there is nothing to commit yet. An exception stops the worker, and so
    does a topic that has not *partitions* partitions (default: the app's number).
    *kept* says that the app alone writes the topic: then no offset of any topic is
    of use once it was made anew.
    """
    app.expected_topics[topic_name] = width = partitions or app.partitions
    if kept:
        app.kept_topics.add(topic_name)
    topic = app.topic(topic_name, schema=ChunkSchema(), maxsize=QUEUED_CHUNKS, partitions=width)

    async def work(stream: Any) -> None:
        await app.chunks.run(stream, handler)

    return app.agent(topic, name=name)(work)
