"""Redis goes away in every way it can, under load: input goes on, and everything is right once it is back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from reports.collect import read_metrics
from tests.faults import proof
from tests.faults.extent import N, long_form, times
from tests.faults.redis_faults import HarmedRedis, Watch, broken_chains, redis_check, total, wait_said
from tests.faults.system import Size, System, wait_until

RESYNCS, FENCED = "orgpulse_redis_resyncs_total", "orgpulse_redis_fenced_writes_total"
RESTARTS = "orgpulse_restarts_total"
CONSUMED, PENDING, RATIO = "orgpulse_events_total", "orgpulse_redis_pending_writes", "orgpulse_redis_resync_ratio"
MAX_PENDING = 1000
MOST_LAG = 2500.0  # of the messages played; whoever stops for Redis lags by many more
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900 + 300 * N)]


@pytest.fixture
def harmed(tmp_path: Path) -> Iterator[HarmedRedis]:
    """A Redis of this test alone that keeps nothing over a restart."""
    with HarmedRedis(tmp_path, persistent=False) as found:
        yield found


def build(kafka: Any, harmed: HarmedRedis, logs: Path, **changes: Any) -> System:
    settings = {"redis.max_pending_writes": MAX_PENDING, "redis.timeout_seconds": 1.0} | changes
    return System(kafka.bootstrap, harmed.server.url, logs, size=Size(40, 300, 3), changes=settings)


def survive(system: System, fault: AbstractContextManager[None], seconds: float = 0.0) -> float:
    """Have a fault last until every worker says so, and *seconds* longer; return how long Redis was away."""
    with Watch(system) as watch:
        began, before = time.monotonic(), total(system, CONSUMED)
        with fault:
            wait_said(system, away=True)
            wait_until(lambda: "" if total(system, CONSUMED) > before else "no input is taken", 30)
            deadline = time.monotonic() + seconds
            wait_until(lambda: "" if time.monotonic() >= deadline else "outage", seconds + 1)
        away = time.monotonic() - began
        wait_said(system, away=False)
    assert watch.looks > 0
    assert watch.most_pending <= MAX_PENDING + system.settings.redis.batch, "what waits is not bounded"
    assert watch.most_lag <= MOST_LAG, "input waits for Redis"
    print(f"away {away:.1f} s: at most {watch.most_pending:.0f} writes waited, {watch.most_lag:.0f} messages behind")
    return away


def told_again(system: System, deed: Callable[[], object]) -> None:
    """Do *deed*, and wait until every worker has begun to tell everything again, and is done."""
    before = {url: total_of(url, RESYNCS) for url in system.workers.urls}
    deed()

    def missing() -> str:
        left = [url for url in before if total_of(url, RESYNCS) <= before[url] or total_of(url, RATIO) < 1]
        return f"not told again by {left}" if left else ""

    wait_until(missing, 30)


def total_of(url: str, name: str) -> float:
    return sum(read_metrics(url, (name,)).get(name, {}).values())


@long_form
def test_a_redis_that_stops_comes_back_empty_freezes_and_is_flushed_gets_everything(
    kafka: Any, harmed: HarmedRedis, tmp_path: Path
) -> None:
    with build(kafka, harmed, tmp_path) as system:
        system.play(12.0)
        told_again(system, lambda: survive(system, harmed.replaced()))
        survive(system, harmed.frozen())
        told_again(system, harmed.flush)
        assert harmed.done == {"replace": 1, "freeze": 1, "flush": 1}
        system.rest()
        assert not proof.differences(system)
        assert not broken_chains(harmed.client, system.settings.redis.prefix)


@long_form
def test_every_way_of_being_away_under_load_ends_in_the_right_figures(kafka: Any, tmp_path: Path) -> None:
    with HarmedRedis(tmp_path, persistent=True) as harmed, build(kafka, harmed, tmp_path) as system:
        player = system.play(60.0 + 30.0 * N)
        snapshot, longest = harmed.snapshot(), 0.0
        for fault in (harmed.stopped, harmed.replaced, harmed.frozen, harmed.full, harmed.denied, harmed.replica):
            longest = max(longest, survive(system, fault(), system.chance.uniform(0.0, 3.0)))
        told_again(system, harmed.flush)
        told_again(system, lambda: survive(system, harmed.set_back(snapshot)))
        longest = max(longest, survive(system, harmed.replaced(), 20.0 * N))
        print(f"longest outage survived: {longest:.1f} s; {dict(harmed.done)}")
        assert player.is_alive() or player.acknowledged == player.total
        assert len(harmed.done) == 8 and sum(harmed.done.values()) == 9
        system.rest()
        assert not proof.differences(system)
        assert not broken_chains(harmed.client, system.settings.redis.prefix)


@long_form
def test_workers_stop_and_start_while_redis_is_away_and_nothing_is_lost(
    kafka: Any, harmed: HarmedRedis, tmp_path: Path
) -> None:
    with build(kafka, harmed, tmp_path) as system:
        system.play(times(1) * 20.0)
        with harmed.replaced():
            wait_said(system, away=True)
            for number in (0, 1):
                began = time.monotonic()
                system.workers.stop(number)
                assert system.workers.code_of(number) == 0, system.workers.tail(number)
                assert time.monotonic() - began < 20.0
                system.workers.start(number)
                system.wait_recovered(workers=2)
            wait_said(system, away=True)
        wait_said(system, away=False)
        system.rest()
        assert not proof.differences(system)


@long_form
def test_a_worker_that_slept_with_a_full_buffer_overwrites_nothing_newer(
    kafka: Any, harmed: HarmedRedis, tmp_path: Path
) -> None:
    with build(kafka, harmed, tmp_path, **{"redis.max_pending_writes": 100_000}) as system:
        system.play(times(1) * 30.0)
        sleeper, awake = system.workers.urls[0], system.workers.urls[1]
        with harmed.stopped():
            wait_said(system, away=True)
            wait_until(lambda: "" if total_of(sleeper, PENDING) > 50 else "its buffer is empty", 30)
            system.workers.freeze(0)
        held = "orgpulse_watermark_timestamp_seconds"
        partitions = system.settings.kafka.partitions
        wait_until(lambda: "" if len(read_metrics(awake, (held,)).get(held, {})) == partitions else "not taken", 60)
        wait_until(lambda: "" if redis_check(awake)[0] and total_of(awake, PENDING) == 0 else "not told", 30)
        system.workers.thaw(0)
        # Awake, it either tries to write and is refused, or learns first that it lost everything and begins anew.
        wait_until(
            lambda: "" if total_of(sleeper, FENCED) + total_of(sleeper, RESTARTS) > 0 else "it goes on as if awake", 60
        )
        print(f"{total_of(sleeper, FENCED):.0f} older writes refused, {total_of(sleeper, RESTARTS):.0f} new beginning")
        system.rest()
        assert not proof.differences(system)
        assert not broken_chains(harmed.client, system.settings.redis.prefix)
