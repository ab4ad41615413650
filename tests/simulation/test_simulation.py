"""Nothing is lost or counted twice, whatever crashes whenever: many small worlds, and each fault is needed.

A failure prints the shrunken steps and a line that repeats it (`@reproduce_failure`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from agents.manifest import DamagedCheckpointError
from tests.faults.extent import fresh_seed, long_form, times
from tests.simulation.ground import PARTITIONS
from tests.simulation.machine import TALKED, Simulation
from tests.simulation.messages import TALKS, TIMED
from tests.simulation.mutations import MUTATIONS, Mutation, redis_takes_older_writes, zombies_are_not_fenced

RUNS = times(40)
RUNS_WITH_RECOUNT = times(4)
STEPS = 40
MOST_RUNS_TO_FIND = 400
pytestmark = pytest.mark.timeout(300 + 2 * RUNS)

MOST_ROUNDS = 4


class Faults(Simulation):
    """The same with less that is hard to count: then something that is taken out of the system is missed sooner."""

    conversation = timed = None  # type: ignore[assignment]  # no rules any more


class Recounted(Simulation):
    """The same, with a conversation and a measure by the hour of each kind, and the recount is asked in the end."""

    recounted = True

    @initialize(partition=st.integers(0, PARTITIONS - 1), talked=TALKED, hours=st.integers(0, 120))
    def everything(self, partition: int, talked: int, hours: int) -> None:
        self.conversation(sorted(TALKS), partition, talked)
        self.timed("bob", hours, TIMED, partition)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Drop the log lines of thousands of restored shards."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    Simulation.happened.clear()
    yield
    structlog.reset_defaults()


def limits(runs: int) -> settings:
    """Return settings for *runs* runs; hypothesis' own settings for build servers would repeat the same runs."""
    return settings(
        max_examples=runs, stateful_step_count=STEPS, deadline=None, database=None, print_blob=True,
        derandomize=False, suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def seeded(machine: type[Simulation], number: int) -> type[Simulation]:
    """Return *machine*, with the runs that *number* gives."""
    return seed(number)(type(machine.__name__, (machine,), {}))


def test_nothing_is_lost_or_counted_twice_whatever_crashes_whenever() -> None:
    happened, first = Simulation.happened, fresh_seed()
    wanted = {"crash before", "crash in restore", "asleep before", "woken", "fenced", "redis", "duplicate", "talk"}
    for more in range(MOST_ROUNDS):  # a fault may by chance be missing from one round
        run_state_machine_as_test(seeded(Simulation, first + more), settings=limits(RUNS))
        missing = {fault for fault in wanted if not any(what.startswith(fault) for what in happened)}
        if not missing:
            break
    print(dict(happened))
    assert happened["runs"] >= RUNS
    assert not missing, f"not in {happened['runs']} runs"


def test_other_seeds_are_other_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    rounds = []
    for number in (1, 1, 2, 3):
        Simulation.happened.clear()
        run_state_machine_as_test(seeded(Simulation, number), settings=limits(5))
        rounds.append(dict(Simulation.happened))
    assert rounds[0] == rounds[1] and rounds[1] not in rounds[2:] and rounds[2] != rounds[3]


def test_the_recount_agrees() -> None:
    run_state_machine_as_test(seeded(Recounted, fresh_seed()), settings=limits(RUNS_WITH_RECOUNT))
    happened = Simulation.happened
    assert happened["runs"] >= RUNS_WITH_RECOUNT and happened["measures compared"] >= 6 * RUNS_WITH_RECOUNT
    assert all(happened[f"talk {name}"] >= RUNS_WITH_RECOUNT for name in TALKS), dict(happened)


_LATE_TO_SHOW = (zombies_are_not_fenced, redis_takes_older_writes)  # after many runs


@pytest.mark.parametrize(
    "mutation",
    [pytest.param(each, marks=long_form) if each in _LATE_TO_SHOW else each for each in MUTATIONS],
    ids=lambda mutation: mutation.__name__,
)
def test_what_is_taken_out_is_missed(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    same_runs_every_time = settings(
        limits(MOST_RUNS_TO_FIND), derandomize=True, phases=[Phase.generate], report_multiple_bugs=False
    )
    mutation(monkeypatch)
    with pytest.raises((AssertionError, LookupError, DamagedCheckpointError)):  # a torn checkpoint is no state
        run_state_machine_as_test(Faults, settings=same_runs_every_time)
    print(f"{mutation.__name__}: found after {Simulation.happened['runs'] + 1} runs")
