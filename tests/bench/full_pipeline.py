"""Measures the full pipeline: decode, check, resolve, re-key, fold, score, publish.

A directory and *events* messages wait in Kafka; two workers start on them. Timed
from the first message consumed to the last one folded and committed. With
`--small-job` the small job of `tests.bench.small_job` runs before it on the same
broker, and the ratio is printed.

    python -m tests.bench.full_pipeline --events 1000000 --small-job
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence

import redis

from tests.bench import small_job
from tests.bench.ground import Ground, changes_of, directory, events, ground, load, run, settings_option


def pipeline_rate(
    place: Ground, count: int, orgs: int, users: int, workers: int,
    on_start: Callable[[Sequence[int]], None] = lambda pids: None,
) -> dict[str, float]:  # fmt: skip
    """Return figures of *workers* workers over *count* messages; *on_start* hears their process ids at the start."""
    settings = place.settings
    prefix, brokers, partitions = settings.kafka.prefix, settings.kafka.brokers, settings.kafka.partitions
    run(load(brokers, partitions, directory(prefix, orgs, users)))
    place.start_workers(workers)
    while place.metric("orgpulse_directory_users") < users * workers:
        time.sleep(0.2)
    now = time.time()
    began_loading = time.perf_counter()
    place.stop_workers()
    run(load(brokers, partitions, events(prefix, orgs, users, count, now - 6 * 86400, now - 60, seed=1)))
    loading = time.perf_counter() - began_loading
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    place.start_workers(workers)
    on_start([worker.pid for worker in place.workers])
    started, done_at, consumed = 0.0, 0.0, 0.0
    while consumed < count:
        consumed = place.metric("orgpulse_events_total", 'outcome="consumed"')
        moment = time.perf_counter()
        if consumed and not started:
            started = moment
        if consumed >= count:
            done_at = moment
        time.sleep(0.1)
    while place.metric("orgpulse_lag_messages") > 0:
        time.sleep(0.1)
    folded_at = time.perf_counter()
    place.stop_workers()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    store = redis.Redis.from_url(settings.redis.url)
    users_in_redis = sum(1 for _ in store.scan_iter(f"{settings.redis.prefix}user:*", count=10_000))
    return {
        "messages": count,
        "workers": workers,
        "loading_seconds": loading,
        "ingest_rate": count / (done_at - started),
        "rate": count / (folded_at - started),
        "worker_cpu_seconds": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
        "users_in_redis": users_in_redis,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--redis")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--orgs", type=int, default=500)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--small-job", action="store_true")
    settings_option(parser)
    wanted = parser.parse_args()
    changes = changes_of(wanted.set)
    with ground(wanted.brokers, wanted.redis, changes) as place:
        figures = {}
        if wanted.small_job:
            figures["small_job_rate"] = small_job.measure(place.settings.kafka.brokers, "chunks", wanted.events)
        figures |= pipeline_rate(place, wanted.events, wanted.orgs, wanted.users, wanted.workers)
    if wanted.small_job:
        figures["ratio_to_small_job"] = figures["rate"] / figures["small_job_rate"]
    for name, value in figures.items():
        print(f"{name:24} {value:14,.2f}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
