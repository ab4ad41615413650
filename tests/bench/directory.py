"""Measures what a worker's copy of the directory takes: memory a user, and processor time until it is read.

Every worker keeps all of it, whatever partitions it has. Records of `users` (id, org, address, job type), and of the
table `members` that the members agent made of them, go through the reader of a worker, in one process without servers.

    python -m tests.bench.directory --users 200000
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from dataclasses import dataclass

import msgspec
import orjson

from agents.directory import DirectoryReader, directory_limits_of
from agents.members import ROW_OF_USER, with_past
from state.identity import Directory
from streams.read_directory import user_entry
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.bench.filled import USERS_PER_ORG
from tests.bench.memory import resident_bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a topic of the directory."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int = 1_700_000_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    wanted = parser.parse_args()
    settings = Settings()
    topics, limits = topic_names(settings), directory_limits_of(settings)

    def said(number: int) -> Record:
        org = number // USERS_PER_ORG
        entry = {
            "user_id": f"u{number}", "org_id": f"o{org}", "email": f"u{number}@o{org}.example", "job_type": "engineer",
        }  # fmt: skip
        return Record(f"u{number}".encode(), orjson.dumps(entry), number)

    def row(record: Record) -> Record:
        user, found = user_entry(record.key, record.value, limits)
        assert found is not None
        kept = with_past(found, None, record.timestamp, record.offset)
        return Record(ROW_OF_USER + user.encode(), msgspec.msgpack.encode(kept), record.offset)

    reader = DirectoryReader(Directory(), topics, limits)
    reader.take(topics.users, said(0))
    gc.collect()
    before, seconds = resident_bytes(), 0.0
    for at in range(1, wanted.users, 10_000):
        users = [said(number) for number in range(at, min(at + 10_000, wanted.users))]
        rows = [row(record) for record in users]
        began = time.process_time()
        for topic, records in ((topics.users, users), (topics.members_changelog, rows)):
            for record in records:
                reader.take(topic, record)
        seconds += time.process_time() - began
    del users, rows
    gc.collect()
    figures = {
        "users": len(reader.directory.users),
        "resident_bytes_per_user": round((resident_bytes() - before) / wanted.users),
        "read_microseconds_per_user": round(seconds / wanted.users * 1e6, 2),
    }
    for name, value in figures.items():
        print(f"{name:28} {value:>14,}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
