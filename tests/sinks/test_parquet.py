"""The Parquet files: what readers see of rewritten files, who may write, what is damaged, a disk that is full."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from agents.sinks.errors import StoreAwayError, StoreRefusesError
from agents.sinks.parquet_files import file_of, rewrite
from agents.sinks.parquet_store import ParquetStore
from agents.sinks.place import Mark
from agents.sinks.read_week import Judge, read_week, week_key
from streams.model_file import load_model
from streams.settings_child import child_environment
from tests.sinks.house import House, sink_settings, wait_until, week
from tests.sinks.proof import differences, expected_weeks, filed_weeks

JUDGE = Judge(load_model(""))


def changes(*told: tuple[int, str, str | None]) -> dict[str, Any]:
    """Return changes of one week: (fence, user, score), no score = gone."""
    found = {}
    for fence, user, score in told:
        _, key, value = week(f"user:o/{user}", "2026-W48", score=score)
        row = None if score is None else read_week(week_key(key), value or b"", JUDGE)
        found[f"user:o/{user}"] = fence, row
    return found


def seen(directory: Path) -> list[tuple[Any, ...]]:
    """Return what a reader sees."""
    return duckdb.sql(
        f"SELECT week, subject, score::text, fence FROM '{directory}/week=*/part-*.parquet' ORDER BY ALL"
    ).fetchall()


def test_readers_see_the_newest_row_of_each_subject_once(tmp_path: Path) -> None:
    path = file_of(tmp_path, "2026-W48", 3)
    assert rewrite(path, changes((5, "a", "10.00"), (6, "b", "20.00"))) == {"stored": 2, "deleted": 0, "unchanged": 0}
    assert rewrite(path, changes((9, "a", "30.00"), (7, "c", "1.00")))["stored"] == 2
    wanted = [("2026-W48", f"user:o/{u}", score, f) for u, score, f in (("a", "30.00", 9), ("b", "20.00", 6))]
    assert seen(tmp_path) == [*wanted, ("2026-W48", "user:o/c", "1.00", 7)]
    # Written again after a kill: what is there is newer.
    assert rewrite(path, changes((5, "a", "10.00"), (4, "b", None))) == {"stored": 0, "deleted": 0, "unchanged": 2}
    assert rewrite(path, changes((10, "c", None), (11, "d", None))) == {"stored": 0, "deleted": 1, "unchanged": 1}
    assert seen(tmp_path) == wanted
    frame = pd.read_parquet(tmp_path)
    assert list(frame["week"].astype(str).unique()) == ["2026-W48"] and len(frame) == 2
    assert rewrite(path, changes((12, "a", None), (12, "b", None)))["deleted"] == 2
    assert not list(tmp_path.glob("week=*")), "an empty week leaves nothing behind"


def test_a_file_that_was_half_written_is_no_file_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, "2026-W48", 0)
    rewrite(path, changes((5, "a", "10.00")))
    path.with_name(f".{path.name}.new").write_bytes(b"PAR1half")
    assert len(seen(tmp_path)) == 1
    assert rewrite(path, changes((6, "a", "11.00")))["stored"] == 1
    path.write_bytes(b"PAR1 overwritten by something else PAR1")
    with pytest.raises(StoreRefusesError, match="can't be read") as refused:
        rewrite(path, changes((7, "a", "12.00")))
    assert "--from-start" in refused.value.remedy
    frame = pd.DataFrame({"subject": ["user:o/a"], "fence": [1]})
    frame.to_parquet(path)
    with pytest.raises(StoreRefusesError, match="version none of its columns"):
        rewrite(path, changes((7, "a", "12.00")))


def test_a_partition_is_written_by_one_process_and_its_position_follows(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.sinks.parquet_store._LOCK_SECONDS", 0.3)
    first, second = ParquetStore(tmp_path), ParquetStore(tmp_path)
    asyncio.run(first.prepare())
    asyncio.run(first.hold([0, 1]))
    with pytest.raises(StoreAwayError, match="another process holds partition 1"):
        asyncio.run(second.hold([1]))
    assert first.mark(1, "id") == Mark(0, None)
    first.write(1, {"2026-W48": changes((5, "a", "10.00"))}, "id", 6)
    with pytest.raises(StoreRefusesError, match="a sink writes"):
        second.forget(2)
    asyncio.run(first.hold([0]))  # 1 went to another process
    with pytest.raises(StoreAwayError):
        first.write(1, {}, "id", 7)
    asyncio.run(second.hold([1]))
    assert second.mark(1, "id") == Mark(0, 6)
    with pytest.raises(StoreRefusesError, match="was made anew"):
        second.mark(1, "another")
    (tmp_path / ".positions" / "0001").write_bytes(b"\x00")
    assert second.mark(1, "id") == Mark(0, None), "read again from the beginning; the fences see to the rest"
    first.let_go([0])
    second.let_go([1])
    assert ParquetStore(tmp_path).forget(2) == 1 and not list(tmp_path.glob("week=*"))


def test_a_place_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreRefusesError, match="file"):
        asyncio.run(ParquetStore(tmp_path / "file" / "lake").prepare())


@pytest.mark.kafka
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process's limits can be set on Linux alone")
def test_a_full_disk_is_waited_for_and_nothing_is_lost(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    files = tmp_path / "lake"
    settings = sink_settings(kafka.bootstrap, topic_prefix, {"sink.parquet_directory": str(files)})
    with House(settings, "parquet", tmp_path) as house, Limited(house) as process:
        wait_until(lambda: "" if house.checks().get("parquet", (False, ""))[0] else f"{house.checks()}")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (8_000, resource.RLIM_INFINITY))
        house.send([week(f"user:o/u{n}", f"2026-W4{n % 8}", activities=n * 7919) for n in range(2000)])
        wait_until(lambda: "" if "File too large" in house.checks()["parquet"][1] else f"{house.checks()}")
        assert house.checks()["parquet"][0] is False
        assert 'orgpulse_sink_up{sink="parquet"} 0.0' in house.page("metrics")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        house.wait_stored("weeks")
        filed = filed_weeks(files)
        assert len(filed) == 2000 and differences(expected_weeks(settings), dict(filed)) == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


class Limited:
    """A sink whose log goes nowhere, so that the size of its files can be limited as a full disk does it."""

    def __init__(self, house: House) -> None:
        self._settings, self._command = house.port_settings(), [sys.executable, "-m", "agents.cli", "sink", "parquet"]

    def __enter__(self) -> subprocess.Popen[bytes]:
        environment = child_environment(self._settings)
        self._process = subprocess.Popen(self._command, env=environment, stderr=subprocess.DEVNULL)
        return self._process

    def __exit__(self, *_: Sequence[Any]) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
