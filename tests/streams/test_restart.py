"""A failed worker begins anew by itself where that can help, and nowhere else."""

from __future__ import annotations

import asyncio
import random
import signal
import time

from streams.errors import StartAnewError
from streams.restart import Life, again, life_of, needs_operator, next_life
from streams.settings import SettingsError
from tests.streams.conftest import Place
from tests.streams.test_worker_faults import PATIENCE_SECONDS, code_of, filled, handled, reach, worker

#: Of a loaded machine; the pause itself is much longer.
AT_ONCE_SECONDS = 40.0


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    """Return the next line on standard error that has *text*; the end of the output fails."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while line := (await process.stderr.readline()).decode():
            if text in line:
                return line.strip()
    raise AssertionError(f"the worker ended without saying {text!r}")


def test_pauses_double_up_to_the_limit_and_begin_again_after_a_good_while() -> None:
    life, pauses = Life(), []
    for ran_seconds in (1, 1, 1, 1, 1, 61, 1):
        life = next_life(life, ValueError(), ran_seconds, 6.0, now=0.0)
        pauses.append(life.pause_seconds)
    assert pauses == [1.0, 2.0, 4.0, 6.0, 6.0, 1.0, 2.0]
    assert life.restarts == 7


def test_a_change_of_what_the_worker_builds_on_costs_no_pause_and_no_patience() -> None:
    life = next_life(Life(), ValueError("first"), 1.0, 30.0, now=0.0)
    changed = next_life(life, StartAnewError("generation 2"), 1.0, 30.0, now=7.0)
    assert (changed.pause_seconds, changed.in_a_row, changed.restarts) == (0.0, 1, 2)
    assert (changed.reason, changed.kind, changed.ended_at) == (
        "StartAnewError: generation 2", "StartAnewError", 7.0
    )  # fmt: skip
    assert next_life(changed, StartAnewError("generation 2"), 1.0, 30.0, now=8.0).pause_seconds == 2.0
    assert next_life(changed, StartAnewError("generation 3"), 61.0, 30.0, now=70.0).pause_seconds == 0.0


def test_the_command_line_carries_one_life_however_often_it_is_run_again() -> None:
    argv = ["python3", "-m", "agents.cli", "worker"]
    life = next_life(Life(), ValueError("redis://app:geheim@cache:6379/0 'quoted' \"ü\""), 1.0, 30.0, now=0.0)
    second = again(again(argv, Life(restarts=41)), life)
    assert second[:-1] == argv
    assert life_of(second) == life
    assert "geheim" not in second[-1]


def test_only_errors_with_a_remedy_need_an_operator() -> None:
    assert needs_operator(SettingsError("a", "b"))
    assert not needs_operator(ValueError("a"))


def test_a_worker_that_fails_begins_anew_in_the_same_process_and_loses_nothing(place: Place) -> None:
    async def scenario() -> None:
        expected = await filled(place, 2_000)
        options = {"max_chunk": 100, "fail_at": 3, "failing_lives": 2, "restart_pause_seconds": 0.2}
        async with worker(place, **options) as process:
            for number in (1, 2):
                assert "ValueError: the handler does not like" in await line_with(process, "worker stopped:")
                said = await line_with(process, "worker starts anew")
                assert said == f"worker starts anew in 0.2 s, for the {number}. time"
            await reach(place, expected.total())
            process.send_signal(signal.SIGTERM)
            assert await code_of(process) == 0
        assert await place.counts() == expected

    asyncio.run(scenario())


def test_what_an_operator_has_to_resolve_ends_the_worker_and_says_what_to_do(place: Place) -> None:
    async def scenario() -> None:
        await filled(place, 200)
        async with worker(place, fail_at=1, failure="operator", restart_pause_seconds=0.2) as process:
            said = await line_with(process, "worker stopped:")
            assert said.endswith("OperatorError: the handler does not like this chunk")
            await line_with(process, "  Look into the chunk.")
            assert await code_of(process) == 1
        assert await handled(place) == 0

    asyncio.run(scenario())


def test_a_worker_that_pauses_before_its_next_life_ends_at_once_when_asked_to() -> None:
    async def scenario() -> None:
        nobody = Place("127.0.0.1:1", "nobody-")
        async with worker(nobody, restart_pause_seconds=30.0, first_pause_seconds=30.0) as process:
            await line_with(process, "worker starts anew")
            await line_with(process, "life 1")  # the new one's first word; it pauses now
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await code_of(process) == 0
            assert time.monotonic() - began < AT_ONCE_SECONDS

    asyncio.run(scenario())


def test_a_signal_between_two_lives_is_not_lost() -> None:
    delay_seconds = random.SystemRandom().uniform(0.0, 0.5)
    print(f"delay {delay_seconds} s")

    async def scenario() -> None:
        async with worker(Place("127.0.0.1:1", "nobody-"), restart_pause_seconds=30.0) as process:
            await line_with(process, "worker starts anew")
            await asyncio.sleep(delay_seconds)  # into the gap between two lives, at several places
            process.send_signal(signal.SIGTERM)
            assert await code_of(process) == 0

    asyncio.run(scenario())
