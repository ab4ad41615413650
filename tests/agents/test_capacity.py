"""The table of what a load takes: by hand for round figures, and with the load it grows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.bench.capacity import Figures, Load, breaks, plan

ROUND = Figures(
    events_per_core=100_000, document_microseconds=50, redis_microseconds=20, redis_bytes=1_000, user_bytes=1_000,
    id_bytes=10, directory_bytes=1_000, directory_microseconds=10, recovery_microseconds=10, process_bytes=1e9,
)  # fmt: skip
SMALL = Load(
    events_per_second=50_000, users=1e6, orgs=1_000, tick_seconds=1000, lateness_hours=1, worker_bytes=4e9, use=0.5
)


def lines(load: Load) -> dict[str, float]:
    return {line.what.strip(): line.value for line in plan(load, ROUND)}


def test_a_small_load_by_hand() -> None:
    found = lines(SMALL)
    assert found["changed scores"] == pytest.approx(1000, rel=1e-6)  # in 1,000 s all of 1,000,000 users are touched
    assert found["cores to take in and fold"] == 0.5
    assert found["cores to tell scores"] == pytest.approx(0.05)
    assert found["by processor"] == 2  # 0.55 cores, of each of which half is planned with
    assert found["state in workers"] == pytest.approx(1 + 50_000 * 3600 * 10 / 1e9)
    assert found["by memory"] == 2  # 2.8 GB in workers that have 4 − 1 − 1
    assert found["workers"] == 2 and found["partitions"] == 13
    assert found["Redis memory"] == pytest.approx(1.017)
    assert found["recovery of one worker's share"] == pytest.approx(8)
    assert breaks(SMALL, ROUND) == []


def test_few_events_a_tick_are_a_document_each() -> None:
    assert lines(replace(SMALL, tick_seconds=0.01))["changed scores"] == pytest.approx(50_000, rel=1e-3)


@pytest.mark.parametrize("name", ["events_per_second", "users"])
def test_more_load_takes_no_less_of_anything(name: str) -> None:
    less, more = lines(SMALL), lines(replace(SMALL, **{name: 10 * getattr(SMALL, name)}))
    shared = {"recovery of one worker's share", "event ids a partition"}  # more workers have less each
    assert all(more[what] >= less[what] for what in less.keys() - shared)


def test_what_one_installation_cannot_give_is_said_worst_first() -> None:
    found = breaks(Load(), Figures())
    assert [times for times, _ in found] == sorted((times for times, _ in found), reverse=True)
    text = " ".join(what for _, what in found)
    assert "directory" in text and "Redis" in text and "partitions" in text
    assert not any("directory" in what for _, what in breaks(replace(Load(), listed=0), Figures()))


def test_the_command_prints_the_table_and_refuses_nonsense() -> None:
    command = [sys.executable, "-m", "tests.bench.capacity"]
    done = subprocess.run([*command, "--events-per-second", "1e6", "--users", "1e8"], capture_output=True, text=True)
    assert done.returncode == 0 and "what breaks first" in done.stdout
    refused = subprocess.run([*command, "--users", "0"], capture_output=True, text=True)
    assert refused.returncode == 2 and "above zero" in refused.stderr
