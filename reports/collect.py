"""Gathers what a comparison needs: raw topics, Redis, the workers' metrics, once the system is at rest.

Owns the reading of a running installation from outside. Invariant: writes
nothing, joins no group, and a `Rest` was the same before and after Redis was
read, so its documents belong to one running window of ten minutes.
"""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from reports.recount_people import Raw

RAW_TOPICS = ("product-events", "syslog-activities", "chat-messages", "transactions", "users", "orgs", "identities")
_POLL_SECONDS = 0.5
_LAG, _PENDING = "orgpulse_lag_messages", "orgpulse_redis_pending_writes"
_TOLD = "orgpulse_redis_resync_ratio"
_WATERMARK = "orgpulse_watermark_timestamp_seconds"
_STEADY = ("orgpulse_calibration_generation", "orgpulse_population_users", "orgpulse_rebalances_total")
_TICKS_UNDER_WAY = 12
"""Records of a partition of `activities` that may be uncommitted at rest: two ticks a second come to one that is quiet.
As many come while rest is waited for, so whatever else was there before has been handled at the end of that time."""
_SPREAD_SECONDS = 5.0
_WINDOW_SECONDS = 600
"""Every ten minutes chat's windows are others, and every hour the rolling week: documents are told anew then."""
_OF_WORKERS = ("worker:", "workers")
"""What workers say of themselves; it tells nothing of the messages and changes all the time."""

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]  # sample name → sorted labels → value
Documents = dict[str, dict[str, Any]]  # Redis key without prefix → fields of a hash, or members of a sorted set


class NotAtRestError(TimeoutError):
    """The system did not come to rest in time; the text says what was still moving."""


@dataclass(frozen=True)
class Rest:
    """The system at rest: end of the rolling week (ms), each worker's metrics, Redis."""

    as_of_ms: int
    metrics: list[Samples]
    documents: Documents = field(default_factory=dict)


def read_raw(brokers: str | Mapping[str, Any], prefix: str = "", topics: Sequence[str] = RAW_TOPICS) -> list[Raw]:
    """Return every record of *topics* that is there now; *brokers* are addresses, or a client's arguments.

    Raises:
        LookupError: If a topic is not there.
    """
    return asyncio.run(_read_raw(brokers, prefix, topics))


async def _read_raw(brokers: str | Mapping[str, Any], prefix: str, topics: Sequence[str]) -> list[Raw]:
    names = {prefix + topic: topic for topic in topics}
    access = {"bootstrap_servers": brokers} if isinstance(brokers, str) else brokers
    consumer = AIOKafkaConsumer(
        *names, **access, enable_auto_commit=False, isolation_level="read_committed",
        max_partition_fetch_bytes=4 * 1024 * 1024,
        # Not a seek: the reset to "latest", under way since the assignment, might come after it and skip everything.
        auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    try:
        tps = sorted(consumer.assignment())
        if missing := names.keys() - {tp.topic for tp in tps}:
            raise LookupError(f"no topic {', '.join(sorted(missing))}")
        ends = await consumer.end_offsets(tps)
        found: list[Raw] = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=300)).items():
                topic = names[tp.topic]
                found += [(topic, tp.partition, r.offset, r.key, r.value, r.timestamp) for r in records]
        return found
    finally:
        await consumer.stop()


def read_redis(url: str, prefix: str) -> Documents:
    """Return all hashes and sorted sets under *prefix*, but for what workers say of themselves."""
    client: Any = Redis.from_url(url, decode_responses=True)
    try:
        found_keys = client.scan_iter(match=prefix + "*", count=1000)
        keys = sorted(key for key in found_keys if not key.removeprefix(prefix).startswith(_OF_WORKERS))
        kinds = _piped(client, "type", keys)
        hashes = [k for k, kind in zip(keys, kinds, strict=True) if kind == "hash"]
        ranks = [k for k, kind in zip(keys, kinds, strict=True) if kind == "zset"]
        found = dict(zip(hashes, _piped(client, "hgetall", hashes), strict=True))
        for key in ranks:
            found[key] = dict(client.zrange(key, 0, -1, withscores=True))
        return {key.removeprefix(prefix): value for key, value in found.items()}
    finally:
        client.close()


def read_changes(url: str, prefix: str) -> list[dict[str, str]]:
    """Return the entries of the stream of changes that Redis still has, oldest first."""
    client: Any = Redis.from_url(url, decode_responses=True)
    try:
        return [fields for _, fields in client.xrange(prefix + "changes")]
    finally:
        client.close()


def _piped(client: Any, command: str, keys: Sequence[str]) -> list[Any]:
    pipe = client.pipeline(transaction=False)
    for key in keys:
        getattr(pipe, command)(key)
    return list(pipe.execute())


