"""The ledger's table and its gauges."""

from __future__ import annotations

from collections import Counter

import pytest

from agents.ledger import PARK, SHARD, Ledger
from agents.ledger_sum import Account, _account, _Look
from state.ledger import SourceLedger
from streams.metrics import Metrics
from tests.agents.by_hand import Table

SOURCE = ("product-events", 1)


class Place:
    """A ledger with its metrics."""

    def __init__(self) -> None:
        self.table, self.metrics = Table(), Metrics()
        self.ledger = Ledger(self.table, self.metrics)  # type: ignore[arg-type]

    def fold(self, partition: int, *counts: int) -> None:
        self.ledger.keep_shares(partition, SHARD, {SOURCE: list(counts)})
        self.ledger.show(partition, SHARD)

    def shown(self, outcome: str) -> float | None:
        return self.metrics.ledger.value(*SOURCE, outcome)


def test_shares_of_several_owned_shards_add_up_and_go_with_their_partition() -> None:
    place = Place()
    place.fold(0, 10, 2, 1, 0, 0)
    place.fold(3, 5, 0, 0, 4, 3)
    assert (place.shown("accepted"), place.metrics.ledger_gap.value(*SOURCE)) == (15, 7)
    place.ledger.drop(3)
    assert (place.shown("accepted"), place.metrics.ledger_gap.value(*SOURCE)) == (10, 0)
    place.ledger.drop(0)
    assert not place.metrics.ledger.values and not place.metrics.ledger_gap.values


def test_after_a_recovery_everything_kept_is_shown() -> None:
    place = Place()
    place.ledger.keep_source(1, "product-events", SourceLedger(9, 5, 1, 2, 1))
    place.ledger.keep_shares(1, PARK, {SOURCE: [2, 0, 0, 0]})
    place.ledger.show_all(1)
    assert [place.shown(name) for name in ("consumed", "forwarded", "waiting")] == [9, 5, 2]


def test_an_unchanged_share_is_not_written_again() -> None:
    place = Place()
    assert len(place.ledger.keep_shares(0, SHARD, {SOURCE: [1, 0, 0, 0, 0]})) == 1
    assert place.ledger.keep_shares(0, SHARD, {SOURCE: [1, 0, 0, 0, 0]}) == []
    assert len(place.ledger.keep_shares(0, SHARD, {SOURCE: [2, 0, 0, 0, 0]})) == 1


def account(now: dict[str, int], before: dict[str, int] | None = None, way: dict[str, int] | None = None) -> Account:
    return _account(
        SOURCE,
        _Look(
            {SOURCE: Counter(now if before is None else before)}, {SOURCE: Counter(now)}, {SOURCE: Counter(way or {})}
        ),
    )


BOOKS = {
    "consumed": 20, "forwarded": 10, "dead_lettered": 1, "parked": 6, "apart": 3,
    "waiting": 1, "released": 3, "bot": 1, "dropped": 1, "accepted": 11, "duplicate": 1, "late": 1,
}  # fmt: skip


def test_right_books_close() -> None:
    found = account(BOOKS)
    assert (found.gap, found.in_flight, found.dead_letters, found.apart) == (0, 0, 2, 4)


@pytest.mark.parametrize("outcome", ["accepted", "duplicate", "late", "waiting", "released", "bot", "dropped"])
@pytest.mark.parametrize("change", [1, -1])
def test_one_message_more_or_less_anywhere_is_a_gap(outcome: str, change: int) -> None:
    found = account(BOOKS | {outcome: BOOKS[outcome] + change})
    assert found.gap >= 1


def test_a_gap_that_the_shard_counted_is_not_counted_again() -> None:
    assert account(BOOKS | {"accepted": 7, "lost": 4}).lost == 4
    assert account(BOOKS | {"duplicate": 6, "twice": 5}).gap == 5
    assert account(BOOKS | {"lost": 3, "twice": 3}).gap == 6


def test_what_lies_in_the_log_or_came_meanwhile_is_no_gap() -> None:
    on_its_way = account(BOOKS | {"accepted": 8}, way={"rows": 3})
    assert (on_its_way.gap, on_its_way.in_flight) == (0, 3)
    later = account(BOOKS | {"forwarded": 12, "consumed": 22}, before=BOOKS)
    assert (later.gap, later.in_flight) == (0, 2)
