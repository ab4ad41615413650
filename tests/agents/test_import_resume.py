"""Imports that are killed in the middle, on the real broker: no row is lost, and what came twice is the same."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from agents.cli_import import import_group
from streams.settings import Settings, override
from tests.agents.import_rows import FORMS, WORKERS_READ
from tests.agents.test_importers import ROOT, create_topics, read_topic

ROWS = 20_000
_RUN = """
import sys
import agents.importers.run
from agents.cli_import import import_group
from streams.settings import Settings, override
agents.importers.run.REMEMBER_SECONDS = 0.01
import_group(obj=override(Settings(), {"kafka.brokers": sys.argv.pop(1), "kafka.prefix": sys.argv.pop(1)}))
"""


def _cells() -> Iterator[tuple[int, int, str, int, int]]:
    return ((n, n % 40 + 1, f"u{n % 99}", 1_767_600_000 + n, 0) for n in range(ROWS))


def _query(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / "log.db")) as base, base:
        base.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, org INT, userid TEXT, created INT, ghost INT)")
        base.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", _cells())
    return ["activities", "--sql", "SELECT * FROM log ORDER BY id", "--url", f"sqlite:///{folder}/log.db"]


def _parquet(folder: Path) -> list[str]:
    columns = zip(*_cells(), strict=True)
    names = ("id", "org", "userid", "created", "ghost")
    table = pa.table({name: pa.array(column) for name, column in zip(names, columns, strict=True)})
    pq.write_table(table, folder / "log.parquet", row_group_size=10_000)
    return ["activities", str(folder / "log.parquet")]


def _archive(folder: Path) -> list[str]:
    lines: list[list[str]] = [[] for _ in range(3)]
    for n, org, who, created, _ in _cells():
        message = {"message_id": n, "author": who, "time": created, "channel": str(org), "org_id": org}
        lines[n % 3].append(json.dumps(message))
    with zipfile.ZipFile(folder / "chat.zip", "w") as archive:
        for part, each in enumerate(lines):
            archive.writestr(f"room-{part}/log.jsonl", "\n".join(each))
    return ["chat", str(folder / "chat.zip")]


@pytest.mark.kafka
@pytest.mark.parametrize("form", [_query, _parquet, _archive])
def test_an_import_of_any_form_that_was_killed_goes_on_where_kafka_had_it(
    form: Any, kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    arguments = form(tmp_path)
    topic, field = ("chat-messages", "message_id") if arguments[0] == "chat" else ("syslog-activities", "id")
    create_topics(kafka.bootstrap, f"{topic_prefix}{topic}")
    state = tmp_path / "state"
    command = [sys.executable, "-c", _RUN, kafka.bootstrap, topic_prefix, *arguments, "--state-dir", str(state)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        while process.poll() is None and not list(state.glob("*.json")):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -9, "the import ended before it could be killed"

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    passed_over = int(again.stdout.split(" rows were sent by an earlier run")[0].split("\n")[-1].replace(",", ""))
    assert passed_over > 0
    assert f"{ROWS - passed_over:,} sent to" in again.stdout
    values: dict[int, set[bytes]] = {}
    records = read_topic(kafka.bootstrap, f"{topic_prefix}{topic}")
    for record in records:
        values.setdefault(json.loads(record.value)[field], set()).add(record.value)
    assert set(values) == set(range(ROWS)), "no row is lost"
    assert {len(versions) for versions in values.values()} == {1}, "what came twice is the same, byte for byte"
    assert ROWS <= len(records) < 2 * ROWS
    read = WORKERS_READ["chat" if arguments[0] == "chat" else "activities"]
    assert len({read(record.value).id for record in records[:2_000]}) == len({r.value for r in records[:2_000]})


@pytest.mark.kafka
def test_an_input_that_is_no_longer_the_same_is_begun_anew_and_a_check_sends_nothing_bad(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, f"{topic_prefix}chat-messages")
    settings = override(Settings(), {"kafka.brokers": kafka.bootstrap, "kafka.prefix": topic_prefix})
    folder = tmp_path / "rooms"
    folder.mkdir()

    def write(room: str, *times: int) -> None:
        lines = [json.dumps({"message_id": f"{room}{t}", "author": "ann", "time": t, "channel": room}) for t in times]
        (folder / f"{room}.jsonl").write_text("\n".join(lines) + "\n")

    def run(*more: str, code: int = 0) -> str:
        arguments = ["chat", str(folder), "--state-dir", str(tmp_path / "state"), *more]
        result = CliRunner().invoke(import_group, arguments, obj=settings)
        assert result.exit_code == code, result.output
        return result.output

    write("b", 1_767_600_000, 1_767_600_100)
    assert "Nothing was sent" in run("--check", "--max-unresolved", "0%", code=1)
    assert len(read_topic(kafka.bootstrap, f"{topic_prefix}chat-messages")) == 0
    assert "2 sent" in run("--check", "--max-bad-share", "0")
    assert "0 sent" in run()
    write("b", 1_767_600_000, 1_767_600_100, 1_767_600_200)
    assert "1 sent" in run(), "what was added at the end is sent alone"
    write("a", 1_767_600_050)
    output = run()
    assert "4 sent" in output
    assert "is not what an earlier run had read" in output
    assert "0 sent" in run()


@pytest.mark.kafka
def test_a_slack_export_is_checked_against_the_directory_in_kafka_and_sent_once(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    from kafka import KafkaProducer

    from streams.topics import create_topics as create_all

    settings = override(Settings(), {"kafka.brokers": kafka.bootstrap, "kafka.prefix": topic_prefix,
                                     "kafka.application": f"{topic_prefix}app", "kafka.partitions": 2})  # fmt: skip
    create_all(settings)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    ann = {"user_id": "1", "org_id": "acme", "email": "ann.lee@example.org"}
    producer.send(f"{topic_prefix}users", key=b"1", value=json.dumps(ann).encode()).get(timeout=60)
    producer.close()
    report = tmp_path / "q.json"
    arguments = ["chat", str(FORMS / "slack"), "--org", "acme", "--state-dir", str(tmp_path), "--report", str(report)]

    def run(*more: str) -> Any:
        return CliRunner().invoke(import_group, [*arguments, *more], obj=settings)

    failed = run("--check", "--max-unresolved", "10%")
    assert failed.exit_code == 1, failed.output
    found = json.loads(report.read_text())
    assert found["directory"] == "the directory in Kafka"
    assert found["unresolved_names"] == {"U0BOB": 2, "cat@example.org": 1}
    assert read_topic(kafka.bootstrap, f"{topic_prefix}chat-messages") == []
    sent = run("--check", "--max-bad-share", "20%")
    assert sent.exit_code == 0, sent.output
    assert "9 sent to" in sent.output
    assert "0 sent to" in run().output
    assert len(read_topic(kafka.bootstrap, f"{topic_prefix}chat-messages")) == 9
