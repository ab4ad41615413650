"""Workers come, go, sleep and are renewed under load: every figure is right, no gauge of a lost partition stays."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.collect import read_metrics
from tests.faults import proof
from tests.faults.extent import N, long_form, times
from tests.faults.system import System, wait_until
from tests.faults.worker_faults import sleep_past_session

SESSION_SECONDS = 6.0
_REBALANCES = "orgpulse_rebalances_total"
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900 + 120 * N)]


@pytest.fixture
def build(kafka: Any, redis_server: Any, tmp_path: Path) -> Callable[..., System]:
    """Return how to make a system in this test's place."""

    def made(**options: Any) -> System:
        return System(kafka.bootstrap, redis_server.url, tmp_path, **options)

    return made


def rebalances(system: System) -> float:
    """Return the rebalances that the running workers have seen, all together."""
    return sum(read_metrics(url, (_REBALANCES,))[_REBALANCES][()] for url in system.workers.urls)


@long_form
def test_a_storm_of_workers_that_join_and_leave_costs_nothing(build: Callable[..., System]) -> None:
    with build(workers=4, changes={"worker.standby_replicas": 1}) as system:
        workers, rounds = system.workers, times(4)
        player = system.play(rounds * 5.0 + 5.0)
        before = rebalances(system)
        for _ in range(rounds):
            player.join(timeout=system.chance.uniform(0.2, 4.0))
            some = system.chance.sample(workers.running, system.chance.choice((1, 2)))
            for number in some:
                system.chance.choice((workers.stop, workers.kill))(number)
            player.join(timeout=system.chance.uniform(0.0, 2.0))
            for number in some:
                workers.start(number)
        system.wait_recovered()
        assert rebalances(system) > before and workers.done["kill"] + workers.done["stop"] >= rounds
        system.rest()
        pages = [read_metrics(url, ("orgpulse_watermark",)) for url in workers.urls]
        marks = [labels for page in pages for labels in page.get("orgpulse_watermark_timestamp_seconds", {})]
        assert len(marks) == len(set(marks)) == system.settings.kafka.partitions  # no gauge of a lost partition stays
        assert not proof.differences(system)


@long_form
def test_a_worker_that_slept_past_its_session_writes_nothing_when_it_wakes(build: Callable[..., System]) -> None:
    with build() as system:
        workers = system.workers
        system.play(times(1) * 20.0)
        for turn in range(times(1)):
            sleeper, other = turn % 2, 1 - turn % 2
            system.wait_recovered(workers=2)
            sleep_past_session(system, sleeper, other)
        assert workers.done["freeze"] == workers.done["thaw"] == times(1)
        system.wait_recovered()
        system.rest()
        assert not proof.differences(system)


@long_form
def test_renewing_all_workers_one_after_the_other_costs_nothing(build: Callable[..., System]) -> None:
    with build() as system:
        system.play(times(1) * 20.0)
        for turn in range(times(2)):
            number = turn % 2
            system.workers.stop(number)
            system.workers.start(number)
            system.wait_recovered(workers=2)
        assert system.workers.done["stop"] == times(2)
        system.rest()
        assert not proof.differences(system)


@long_form
def test_a_static_member_that_is_back_in_time_moves_no_partition(build: Callable[..., System]) -> None:
    with build(changes={"worker.static_membership": True, "kafka.session_timeout_seconds": 20.0}) as system:
        system.play(15.0)
        system.wait_recovered(workers=2)
        survivor = system.workers.urls[0]
        before = read_metrics(survivor, (_REBALANCES,))[_REBALANCES]
        for end in (system.workers.stop, system.workers.kill):
            end(1)
            gone = time.monotonic()
            system.workers.start(1)
            wait_until(lambda: "" if len(system.owned()) == 2 and min(system.owned()) > 0 else "not back", 60)
            assert time.monotonic() - gone < 20.0
        assert read_metrics(survivor, (_REBALANCES,))[_REBALANCES] == before
        system.rest()
        assert not proof.differences(system)


@long_form
def test_partitions_of_a_killed_worker_are_back_within_the_session_and_five_seconds(
    build: Callable[..., System],
) -> None:
    with build() as system:
        system.play(times(5) * 15.0)
        seconds = []
        for turn in range(times(5)):
            victim = turn % 2
            system.wait_recovered(workers=2)
            system.workers.kill(victim)
            seconds.append(system.wait_recovered(workers=1))
            system.workers.start(victim)
        print(f"recovery: {len(seconds)} kills, p50 {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s")
        assert statistics.median(seconds) <= SESSION_SECONDS + 5.0
        system.rest()
        assert not proof.differences(system)
