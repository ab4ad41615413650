"""Real archives go through the whole system and give the published figures.

They are read from the folder that ORGPULSE_TEST_DATA names, else from
../shared/data beside the repository; where there is none, these tests skip.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from reports.collect import read_raw, read_redis
from reports.compare import Comparison
from reports.compare_chat import compare_chat
from reports.recount import recount
from streams.settings import Settings, environment_of, override
from streams.topics import create_topics
from tests.faults.workers import Workers

DATA = Path(os.environ.get("ORGPULSE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
T = TypeVar("T")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SKETCH_ERROR = 0.005  # state/durations.py: exact up to 256 durations a cell and month, 0.4 % above

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; ORGPULSE_TEST_DATA may name them"),
]


@contextmanager
def imported(kafka: Any, redis_server: Any, name: str, tmp_path: Path, *command: str) -> Iterator[Settings]:
    """Import an archive with a worker running; give the settings."""
    settings = override(
        Settings(),
        {
            "kafka.brokers": kafka.bootstrap,
            "kafka.prefix": f"{name}-",
            "kafka.application": f"{name}app",
            "redis.url": redis_server.url,
            "redis.prefix": f"{name}:",
            "time.clock": "event",
            "ingest.unknown_transactions": "create",
            "latency.rolling_months": 600,
            "calibration.every_seconds": 2.0,
        },
    )
    create_topics(settings)
    with Workers(settings, 1, tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", "agents.cli", "import", *command, "--state-dir", str(tmp_path / "state")],
            env={**os.environ, **environment_of(settings)}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield settings


def once_complete(read: Callable[[], T], measure: Callable[[T], int], wanted: int) -> T:
    """Read until *measure* of what was read is *wanted*; after three minutes give what there is."""
    deadline = time.monotonic() + 180  # a worker on a busy machine may be fenced and begin anew
    while measure(found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def shown_map(settings: Settings, org: str, messages: int) -> dict[str, str]:
    """Return the org's latency map once it covers *messages* messages."""

    def read() -> dict[str, str]:
        return dict(read_redis(settings.redis.url, settings.redis.prefix).get(f"latency:{{{org}}}", {}))

    return once_complete(read, lambda m: sum(int(v) for k, v in m.items() if k.endswith(":messages")), messages)


def weekly_transactions(settings: Settings) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (org, week) → count and cents, as the topic `weeks` says last."""
    rows = read_raw(settings.kafka.brokers, settings.kafka.prefix, ["weeks"])
    latest = {key: orjson.loads(value) for _, _, _, key, value, _ in rows if key and value}
    return {
        (row["org"], row["week"]): (row["transactions_count"], row["transactions_cents"])
        for row in latest.values()
        if row["user"] is None and row["transactions_count"]
    }


def published(file: str) -> list[dict[str, str]]:
    """Return the rows of a reference table."""
    with (DATA / file).open(newline="") as table:
        return list(csv.DictReader(table))


def compare_grid(shown: dict[str, str], file: str) -> int:
    """Check every cell's count and p80 against the published grid; return the replies in all."""
    replies = 0
    for row in published(file):
        cell = f"{DAYS[int(row['weekday'])]}-{int(row['hour']):02d}"
        count = int(shown.get(f"{cell}:n", 0))
        assert count == int(row["replies"]), cell
        if row["p80_seconds"]:
            exact = float(row["p80_seconds"])
            allowed = 0.001 if count <= 256 else exact * SKETCH_ERROR + 0.001
            assert abs(float(shown[cell]) - exact) <= allowed, cell
        replies += count
    return replies


