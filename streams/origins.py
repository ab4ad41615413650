"""Remembers, beside the state, which logs the state came from.

    table origins, partition 2:   events → id of the topic that offsets of events-2 were first committed for

Kafka forgets the committed offsets of a topic that is deleted, and those of a group that was idle for a week; a worker
would then begin anew on top of the state that it has. Invariant: a partition that was read before is read on from
its committed offset and from the same log, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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

    def check_topics(self, partitions: Iterable[int], now: Mapping[str, Layout]) -> None:
        """Check that no log which *partitions* were read from was made anew, whether it is assigned here or not.

        Raises:
            RecreatedTopicError: If one was.
        """
        for partition in partitions:
            for key, known in self._table.items(partition):
                layout = now.get(key.decode())
                if layout is not None and layout.id and known not in (_NO_ID, layout.id.encode()):
                    raise RecreatedTopicError(key.decode(), known.decode(), layout.id)

    def check(self, tp: TP, committed: int | None) -> None:
        """Check that *tp* is read on where its state ends.

        Raises:
            LostOffsetError: If there is state of it but no committed offset.
        """
        if committed is None and self._table.read(tp.partition, tp.topic.encode()) is not None:
            raise LostOffsetError(tp)

    def first(self, tp: TP, now: Mapping[str, Layout]) -> list[Outgoing]:
        """Return what goes out with the first commit of *tp* ever: where it comes from; nothing with later ones."""
        key = tp.topic.encode()
        if self._table.read(tp.partition, key) is not None:
            return []
        layout = now.get(tp.topic)
        return [self._table.stage(tp.partition, key, layout.id.encode() if layout and layout.id else _NO_ID)]
