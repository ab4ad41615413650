"""Imports from S3-compatible storage: a real HTTP server that speaks S3, and the real Kafka."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from moto.server import ThreadedMotoServer

from agents.cli_import import import_group
from agents.importers import s3_source
from agents.importers.s3_source import Storage
from agents.importers.source import InputError
from streams.settings import Settings, override
from streams.settings_bridges import S3Settings
from streams.topic_specs import topic_names
from tests.agents.listen.process import records

BUCKET = "exports"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str) -> Any:
    """An empty bucket."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=each["Key"])
    return client


def s3(endpoint: str) -> S3Settings:
    return S3Settings(endpoint=endpoint, region="us-east-1", access_key="key", secret_key="secret")


def event(number: int) -> bytes:
    row = {"name": "Search", "distinct_id": "ann", "time": 1_750_000_000 + number, "event_id": number}
    return json.dumps(row).encode() + b"\n"


def lines(first: int, last: int) -> bytes:
    return b"".join(event(number) for number in range(first, last))


def run(settings: Settings, endpoint: str, state: Path, *arguments: str) -> Result:
    account = s3(endpoint)
    changes = {f"s3.{name}": getattr(account, name) for name in ("endpoint", "region", "access_key", "secret_key")}
    kind, *files = arguments
    return CliRunner().invoke(import_group, [kind, "--state-dir", str(state), *files], obj=override(settings, changes))


@pytest.mark.kafka
def test_a_prefix_is_imported_object_by_object_and_only_what_is_new_again(
    settings: Settings, endpoint: str, bucket: Any, tmp_path: Path
) -> None:
    bucket.put_object(Bucket=BUCKET, Key="raw/2025-01-01.json", Body=lines(0, 100))
    bucket.put_object(Bucket=BUCKET, Key="raw/2025-01-02.json.gz", Body=gzip.compress(lines(100, 250)))
    bucket.put_object(Bucket=BUCKET, Key="raw/2025-01/part/3.json", Body=lines(250, 300))
    bucket.put_object(Bucket=BUCKET, Key="raw/2024-12-31.json", Body=lines(900, 999))
    first = run(settings, endpoint, tmp_path, "events", f"s3://{BUCKET}/raw/2025-01")
    assert first.exit_code == 0 and "300 rows read, 300 sent" in first.output, first.output
    bucket.put_object(Bucket=BUCKET, Key="raw/2025-01-01.json", Body=lines(300, 310))  # another object of that name
    second = run(settings, endpoint, tmp_path, "events", f"s3://{BUCKET}/raw/2025-01")
    assert second.exit_code == 0 and "10 rows read, 10 sent" in second.output, second.output
    assert "200 rows were sent by an earlier run" in second.output
    found = [json.loads(value)["event_id"] for _, value in records(settings, topic_names(settings).product_events)]
    assert sorted(found) == list(range(310))


def test_objects_are_listed_by_prefix_and_name(endpoint: str, bucket: Any) -> None:
    for key in ("a/1", "a/2", "a/b/3", "ab", "b"):
        bucket.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    storage = Storage(s3(endpoint))

    def listed(path: str) -> list[str]:
        entries = storage.expanded([path])
        return [
            each.key.partition("#")[0].removeprefix(f"s3://{BUCKET}/") for each in entries if not isinstance(each, str)
        ]

    assert listed(f"s3://{BUCKET}/a/1") == ["a/1"]
    assert listed(f"s3://{BUCKET}/a/") == ["a/1", "a/2", "a/b/3"]
    assert listed(f"s3://{BUCKET}/a") == ["a/1", "a/2", "a/b/3", "ab"]
    assert listed(f"s3://{BUCKET}/") == listed(f"s3://{BUCKET}") == ["a/1", "a/2", "a/b/3", "ab", "b"]
    assert storage.expanded(["local.json", "-"]) == ["local.json", "-"]
    for path, said in ((f"s3://{BUCKET}/nothing", "no such object"), ("s3://no-such-bucket/x", "no such")):
        with pytest.raises(InputError, match=said):
            storage.expanded([path])


def test_an_object_that_is_replaced_meanwhile_is_an_error(
    endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_source, "_PIECE_BYTES", 10_000)
    for other in (lines(0, 2_000).replace(b"ann", b"bob"), lines(0, 5)):
        bucket.put_object(Bucket=BUCKET, Key="x.json", Body=lines(0, 2_000))
        (entry,) = Storage(s3(endpoint)).expanded([f"s3://{BUCKET}/x.json"])
        assert not isinstance(entry, str)
        found = entry.open().lines()
        assert next(found)
        bucket.put_object(Bucket=BUCKET, Key="x.json", Body=other)
        with pytest.raises(InputError, match="replaced while it was read"):
            list(found)


def test_parquet_is_read_from_the_storage_too(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    table = pa.table(
        {"id": [1, 2], "org": [7, 7], "userid": ["ann", "bob"], "created": [1_750_000_000] * 2, "ghost": [0, 0]}
    )
    pq.write_table(table, tmp_path / "log.parquet")
    bucket.put_object(Bucket=BUCKET, Key="log.parquet", Body=(tmp_path / "log.parquet").read_bytes())
    nowhere = override(Settings(), {"kafka.brokers": "127.0.0.1:9"})
    done = run(nowhere, endpoint, tmp_path, "activities", f"s3://{BUCKET}/log.parquet", "--dry-run")
    assert done.exit_code == 0 and "2 rows read, 2 would be sent" in done.output, done.output


def test_a_storage_that_is_not_there_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_source, "_TRIES", 1)
    done = run(Settings(), "http://127.0.0.1:9", tmp_path, "events", "s3://exports/x.json")
    assert done.exit_code == 1 and "[s3] endpoint" in done.output, done.output
