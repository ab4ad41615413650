"""`orgpulse report storage`: from files and from the topic on a real broker, and what it says when it can't."""

from __future__ import annotations

import asyncio
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from agents.cli_errors import told
from agents.cli_report_storage import storage
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.reports.storage_base import write_base
from tests.reports.storage_facts import facts, messages, write_facts
from tests.streams.kafka_topics import fill_in_transaction


def run(settings: Settings, *arguments: object) -> Result:
    return CliRunner().invoke(storage, [str(one) for one in arguments], obj=settings)


@pytest.mark.kafka
def test_the_topic_and_the_files_give_the_same_files(settings: Settings, tmp_path: Path) -> None:
    files, events = facts(count=120)
    write_facts(tmp_path / "in", files)
    topic, values = topic_names(settings).product_events, messages(events)
    for partition in (0, 1):
        pairs = [(b"", value) for value in values[partition::2]]
        asyncio.run(fill_in_transaction(settings.kafka.brokers, topic, partition, pairs))
    aborted = [(b"", messages(facts(seed=8)[1])[-1])]
    asyncio.run(fill_in_transaction(settings.kafka.brokers, topic, 0, aborted, abort=True))
    one = run(settings, "--from-topic", "--out", tmp_path / "topic", "--before", "2021-05-01")
    assert one.exit_code == 0, one.output
    other = run(settings, tmp_path / "in", "--out", tmp_path / "files", "--before", "2021-05-01")
    assert other.exit_code == 0, other.output
    for name in ("storage-users.csv", "storage-users.parquet"):
        assert (tmp_path / "topic" / name).read_bytes() == (tmp_path / "files" / name).read_bytes()


def test_everything_is_written_and_said(tmp_path: Path) -> None:
    write_base(tmp_path / "in", 0.005)
    found = run(Settings(), tmp_path / "in", "--out", tmp_path / "in" / "out", "--before", "2021-05-01")
    assert found.exit_code == 0, found.output
    assert "24 of 24 files read" in found.stderr and "users with free projects" in found.stdout
    assert "Bad rows" in found.stdout and "2070, the epoch misread" in found.stdout
    out = tmp_path / "in" / "out"
    for name in ("users", "nodes", "wallets", "nodes-never-contacted", "quality-rows", "quality-bad-rows"):
        table = pd.read_parquet(out / f"storage-{name}.parquet")
        assert len(table) == len(pd.read_csv(out / f"storage-{name}.csv")) > 0
    types = dict(
        duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE '{out}/storage-users.parquet')").fetchall()
    )
    assert types["upload_hours"] == "TIMESTAMP WITH TIME ZONE[]" and types["upload_bytes_last_6_months"] == "BIGINT"
    assert not list(out.glob(".*.new")) and "<svg" in (out / "storage.html").read_text("utf-8")
    again = run(Settings(), tmp_path / "in", "--out", out, "--before", "2021-05-01")
    assert again.exit_code == 0 and again.stdout == found.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--from-topic"),
        (("nowhere",), "nowhere is not there"),
        ((".",), "no exports found"),
        (("--file", "projcts:eu=x.csv"), "tables are projects"),
        (("--file", "projects:eu=x.csv"), "there is no such file"),
        (("a_users.csv",), "none of the files holds projects"),
        (("a_users.csv", "--map", "users.id=x"), 'users has no column "id"'),
        (("a_users.csv", "--delimiter", ";"), 'no column "user_id"'),
        (("a_users.csv", "--delimiter", ";;"), "one character"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "." not in arguments:
        (tmp_path / "a_users.csv").write_text("id,email_hash,created_at\nu,h,2020-01-01\n")
    found = run(Settings(), *arguments, "--out", "out", "--before", "2021-05-01")
    error = found.exception
    plain = told(error) if isinstance(error, Exception) and not isinstance(error, SystemExit) else None
    assert said in found.output + ("" if plain is None else plain.message) and found.exit_code
    assert plain is None or plain.remedy
    assert not (tmp_path / "out").exists()
