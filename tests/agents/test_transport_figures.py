"""What the transport's state is in the metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.types import TP

from agents.transport_figures import TransportFigures
from streams.faust_app import make_app
from streams.metrics import Metrics
from streams.positions import Position

FOLD, OTHER, RAW = TP("x-activities", 0), TP("x-activities", 3), TP("x-syslog-activities", 1)


def app_of(**state: Any) -> Any:
    """An app's state as far as the figures look at it."""
    transactions = SimpleNamespace(owned=frozenset({FOLD, OTHER, RAW}), committed={FOLD: 5, RAW: 7}, retries=0)
    plain = {
        "positions": lambda: {FOLD: Position(5, 9)}, "partitions": 4, "transactions": transactions, "rebalances": 2,
        "recovering": False, "recovery_seconds": 1.5, "live": frozenset({FOLD, RAW}),
        "held_back": None,
    }  # fmt: skip
    return SimpleNamespace(**plain | state)


def test_a_commit_is_told_of_the_partition_that_made_it_alone() -> None:
    metrics, app = Metrics(), app_of()
    figures = TransportFigures(app, metrics, "x-activities")
    figures.bring(100.0)
    app.transactions.committed[FOLD] = 6
    figures.bring(130.0)
    assert metrics.last_commit.values == {("x-activities", "0"): 130.0, ("x-syslog-activities", "1"): 100.0}


def test_what_was_never_committed_here_has_no_age() -> None:
    metrics = Metrics()
    TransportFigures(app_of(live=frozenset({FOLD, OTHER, RAW})), metrics, "x-activities").bring(100.0)
    assert metrics.last_commit.value("x-activities", 3) is None


def test_partitions_of_activities_are_counted_and_no_others() -> None:
    metrics = Metrics()
    TransportFigures(app_of(recovering=True), metrics, "x-activities").bring(1.0)
    assert (metrics.partitions.value(), metrics.partitions_owned.value()) == (4, 2)
    assert (metrics.recovering.value(), metrics.recovery_duration.value()) == (1, 1.5)
    assert metrics.lag.value("x-activities", 0) == 4


def test_a_partition_that_was_looked_at_while_it_was_given_up_is_shown_no_longer() -> None:
    metrics, app = Metrics(), app_of()
    figures = TransportFigures(app, metrics, "x-activities")
    figures.bring(1.0)
    metrics.drop_source(*FOLD)  # its owner gives it up, and commits what is still to be committed
    figures.bring(2.0)
    app.live, app.positions = frozenset({RAW}), lambda: {RAW: Position(7, 7)}
    figures.bring(3.0)
    assert metrics.lag.values == {("x-syslog-activities", "1"): 0}
    assert ("x-activities", "0") not in metrics.last_commit.values


def test_sums_grow_by_what_came_since() -> None:
    metrics, app = Metrics(), app_of()
    figures = TransportFigures(app, metrics, "x-activities")
    figures.bring(1.0)
    app.rebalances, app.transactions.retries = 3, 2
    figures.bring(2.0)
    figures.bring(3.0)
    assert (metrics.rebalances.value(), metrics.kafka_retries.value("transaction")) == (3, 2)


async def through_a_recovery() -> list[bool]:
    """Whether an app says that it recovers: before, while and after it does, and once it is released."""
    app = make_app("no-broker-is-asked", "127.0.0.1:1", partitions=1)
    seen = [app.recovering]

    async def nothing(*_: Any) -> dict[Any, Any]:
        seen.append(app.recovering)
        return {}

    app._look_at_topics = nothing  # type: ignore[method-assign]
    app.transactions.own = app.transactions.disown = nothing  # type: ignore[assignment,method-assign]
    app._consumer = SimpleNamespace(_thread=SimpleNamespace(first_offsets=nothing))
    assert await app.take_over(set(), set())
    seen.append(app.recovering)
    app.on_flowing()
    seen.append(app.recovering)
    await app.take_over(set(), set())
    await app.release(set())
    return [*seen, app.recovering]


def test_an_app_recovers_from_its_assignment_until_chunks_flow_or_it_is_taken_away() -> None:
    import asyncio

    seen = asyncio.run(through_a_recovery())
    assert not seen[0] and not seen[-1]
    assert seen[1:5] == [True] * 4  # each step of the first recovery
    assert seen[6] is False  # flows


def test_what_a_quota_lets_through_and_how_long_it_held_is_shown_and_adds_up() -> None:
    held = SimpleNamespace(events_per_second=250.0, bytes_per_second=0.0, holding=True, held_seconds=3.0)
    metrics, app = Metrics(), app_of(held_back=held)
    figures = TransportFigures(app, metrics, "x-activities")
    figures.bring(1.0)
    held.holding, held.held_seconds = False, 5.0
    figures.bring(2.0)
    assert metrics.quota_events.value() == 250 and metrics.quota_bytes.value() is None
    assert (metrics.quota_held.value(), metrics.quota_held_seconds.value()) == (0, 5.0)
    held.events_per_second = 0.0  # no raw partition is this worker's any more
    figures.bring(3.0)
    assert metrics.quota_events.value() is None
