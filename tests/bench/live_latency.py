"""Measures event → score visible in Redis under live load.

Messages come at a steady rate, in batches as a producer with a linger of 20 ms makes them; every 20 ms one more is a
probe: an event of a user that nobody has seen before. Timed from the batch being sent to the moment the probe's hash
is in Redis (polled every 10 ms). Says whose processor time it took, how far behind the load itself came, and how it
went on: a row for each twentieth of the time.

    python -m tests.bench.live_latency --rate 10000 --users 5000 --orgs 250 --seconds 600 --set kafka.partitions=2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from tests.bench.ground import Ground, changes_of, directory, events, ground, load, run, settings_option

STEP_SECONDS = 0.02
PARTS = 20


async def probe(place: Ground, rate: int, seconds: float, orgs: int, users: int) -> list[tuple[float, float]]:
    """Return when (seconds since the beginning) each probe was sent, and its latency (seconds)."""
    settings = place.settings
    partitions = settings.kafka.partitions
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.brokers, compression_type="lz4", linger_ms=0)
    await producer.start()
    store: Any = Redis.from_url(settings.redis.url)
    waiting: dict[str, float] = {}
    latencies: list[tuple[float, float]] = []
    stop = asyncio.Event()

    async def watch() -> None:
        while waiting or not stop.is_set():
            names = list(waiting)
            if names:
                pipe = store.pipeline(transaction=False)
                for name in names:
                    pipe.exists(f"{settings.redis.prefix}{name}")
                for name, there in zip(names, await pipe.execute(), strict=True):
                    if there:
                        sent = waiting.pop(name)
                        latencies.append((sent - began, time.perf_counter() - sent))
            await asyncio.sleep(0.01)

    messages = events(settings.kafka.prefix, orgs, users, int(rate * seconds), 0, 0, seed=2)
    began = time.perf_counter()
    watcher = asyncio.create_task(watch())
    behind = 0.0
    for step in range(int(seconds / STEP_SECONDS)):
        now_ms = b"%d" % int(time.time() * 1000)
        batches: dict[tuple[str, int], Any] = {}

        def put(topic: str, partition: int, key: bytes | None, value: bytes) -> None:
            batch = batches.get((topic, partition))  # noqa: B023  # called in this turn only
            if batch is None:
                batch = batches[topic, partition] = producer.create_batch()  # noqa: B023
            assert batch.append(timestamp=None, key=key, value=value) is not None, "too much for one batch"

        for topic, number, key, value in islice(messages, int(rate * STEP_SECONDS)):
            stamped = value.replace(b'"time":0', b'"time":' + now_ms).replace(b'"created":0', b'"created":' + now_ms)
            put(topic, number % partitions, key, stamped)
        user, org = f"probe{step}", f"o{step % orgs}"
        value = b'{"event_id":"x%d","name":"Search","distinct_id":"%s","org_id":"%s","time":%s}' % (
            step, user.encode(), org.encode(), now_ms,
        )  # fmt: skip
        put(f"{settings.kafka.prefix}product-events", step % partitions, None, value)
        waiting[f"user:{{{org}}}:{user}"] = time.perf_counter()
        for (topic, partition), batch in batches.items():
            await producer.send_batch(batch, topic, partition=partition)
        late = time.perf_counter() - began - (step + 1) * STEP_SECONDS
        behind = max(behind, late)
        await asyncio.sleep(max(0.0, -late))
    stop.set()
    await asyncio.wait_for(watcher, 30)
    await producer.stop()
    await store.aclose()
    took = time.perf_counter() - began
    print(f"sent at {rate * seconds / took:,.0f} a second, up to {behind:.2f} s behind; {len(waiting)} probes missing")
    return latencies


def timeline(sent: Any, found: Any, seconds: float) -> Iterator[str]:
    """Yield a line for each twentieth of the time: from when on, median, and the slowest."""
    for number in range(PARTS):
        part = found[(sent >= number * seconds / PARTS) & (sent < (number + 1) * seconds / PARTS)]
        if len(part):
            p50, p99 = np.quantile(part, (0.5, 0.99)) * 1000
            bar = "█" * round(40 * min(1.0, part.max() / 4.0))
            since = number * seconds / PARTS
            yield f"{since:7.0f} s  p50 {p50:6.0f}  p99 {p99:6.0f}  max {part.max() * 1000:6.0f} ms  {bar}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers")
    parser.add_argument("--redis")
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--orgs", type=int, default=2_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--checkpoint-seconds", type=float, default=300.0)
    settings_option(parser)
    wanted = parser.parse_args()
    with ground(
        wanted.brokers,
        wanted.redis,
        {
            "ingest.unknown_product_events": "create",
            "checkpoint.every_seconds": wanted.checkpoint_seconds,
            **changes_of(wanted.set),
        },
    ) as place:
        settings = place.settings
        people = directory(settings.kafka.prefix, wanted.orgs, wanted.users)
        run(load(settings.kafka.brokers, settings.kafka.partitions, people))
        place.start_workers(wanted.workers)
        while place.metric("orgpulse_directory_users") < wanted.users * wanted.workers:
            time.sleep(0.2)
        quiet = 0
        while quiet < 8:  # the directory goes through several topics, one after the other
            quiet = quiet + 1 if place.metric("orgpulse_lag_messages") < 50 else 0
            time.sleep(0.5)
        changelog, before = place.metric("orgpulse_checkpoint_bytes_total"), place.processor_seconds()
        sent, found = np.array(run(probe(place, wanted.rate, wanted.seconds, wanted.orgs, wanted.users))).T
        written = place.metric("orgpulse_checkpoint_bytes_total") - changelog
        used = {name: used - before[name] for name, used in place.processor_seconds().items()}
    for row in timeline(sent, found, wanted.seconds):
        print(row)
    p50, p99 = (float(np.quantile(found, q)) for q in (0.5, 0.99))
    print(f"probes {len(found)}  p50 {p50 * 1000:.0f} ms  p99 {p99 * 1000:.0f} ms  max {found.max() * 1000:.0f} ms")
    events_sent = wanted.rate * wanted.seconds
    shares = {name: round(1e6 * used_seconds / events_sent, 1) for name, used_seconds in used.items()}
    print("processor time by event (µs): " + ", ".join(f"{name} {share}" for name, share in shares.items()))
    per_event = written / events_sent
    print(json.dumps({"p50_seconds": p50, "p99_seconds": p99, "checkpoint_bytes_per_event": per_event, "us": shares}))


if __name__ == "__main__":
    main()
