"""A partition that stands still with messages waiting is noticed, and no other."""

from __future__ import annotations

import pytest

from agents.stalls import StalledError, Stalls
from streams.faust_app import Position


def test_a_partition_that_stands_still_with_messages_waiting_is_noticed() -> None:
    stalls = Stalls(10.0)
    for now in range(11):
        stalls.check({"events-1": Position(5, 9)}, float(now))
    with pytest.raises(StalledError, match="events-1 stands at 5 for 11 s; 4 messages wait"):
        stalls.check({"events-1": Position(5, 9)}, 11.0)


def test_one_that_moves_is_done_or_was_away_meanwhile_is_not() -> None:
    stalls = Stalls(10.0)
    for now in range(100):
        stalls.check({"moves": Position(now // 8, 1000), "done": Position(7, 7)}, float(now))
    stalls.check({"comes": Position(1, 2)}, 100.0)
    stalls.check({}, 105.0)  # another worker has it
    stalls.check({"comes": Position(1, 2)}, 112.0)
    stalls.check({"comes": Position(1, 2)}, 121.0)
