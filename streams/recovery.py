"""Owns what happens between an assignment and the first record: tables filled, positions checked.

Invariant: no source record is handed out before every table of the assignment
equals its committed changelog, every position was sought explicitly and the
application's own recovery has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from streams.errors import REBUILD, OperatorError
from streams.tables import ChunkTable

if TYPE_CHECKING:
    from streams.consumer_thread import Fetched

log = logging.getLogger(__name__)


class ShrunkenLogError(OperatorError):
    """A committed offset lies outside of its log: records are lost, or the topic was made anew."""

    def __init__(self, message: str) -> None:
        super().__init__(message, REBUILD)


class WrongTopicError(OperatorError):
    """A topic the app reads does not exist, or has another number of partitions than expected."""


class CutChangelogError(OperatorError):
    """The beginning of a changelog is gone: the table would come back without what was written there."""

    def __init__(self, tp: TP, first: int) -> None:
        super().__init__(
            f"{tp.topic}-{tp.partition}: the first {first} records of the changelog are gone, though a compacted topic "
            "keeps the last of every key; they were deleted, or its cleanup.policy is not `compact` alone",
            REBUILD,
        )


def check_whole(first_offsets: Mapping[TP, int]) -> None:
    """Check that changelogs begin at their beginning; compaction leaves that where it is.

    Raises:
        CutChangelogError: If one does not.
    """
    for tp, first in first_offsets.items():
        if first:
            raise CutChangelogError(tp, first)


def check_topics(expected: Mapping[str, int], found: Mapping[str, int]) -> None:
    """Check that each topic has the partitions it should have.

    Faust calls a worker ready that waits for a topic nobody made.

    Raises:
        WrongTopicError: If one does not.
    """
    for topic, partitions in expected.items():
        there = found.get(topic)
        if not there:
            raise WrongTopicError(
                f"topic {topic} does not exist", "Run `orgpulse topics create`; if it was deleted, `orgpulse rebuild`."
            )
        if there != partitions:
            raise WrongTopicError(
                f"topic {topic} has {there} partitions instead of {partitions}",
                "Keys live in other partitions now: run `orgpulse topics check`, which says what to do.",
            )


def checked_start(tp: TP, committed: int | None, first: int, end: int) -> int:
    """Return the offset to read *tp* from: the committed one, or the *first* where there is none.

    Raises:
        ShrunkenLogError: If *committed* is below *first* (records were deleted before
            they were read) or above *end* (the log is another one). Going on
            would lose or repeat records without a trace.

    >>> checked_start(TP("a", 0), None, 7, 9)
    7
    >>> checked_start(TP("a", 0), 9, 7, 9)
    9
    """
    if committed is None:
        return first
    if committed < first:
        raise ShrunkenLogError(f"{tp.topic}-{tp.partition}: committed {committed}, but the log begins at {first}")
    if committed > end:
        raise ShrunkenLogError(f"{tp.topic}-{tp.partition}: committed {committed}, but the log ends at {end}")
    return committed


class SafeRecovery(Recovery):  # type: ignore[misc]  # Faust carries no usable types
    """Faust's recovery, fed whole fetches by the consumer instead of single events through a queue.

    A standby follows the changelogs of partitions that others own; when one becomes
    its own, only what it has not read yet has to be read.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Changelog records applied to tables since the start.
        self.restored_records = 0
        self._warm: dict[TP, int] = {}  # next offset to read of each changelog partition that is followed

    @Service.task  # type: ignore[untyped-decorator,unused-ignore]  # mode carries no usable types
    async def _slurp_changelogs(self) -> None:
        """Do nothing: `take` is called by the consumer."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Begin anew: changelogs are read from their beginning, or from where a standby has read them to."""
        for tp in self.active_tps:
            self._warm.pop(tp, None)  # written here since, or dropped
        self.active_offsets.clear()
        self.standby_offsets.clear()
        # Left set by the last recovery, it would end this one before it has begun.
        self.signal_recovery_end.clear()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        for tp in self._warm.keys() - self.standby_tps - self.active_tps:
            del self._warm[tp]
            self.tp_to_table[tp].clear(tp.partition)

    def _add(self, table: ChunkTable, tp: TP, offsets: Any) -> None:
        """Note a changelog partition, and the offset of the last record that its table holds already."""
        self.tp_to_table[tp] = table
        read_to = self._warm.get(tp, 0)
        offsets[tp] = read_to - 1 if read_to else None

    def take(self, fetched: Fetched) -> None:
        """Apply a fetch to the tables and end the recovery when everything is read.

        A partition is done when the *position* has passed the end: the last offset
        may be a transaction marker or compacted away, and no record ever has it.
        """
        for tp, records in fetched.records.items():
            if tp.topic in self.tables.changelog_topics:
                self._apply(tp, records)
        self._warm |= {tp: position for tp, position in fetched.positions.items() if tp in self.standby_tps}
        if not self.in_recovery:
            return
        for tp, position in fetched.positions.items():
            end = self.active_highwaters.get(tp)
            if end is not None and tp in self.active_tps and position > end:
                self.active_offsets[tp] = end
        if not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()

    def _apply(self, tp: TP, records: list[Any]) -> None:
        if tp not in self.active_tps | self.standby_tps:
            # Faust would apply these to whichever table came before.
            log.warning("%d changelog records of %s-%d, which is not assigned", len(records), tp.topic, tp.partition)
            return
        self.tp_to_table[tp].restore(tp.partition, records)
        self.restored_records += len(records)
        offsets = self.active_offsets if tp in self.active_tps else self.standby_offsets
        offsets[tp] = records[-1].offset

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let the records flow, now that the tables are filled."""
        changelogs = set(self.active_tps)
        await self.app.consumer._thread.pause_fetching(changelogs)
        self._set_recovery_ended()
        await self._resume_streams(generation_id)

    async def _resume_streams(self, generation_id: int = 0) -> None:
        """Seek, let the application recover, and only then resume.

        The partitions stay paused until `flow_control.resume()` has emptied the
        queues: what came before that would be lost (#596).
        """
        app = self.app
        consumer = app.consumer
        await app.on_rebalance_complete.send()
        if app.consumer_generation_id != generation_id:
            return
        sources = {tp for tp in consumer.assignment() if tp.topic not in self.tables.changelog_topics}
        await self._finish(consumer.perform_seek())
        await self._finish(app.recovered(sources))
        if app.consumer_generation_id != generation_id:
            return
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_partitions(sources)
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()
        app.on_flowing()

    async def _finish(self, step: Awaitable[None]) -> None:
        """Wait for *step*, unless another rebalance or the end comes first (both raise)."""
        task = asyncio.ensure_future(step)
        try:
            await self._wait(task)
        finally:
            if not task.done():
                task.cancel()
        task.result()


class SafeTables(TableManager):  # type: ignore[misc]  # Faust carries no usable types
    """Faust's table manager with our recovery and nothing but our tables."""

    _own_recovery: SafeRecovery | None = None

    @property
    def recovery(self) -> SafeRecovery:
        """The recovery of this worker's tables."""
        if self._own_recovery is None:
            self._own_recovery = self._recovery = SafeRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._own_recovery

    def add(self, table: Any) -> Any:
        """Register *table*.

        Raises:
            TypeError: If it is not a `ChunkTable`: another one's changelog would
                be written outside of the transactions.
        """
        if not isinstance(table, ChunkTable):
            raise TypeError(f"{table!r} is not a ChunkTable")
        self.app.expected_topics[table.changelog] = table.partitions
        self.app.kept_topics.add(table.changelog)
        return super().add(table)

    async def on_start(self) -> None:
        """Start without Faust's second of waiting: all tables were added before."""
        await self._update_channels()
        await self.recovery.start()

    def drop(self, partitions: set[int]) -> None:
        """Drop *partitions* of every table from memory, but what a standby keeps."""
        for table in self.values():
            table.drop({p for p in partitions if TP(table.changelog, p) not in self.recovery.standby_tps})
