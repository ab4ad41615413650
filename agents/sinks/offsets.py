"""Sets a sink's offsets to where its store is: a store that was set back or emptied is filled again by itself.

Invariant: what is read next is never after what the store holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from faust.types import TP

from agents.sinks.place import Mark
from streams.faust_app import ChunkApp
from streams.log_state import committed_of


async def follow_store(
    app: ChunkApp, tps: Iterable[TP], marks: Mapping[tuple[str, int], Mark]
) -> dict[tuple[str, int], int]:
    """Commit, for each of *tps*, where reading has to begin; to be called with the right to write, before reading.

    Returns:
        Up to where the store is, (topic, partition) → offset; where it holds nothing, that is where the log begins.
    """
    wanted = set(tps)
    starts: dict[tuple[str, int], int] = {}
    first = await app.consumer._thread.first_offsets(wanted)
    committed = await committed_of(app.transactions.bootstrap, app.transactions.group)
    for tp in sorted(wanted):
        mark, known = marks[tp.topic, tp.partition], committed.get(tp)
        start = starts[tp.topic, tp.partition] = first[tp] if mark.next_offset is None else mark.next_offset
        # A store that is ahead has taken a chunk whose offset (and letters) did not go out: it comes again.
        if known is None or known > start or mark.next_offset is None:
            await app.transactions.commit(tp, start, [])
    return starts
