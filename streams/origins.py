"""Remembers, beside the state, which logs the state came from.

    table origins, partition 2:   events → id of the topic that offsets of events-2 were first committed for

Kafka forgets the committed offsets of a topic that is deleted, and those of a group that was idle for a week; a worker
would then begin anew on top of the state that it has. Invariant: a partition that was read before is read on from
its committed offset and from the same log, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from faust.types import TP

from streams.errors import REBUILD, OperatorError
from streams.tables import ChunkTable
from streams.topic_ids import Layout, RecreatedTopicError
from streams.transactions import Outgoing

_NO_ID = b"?"  # the broker knows no ids


class LostOffsetError(OperatorError):
    """Records of a partition are in the state, but the group no longer knows how many."""

    def __init__(self, tp: TP) -> None:
        super().__init__(
            f"{tp.topic}-{tp.partition} was read before, but the group has no offset of it any more: reading it again "
            "would count its records twice",
            REBUILD,
        )


class Origins:
    """The origins of the partitions that this worker has; *table* is theirs alone."""

    def __init__(self, table: ChunkTable) -> None:
        self._table = table

    def check(self, tp: TP, committed: int | None, now: Mapping[str, Layout]) -> None:
        """Check that *tp* is read on where its state ends.

        Raises:
            RecreatedTopicError: If the topic was made anew since its first commit.
            LostOffsetError: If there is state of it but no committed offset.
        """
        known = self._table.read(tp.partition, tp.topic.encode())
        if known is None:
            return
        found = now[tp.topic].id if tp.topic in now else ""
        if found and known != _NO_ID and known.decode() != found:
            raise RecreatedTopicError(tp.topic, known.decode(), found)
        if committed is None:
            raise LostOffsetError(tp)

    def first(self, tp: TP, now: Mapping[str, Layout]) -> list[Outgoing]:
        """Return what goes out with the first commit of *tp* ever: where it comes from; nothing with later ones."""
        key = tp.topic.encode()
        if self._table.read(tp.partition, key) is not None:
            return []
        layout = now.get(tp.topic)
        return [self._table.stage(tp.partition, key, layout.id.encode() if layout and layout.id else _NO_ID)]