def test_the_mail_archive_gives_the_published_map(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    archive = str(DATA / "mail" / "r-package-devel.mbox.gz")
    command = ("mail", "--channel", "r-package-devel", "--org", "r-project", archive)
    with imported(kafka, redis_server, "mail", tmp_path, *command) as settings:
        shown = shown_map(settings, "r-project", 11_111)
    assert compare_grid(shown, "mail/r-package-devel.grid-utc.csv") == 8029


def test_the_irc_logs_give_the_published_counts(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    command = ("chat", "--org", "ubuntu", str(DATA / "chat" / "ubuntu-irc.jsonl.gz"))
    with imported(kafka, redis_server, "irc", tmp_path, *command) as settings:
        shown = shown_map(settings, "ubuntu", 153_787)
    assert compare_grid(shown, "chat/ubuntu-irc.grid-utc.csv") == 27_071


def shuffled_chat(file: Path) -> int:
    """Write three weeks of the Zulip archive with samples of two servers, shuffled; return the messages of 7 days."""
    with gzip.open(DATA / "chat" / "lean-zulip.jsonl.gz", "rt", encoding="utf-8") as archive:
        rows = [json.loads(line) for line in archive]
    rows = [row for row in rows if "2025-03-01" <= row["time"] < "2025-03-22"]
    newest = datetime.fromisoformat(max(row["time"] for row in rows))
    edge = newest.replace(minute=0, second=0, microsecond=0) - timedelta(days=7)
    chance = random.Random(5)
    samples = [
        {"type": "presence", "server": server, "time": f"{newest - timedelta(minutes=7 * n):%Y-%m-%dT%H:%M:%SZ}",
         "online": chance.randrange(90)}
        for server in ("hq", "mirror") for n in range(2000)
    ]  # fmt: skip
    lines = [json.dumps(row) for row in [*rows, *samples, *rows[:500]]]
    chance.shuffle(lines)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum(datetime.fromisoformat(row["time"]) >= edge for row in rows)


def test_shuffled_chat_gives_the_recounts_activity(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    wanted = shuffled_chat(file)
    with imported(kafka, redis_server, "zulip", tmp_path, "chat", "--org", "lean", str(file)) as settings:
        raw = read_raw(settings.kafka.brokers, settings.kafka.prefix)
        newest_ms = max(said_ms(record) for record in raw)
        found = recount(raw, tomllib.loads((files("state") / "health.toml").read_text("utf-8")), newest_ms)

        def compared() -> tuple[dict[str, str], Comparison]:
            documents = read_redis(settings.redis.url, settings.redis.prefix)
            return documents.get("chat:{lean}", {}), compare_chat(found.chat, documents, newest_ms)

        shown, result = once_complete(compared, lambda both: len(both[1].differences), 0)
    assert result.keys == 1 and not result.differences, result.differences[:10]
    assert int(shown["messages_total"]) == wanted > 500
    assert len(json.loads(shown["windows"])) > 900 and "online" in shown


def said_ms(record: Any) -> int:
    """Return the time that a chat message in *record* says."""
    return int(datetime.fromisoformat(json.loads(record[4])["time"]).timestamp() * 1000)


def test_online_retail_gives_its_weekly_volumes_to_the_cent(kafka: Any, redis_server: Any, tmp_path: Path) -> None:
    command = (
        "transactions", "--map", "amount=Quantity*UnitPrice", "--map", "time=InvoiceDate", "--map", "status:=A",
        "--org-column", "Country", str(DATA / "transactions" / "online-retail-2011-01.csv.gz"),
    )  # fmt: skip
    expected = {}
    for row in published("transactions/online-retail-2011-01.country-weekly.csv"):
        year, week, _ = date.fromisoformat(row["week"]).isocalendar()
        cents = int(row["volume"].replace(".", "")) // 10  # three decimals, the last one zero
        expected[row["Country"], f"{year}-W{week:02d}"] = (int(row["rows"]), cents)
    with imported(kafka, redis_server, "retail", tmp_path, *command) as settings:
        found = once_complete(
            lambda: weekly_transactions(settings), lambda rows: sum(count for count, _ in rows.values()), 35_147
        )
    assert found == expected
    assert sum(cents for _, cents in found.values()) == 56_000_026
