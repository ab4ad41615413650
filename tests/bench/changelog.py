"""Counts what checkpoints write to the changelog per event: shards in this process, no servers.

*users* users with a week of activities behind them; then *rate* activities a second for some minutes of the data's
time, with ticks, and checkpoints through the real `Checkpoints`. Bytes are counted raw (keys and values) and as Kafka
stores them: in the transactional producer's batches, compressed. The first checkpoint, which writes everything, is
reported by itself.

    python -m tests.bench.changelog --users 200000 --every 300
    python -m tests.bench.changelog --users 5000 --every 60
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from typing import Any

import numpy as np
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from agents.checkpoints import Checkpoints
from state.activity import Tick
from state.shard import Limits, Shard
from streams.model_file import load_model
from streams.transactions import Outgoing, TransactionSettings
from tests.bench.memory import CHUNK, HOUR_MS, PARTITIONS, USERS_PER_ORG, WEEK_MS, chunk

START_MS = 2_900 * WEEK_MS
WARM_EVENTS = 25  # of each user, in the week before


class Table:
    """Stands for the table: nothing is kept, records are handed on."""

    def stage(self, partition: int, key: bytes, value: bytes | None, *, keep: bool = True) -> Outgoing:
        """Return the record."""
        return Outgoing("shard-changelog", partition, key, value)


def stored_bytes(records: list[Outgoing]) -> int:
    """Return the size of *records* in the batches that the transactional producer makes of them."""
    settings, total = TransactionSettings(), 0

    def begun() -> BatchBuilder:
        return BatchBuilder(settings.max_batch_bytes, DefaultRecordBatch.CODEC_LZ4, is_transactional=1)

    batch = begun()
    for record in records:
        if batch.append(timestamp=None, key=record.key, value=record.value) is None:
            total += len(batch._build())
            batch = begun()
            batch.append(timestamp=None, key=record.key, value=record.value)
    return total + (len(batch._build()) if records else 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=10_000, help="activities a second, of all partitions together")
    parser.add_argument("--every", type=int, default=300, help="seconds between two checkpoints of a partition")
    parser.add_argument("--checkpoints", type=int, default=3, help="of each partition, after the first")
    parser.add_argument("--shards", type=int, default=PARTITIONS, help="how many of the four partitions to play")
    parser.add_argument("--max-ids", type=int, default=Limits().max_ids, help="`dedupe.max_ids`, of a partition")
    parser.add_argument("--parts", action="store_true", help="say which segments are written")
    wanted = parser.parse_args()
    model, rng = load_model(""), np.random.default_rng(5)
    users, orgs = wanted.users // PARTITIONS, max(1, wanted.users // PARTITIONS // USERS_PER_ORG)
    written, raw, stored, first = Counter[str](), 0, 0, 0
    chunks, seconds = max(1, wanted.rate * wanted.every // PARTITIONS // CHUNK), 0.0
    for partition in range(wanted.shards):
        table: Any = Table()
        keeper = Checkpoints(table, lambda: 0.0, 300.0, 1 << 60, lambda _: None)
        shard, number = Shard(partition, model, Limits(max_ids=wanted.max_ids)), 0
        warm = max(1, users * WARM_EVENTS // CHUNK)
        for number in range(warm):
            moment = START_MS + number * WEEK_MS // warm
            shard.apply(chunk(rng, partition, users, orgs, moment, HOUR_MS, number), number)
        shard.apply(Tick(0, 1), number)
        first += stored_bytes(keeper.make(shard))
        now = shard.watermark_ms
        for round_ in range(wanted.checkpoints):
            for at in range(chunks):
                number += 1
                step = wanted.every * 1000 // chunks
                shard.apply(chunk(rng, partition, users, orgs, now, step, number), number)
                now += step
                if at % 5 == 4:
                    shard.apply(Tick(now, 1), number)
            shard.apply(Tick(now, 2 + round_), number)
            began = time.process_time()
            records = keeper.make(shard)
            seconds += time.process_time() - began
            raw += sum(len(r.key or b"") + len(r.value or b"") for r in records)
            stored += stored_bytes(records)
            for record in records:
                name = (record.key or b"").decode().partition("#")[0]
                kind = name.partition("/")[0] if name.split("/")[-1].isdigit() else name
                written[kind] += len(record.value or b"") + len(record.key or b"")
    events = wanted.shards * wanted.checkpoints * chunks * CHUNK
    if wanted.parts:
        for kind, size in written.most_common(24):
            print(f"    {kind:40} {size / events:>10.2f} bytes an event, raw")
    figures = {
        "users": wanted.users,
        "rate": wanted.rate,
        "every_seconds": wanted.every,
        "events": events,
        "raw_bytes_per_event": round(raw / events, 1),
        "stored_bytes_per_event": round(stored / events, 1),
        "whole_checkpoint_stored_bytes_per_user": round(first / max(1, users * wanted.shards)),
        "processor_seconds_per_checkpoint": round(seconds / wanted.shards / wanted.checkpoints, 2),
    }
    for name, value in figures.items():
        print(f"{name:40} {value:>14,}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
