"""What of an org's latency Prometheus gets.

Invariant: a share is None, and has no sample, where nothing could be shared out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from state.effects import LatencyMap
from state.latency import Latency
from state.shard import Shard
from state.week import HOUR_MS, QUARTER_MS, WEEK_HOURS
from streams.org_metrics import REPLY_BOUNDS_SECONDS, OrgMetrics, WeekLatency

ORGS_AT_A_TIME = 100
_BOUNDS_MS = np.array(REPLY_BOUNDS_SECONDS, np.int64) * 1000


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


def week_replies(latency: Latency, org: str, now_ms: int) -> tuple[int, ...]:
    """Return how many replies to messages of the rolling week took up to each bound, and all; empty = there are none.

    Unlike a map, which covers months, this tells one week from another. Replies that are still to come are missing
    in every week alike.
    """
    start_ms = (now_ms // HOUR_MS - WEEK_HOURS) * HOUR_MS
    waits_ms, counts = latency.waits_between(org, start_ms, now_ms + QUARTER_MS)
    if not len(waits_ms):
        return ()
    groups = np.searchsorted(_BOUNDS_MS, waits_ms)
    by_bound = np.bincount(groups, weights=counts, minlength=len(_BOUNDS_MS) + 1)
    return tuple(np.cumsum(by_bound).astype(np.int64).tolist())


class WeekReplies:
    """Shows them: of orgs whose map was told, and anew each hour of all that have any, for time passes for these too.

    So many orgs at a time that a backlog, in which hours pass at every tick, is not slowed down.
    """

    def __init__(self, orgs: OrgMetrics) -> None:
        self._orgs = orgs
        self._hours: dict[int, int] = {}
        self._waiting: dict[int, list[str]] = {}

    def show(self, shard: Shard, told: Iterable[str]) -> None:
        """Set what the metrics show of a partition; *told* are the orgs to which replies may have come."""
        partition, hour = shard.partition, shard.watermark_ms // HOUR_MS
        waiting = self._waiting.get(partition, [])
        if not waiting and self._hours.get(partition) != hour:
            self._hours[partition] = hour
            waiting = sorted(self._orgs.with_week_replies(partition), reverse=True)
        self._waiting[partition] = waiting[:-ORGS_AT_A_TIME]
        for org in {*told, *waiting[-ORGS_AT_A_TIME:]}:
            self._orgs.set_week_replies(partition, org, week_replies(shard.latency, org, shard.watermark_ms))

    def drop(self, partition: int) -> None:
        """Forget a partition that another worker owns now."""
        self._hours.pop(partition, None)
        self._waiting.pop(partition, None)
