"""A made-up week as two workers show it: every metric set, 168 hours of latency with holes, an org that both show.

Invariant: what is set is a function of org, hour and how many weeks ago, so that a test can say what has to be shown.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from state.effects import GroupTotal
from streams.http import HttpServer
from streams.metric_kinds import Count, Level, Spread
from streams.metrics import Metrics
from streams.org_metrics import ALL, REPLY_BOUNDS_SECONDS, ChatFigures, WeekLatency

ORGS = {"northwind": 0.05, "acme & sons": 0.15, "bolt": 0.62}
"""Scores of the orgs."""
MOVED = {"northwind": 0.12, "acme & sons": 0.01, "bolt": -0.2}
"""How much higher they were each week before."""
ALERT = "northwind"
ALERT_SINCE_MS = 1_790_000_000_000
SILENT = "bolt"
"""An org without presence samples."""
ONLY_HOURS = range(8, 18)  # in which northwind has messages

_VALUES = {
    "topic": ("product-events", "chat-messages"), "partition": ("0", "1"), "reason": ("bad_time", "not_json"),
    "what": ("look", "transaction"), "table": ("shard",), "kind": ("active", "licensed"),
    "band": ("healthy", "watch", "at_risk"),
    "attribute": ("logins", "replies"), "version": ("0.1.0",), "python": ("3.11",), "group_type": ("SMB",),
}  # fmt: skip
_OUTCOMES = ("consumed", "forwarded", "released", "accepted", "duplicate", "late", "parked", "dead_lettered", "applied")


def latency_seconds(org: str, hour: int, weeks_ago: int) -> float | None:
    """The cell of an hour of the week (0 = Monday 00:00); None = no reply."""
    weekday, of_day = divmod(hour, 24)
    if org == "northwind" and (of_day not in ONLY_HOURS or weekday > 4):
        return None
    if (hour + weeks_ago) % 13 == 0:  # holes, at other hours every week
        return None
    return 60.0 * (1 + hour) + 7.5 * of_day * weeks_ago


def metrics_of(weeks_ago: int, orgs: tuple[str, ...], worker: int = 0) -> Metrics:
    """What a worker shows that has *orgs*, now or some weeks ago."""
    metrics = Metrics()
    for value in vars(metrics).values():
        if isinstance(value, (Count, Level)):
            _fill(value)
        elif isinstance(value, Spread):
            for bound in value.bounds:
                value.observe(bound, 3)
    now = time.time() - weeks_ago * 7 * 86_400
    for level in (metrics.watermark, metrics.last_commit):
        for labels in list(level.values):
            level.set(now - 5, *labels)
    metrics.set_groups({"SMB": GroupTotal(3, 6, 10, 12_000, 12_000)})
    for number, org in enumerate(orgs):
        _show(metrics, org, number, weeks_ago)
    metrics.set_bands(worker, {"healthy": 7, "watch": 2, "at_risk": 1})
    if worker == 0:
        metrics.orgs.set_latency(-1, ALL, _week(ALL, weeks_ago))
    return metrics


def _show(metrics: Metrics, org: str, number: int, weeks_ago: int) -> None:
    score = ORGS[org] + weeks_ago * MOVED[org]
    for kind, part in (("active", 1.0), ("licensed", 0.5), ("median", 0.9)):
        metrics.set_org(0, org, kind, score * part)
    metrics.set_org_size(0, org, 10 + number, 1_000 + number)
    metrics.orgs.set_latency(0, org, _week(org, weeks_ago))
    metrics.orgs.set_week_replies(0, org, tuple(range(1, len(REPLY_BOUNDS_SECONDS) + 2)))
    metrics.orgs.set_chat(0, org, ChatFigures(None if org == SILENT else 5 + number, 0.5 + number, 7, 1_790_000_000))
    if org == ALERT:
        metrics.orgs.set_alert(0, org, ALERT_SINCE_MS)


def _week(org: str, weeks_ago: int) -> WeekLatency:
    cells = {hour: latency_seconds(org, hour, weeks_ago) for hour in range(168)}
    found = {hour: seconds for hour, seconds in cells.items() if seconds is not None}
    return WeekLatency(found, 3_600.0 + 60 * weeks_ago, 0.9, 0.6)


def _fill(value: Count | Level) -> None:
    """Set or count something under each combination of a few values of its labels."""
    combined: list[tuple[str, ...]] = [()]
    for label in value.labels:
        known = _OUTCOMES if label == "outcome" else _VALUES[label]
        combined = [(*labels, each) for labels in combined for each in known]
    for labels in combined:
        if isinstance(value, Count):
            value.add(3, *labels)
        elif not value.values.get(labels):
            value.set(1, *labels)


@contextmanager
def served(*workers: Metrics) -> Iterator[list[str]]:
    """Serve each one's `/metrics` as a worker does, in a thread; yield their addresses ``host:port``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = [HttpServer("127.0.0.1", 0, each.registry, list) for each in workers]
    try:
        for server in servers:
            asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield [f"127.0.0.1:{server.port}" for server in servers]
    finally:
        for server in servers:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
