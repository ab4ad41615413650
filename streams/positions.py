"""Where reading stands: how far each partition is handled, and what it hangs on.

Owns the look into the states of Faust and aiokafka for that. Invariant: it only looks, and asks no broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from faust.types import TP

from streams.held_back import waiting_in

if TYPE_CHECKING:
    from streams.faust_app import ChunkApp


class Position(NamedTuple):
    """Where reading of a source partition stands; offsets."""

    #: Next offset to handle.
    next_offset: int
    #: End of what may be read (transactions that are still open are not).
    end: int

    @property
    def lag(self) -> int:
        """Records (and transaction markers) that are not handled yet."""
        return max(0, self.end - self.next_offset)


def positions_of(app: ChunkApp, ends: Mapping[TP, int] | None = None) -> dict[TP, Position]:
    """Return where each live source partition stands; how much waits is known from the last fetch, or from *ends*."""
    ends = ends or {}
    held = waiting_in(app.held_back)
    found: dict[TP, Position] = {}
    for tp in app.live:
        state = app.consumer._thread.state_of(tp)
        if state is None or not state.has_valid_position:
            if tp in ends:
                found[tp] = Position(app.chunks.handled.get(tp, 0), ends[tp])
            continue
        fetched: int = state.position
        end = state.lso if state.lso is not None and state.lso >= 0 else state.highwater
        handled = app.chunks.handled.get(tp, app.consumer._committed_offset[tp] or 0)
        # A position moves over markers without a chunk; then everything before it is handled.
        behind = tp in held or app.consumer.last_handed_out(tp) > handled
        known = max(fetched if end is None else end, ends.get(tp, 0), app.asked_ends.get(tp, 0) if tp in held else 0)
        found[tp] = Position(handled if behind else fetched, known)
    return found


def standing_of(app: ChunkApp) -> str:
    """Return what reading hangs on, for the log of a worker that stands still."""
    consumer, commits = app.consumer, [str(tp) for tp, task in app.chunks._commits.items() if not task.done()]
    seen = {
        "flow": consumer.flow_active,
        "recovering": app.in_recovery,
        "active": len(consumer._active_partitions or ()),
        "paused": len(consumer._paused_partitions),
        "buffered": sorted(map(str, consumer._buffered_partitions)),
        "queued": sum(topic.queue.qsize() for topic in app.topics),
        "handling": app.chunks._handling,
        "committing": sorted(commits),
        "fetched": consumer._thread.buffered(),
    }
    return ", ".join(f"{name} {value}" for name, value in seen.items())
