"""How fast the sinks take rows: topics are filled, then a sink is started and timed until it has stored everything.

python -m tests.bench.sinks --rows 200000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from deploy.local.kafka import LocalKafka
from streams.bulk_sender import BulkSender
from streams.model_file import load_model
from streams.settings import Settings
from tests.sinks.house import House, sink_settings, wait_until
from tests.sinks.server import LocalPostgres

_WEEKS = 20


def main() -> None:
    """Measure each store."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=200_000)
    rows = options.parse_args().rows
    with tempfile.TemporaryDirectory() as name, LocalKafka(Path(name) / "kafka", fast_start=True) as kafka:
        here = Path(name)
        server = LocalPostgres(durable=True)
        try:
            server.start()
            changes = {"sink.postgres_url": server.url(), "sink.parquet_directory": str(here / "lake")}
            settings = sink_settings(kafka.bootstrap, "bench-", {**changes, "sink.flush_seconds": 10.0})
            with House(settings, "postgres", here) as house:
                asyncio.run(_fill(settings, rows))
                _time(server, house, "PostgreSQL, weeks and product events", ("weeks", "product-events"), 2 * rows)
            print(f"PostgreSQL: {server.cpu_seconds():.1f} s of the server's own processor time", flush=True)
            with House(settings, "parquet", here) as house:
                _time(server, house, "Parquet, weeks", ("weeks",), rows)
            size = sum(file.stat().st_size for file in (here / "lake").rglob("part-*.parquet"))
            print(f"Parquet: {size / rows:.0f} bytes a row")
            for table in ("user_score", "product_event"):
                ((whole,),) = server.ask(f"SELECT pg_total_relation_size('usage.{table}')")
                print(f"PostgreSQL: {table} {whole / rows:.0f} bytes a row, indexes included")
        finally:
            server.close()


def _time(server: LocalPostgres, house: House, what: str, topics: tuple[str, ...], rows: int) -> None:
    house.start()
    while not house.checks().get("partitions", (False, ""))[0]:
        time.sleep(0.05)
    if house.kind == "postgres":  # the most that waits in memory: the database is away, and everything is full
        server.stop()
        wait_until(lambda: "" if "since" in house.checks()["postgres"][1] else "still well")
        time.sleep(20)
        print(f"{what}: {house.peak_bytes() / 1e6:.0f} MB resident while the database was away", flush=True)
        server.start()
    began = time.monotonic()
    house.wait_stored(*topics)
    seconds = time.monotonic() - began
    print(f"{what}: {rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} a second", flush=True)
    print(f"{what}: {house.peak_bytes() / 1e6:.0f} MB resident at most, {house.cpu_seconds():.1f} s of processor time")
    assert house.stop() == 0


async def _fill(settings: Settings, rows: int) -> None:
    async with BulkSender(settings.kafka.brokers) as sender:
        await sender.send(_records(settings.kafka.prefix, rows))


def _records(prefix: str, rows: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield as many weeks of users, with every attribute, as product events."""
    chance, names = random.Random(1), [each.name for each in load_model("").attributes]
    users = max(1, rows // _WEEKS)
    for number in range(rows):
        user, label = f"u{number % users}", f"2026-W{10 + number // users % _WEEKS}"
        org = f"o{number % users // 20}"
        points = {name: f"{chance.random() * 3:.2f}" for name in names[::2]}
        row = {
            "subject": f"user:{org}/{user}", "org": org, "user": user, "week": label, "state": "final",
            "activities": chance.randrange(500), "active_users": 1, "transactions_count": 0, "transactions_cents": 0,
            "replies": 3, "reply_latency_seconds_sum": 400, "counts": {"logins": 3, "search": 4, "other": 2},
            "sums": {"search": 17}, "score": "43.21", "score_licensed": None, "score_median": None,
            "contributions": points, "calibration": 3,
            "attributes": {name: chance.randrange(1000) for name in names},
        }  # fmt: skip
        yield f"{prefix}weeks", f"user:{org}/{user}|{label}".encode(), orjson.dumps(row)
        event = {
            "event_id": f"{number:032x}", "name": "Search", "distinct_id": f"{user}@example.org",
            "time": 1_790_000_000 + number, "quantity": 3, "properties": {"page": "home", "browser": "Firefox", "n": 7},
        }  # fmt: skip
        yield f"{prefix}product-events", b"", orjson.dumps(event)


if __name__ == "__main__":
    main()