def read_metrics(url: str, names: Sequence[str] = ()) -> Samples:
    """Return the samples on a worker's metrics page, all or those whose names begin with one of *names*.

    Raises:
        OSError: If the worker does not answer.
    """
    with urllib.request.urlopen(url, timeout=5) as reply:
        text = reply.read().decode()
    if names:
        text = "".join(line + "\n" for line in text.splitlines() if line.startswith(tuple(names)))
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # A worker's tenant is on all that it shows, so it tells nothing apart here.
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "tenant"))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def by_label(samples: Samples, name: str, label: str) -> Mapping[str, float]:
    """Return the values of a metric by one of its labels, added up over the others."""
    found: dict[str, float] = {}
    for labels, value in samples.get(name, {}).items():
        key = dict(labels)[label]
        found[key] = found.get(key, 0) + value
    return found


def unrest(metrics: Sequence[Samples], partitions: int, activities_topic: str) -> str:
    """Return what is still moving, the empty string when nothing is."""
    marks: dict[str, float] = {}
    for samples in metrics:
        for labels, lag in samples.get(_LAG, {}).items():
            topic = dict(labels)["topic"]
            if lag > (_TICKS_UNDER_WAY if topic == activities_topic else 0):
                return f"{topic} lags by {lag:.0f}: {samples[_LAG]}"
        if pending := samples.get(_PENDING, {}).get((), 1.0):
            return f"{pending:.0f} writes wait for Redis"
        if (told := samples.get(_TOLD, {}).get((), 1.0)) < 1:
            return f"Redis was told {told:.0%} of what a worker took over"
        marks |= by_label(samples, _WATERMARK, "partition")
    if len(marks) < partitions:
        return f"{len(marks)} of {partitions} partitions are owned"
    known = sum(len(s.get("orgpulse_lag_messages", {})) for s in metrics)
    if known < partitions * (len(RAW_TOPICS) - 1):  # nobody owns `identities`: every worker reads all of it
        return f"the lag of {known} partitions is known"
    times = [mark for mark in marks.values() if mark]
    if not times:
        return "no events yet"
    if max(times) - min(times) > _SPREAD_SECONDS or max(times) // 3600 != min(times) // 3600:
        return f"watermarks differ by {max(times) - min(times):.1f} s"
    return ""


def wait_at_rest(
    urls: Sequence[str], *, partitions: int, activities_topic: str, settle_seconds: float, timeout_seconds: float,
    redis_url: str = "", redis_prefix: str = "",
) -> Rest:  # fmt: skip
    """Wait until nothing moves for *settle_seconds* (two calibration rounds and a little), then read Redis.

    Args:
        urls: The workers' metrics pages.
        partitions: How many partitions must be owned by them together.
        activities_topic: Its name with prefix; it always moves a little, for it carries the ticks.
        settle_seconds: How long the cut points' generation must stay the same.
        timeout_seconds: Patience.
        redis_url: Read when given.
        redis_prefix: Of the keys.

    Raises:
        NotAtRestError: If it takes longer; says what moved last.
    """
    deadline = time.monotonic() + timeout_seconds
    since, former, moving = time.monotonic(), None, ""
    while time.monotonic() < deadline:
        try:
            metrics = [read_metrics(url, (_LAG, _PENDING, _WATERMARK, *_STEADY)) for url in urls]
            moving = unrest(metrics, partitions, activities_topic)
        except (OSError, urllib.error.URLError) as error:
            metrics, moving = [], f"a worker does not answer: {error}"
        state = same_at_rest(metrics)
        if moving or state != former:
            since, former = time.monotonic(), state
        elif time.monotonic() - since >= settle_seconds:
            documents = read_redis(redis_url, redis_prefix) if redis_url else {}
            after = [read_metrics(url) for url in urls]
            if not unrest(after, partitions, activities_topic) and same_at_rest(after) == state:
                return Rest(_as_of_ms(after), after, documents)
            since = time.monotonic()
        time.sleep(_POLL_SECONDS)
    raise NotAtRestError(f"not at rest after {timeout_seconds:g} s: {moving or f'state was {former}'}")


def _as_of_ms(metrics: Sequence[Samples]) -> int:
    marks = [m for s in metrics for m in by_label(s, _WATERMARK, "partition").values()]
    return int(min((m for m in marks if m), default=0) * 1000)


def same_at_rest(metrics: Sequence[Samples]) -> tuple[object, ...]:
    """Return what must not change at rest: each partition's window, the population, the cut points' generation."""
    windows = sorted(
        (partition, mark // _WINDOW_SECONDS)
        for samples in metrics for partition, mark in by_label(samples, _WATERMARK, "partition").items()
    )  # fmt: skip
    return tuple(windows), *(tuple(s.get(name, {}).values()) for s in metrics for name in _STEADY)
