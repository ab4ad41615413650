"""What of an org's latency Prometheus gets.

Invariant: a share is None, and has no sample, where nothing could be shared out.
"""

from __future__ import annotations

from state.effects import LatencyMap
from streams.org_metrics import WeekLatency


def week_latency(found: LatencyMap) -> WeekLatency:
    """Return the figures of a map."""
    seconds_ms, _, messages, answered, _, within = found.whole
    return WeekLatency(
        {hour: cell[0] / 1000 for hour, cell in found.cells.items() if cell[0] is not None},
        None if seconds_ms is None else seconds_ms / 1000,
        answered / messages if messages else None,
        within / messages if messages else None,
        str(found.quantile),
    )
