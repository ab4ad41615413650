"""Replies meet their parents, whichever comes first."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from state.replies import Match, Replies
from tests.state.worlds import DAY, HOUR, at, examples

T0 = at("2024-03-04T09:00")
ANN, BOB, CAT = 1, 2, 3


def replies(horizon_ms: int = 30 * DAY, limit: int = 1000) -> Replies:
    return Replies(horizon_ms, limit)


def test_a_reply_after_its_parent_is_matched_at_once() -> None:
    # ann 09:00 ──── 20 min ────► bob 09:20
    found = replies()
    assert found.message(10, 0, ANN, T0) == []
    assert found.message(11, 10, BOB, T0 + 1_200_000) == [Match(ANN, T0, BOB, T0 + 1_200_000, True)]


def test_a_reply_before_its_parent_waits_for_it() -> None:
    found = replies()
    assert found.message(11, 10, BOB, T0 + 1_200_000) == []
    assert found.message(10, 0, ANN, T0) == [Match(ANN, T0, BOB, T0 + 1_200_000, True)]
    assert found.message(12, 10, CAT, T0 + HOUR) == [Match(ANN, T0, CAT, T0 + HOUR, False)]


def test_fifty_hours_are_fifty_hours() -> None:
    # The days of a duration count too: 50 h is not 2 h.
    found = replies()
    found.message(10, 0, ANN, T0)
    (match,) = found.message(11, 10, BOB, T0 + 50 * HOUR)
    assert match.reply_ms - match.parent_ms == 50 * HOUR


def test_every_reply_is_matched_and_only_one_is_the_first() -> None:
    found = replies()
    found.message(10, 0, ANN, T0)
    matches = [m for n in range(3) for m in found.message(20 + n, 10, BOB + n, T0 + n * HOUR)]
    assert [m.first for m in matches] == [True, False, False]


def test_neither_a_self_reply_nor_a_reply_from_the_past_is_an_answer() -> None:
    found = replies()
    found.message(10, 0, ANN, T0)
    assert [m.first for m in found.message(11, 10, ANN, T0 + HOUR)] == [False]
    assert [m.first for m in found.message(12, 10, BOB, T0 - HOUR)] == [False]
    assert [m.first for m in found.message(13, 10, BOB, T0 + HOUR)] == [True]


def test_a_message_that_answers_itself_ends() -> None:
    assert replies().message(10, 10, ANN, T0) == [Match(ANN, T0, ANN, T0, False)]


def test_a_chain_matches_link_by_link() -> None:
    found = replies()
    found.message(1, 0, ANN, T0)
    assert len(found.message(2, 1, BOB, T0 + 1)) == 1
    assert [m.parent_slot for m in found.message(3, 2, CAT, T0 + 2)] == [BOB]


def test_beyond_the_horizon_a_message_is_forgotten() -> None:
    found = replies(horizon_ms=2 * DAY)
    found.message(10, 0, ANN, T0)
    found.message(21, 20, BOB, T0)  # waits for 20
    found.advance(T0 + 2 * DAY)
    assert len(found.message(11, 10, BOB, T0 + HOUR)) == 1
    found.advance(T0 + 2 * DAY + 1)
    assert found.message(12, 10, CAT, T0 + HOUR) == []
    assert found.message(20, 0, ANN, T0) == []


def test_at_the_limit_the_oldest_go_and_are_counted() -> None:
    found = replies(limit=3)
    for n in range(5):
        found.message(10 + n, 0, ANN, T0 + n)
    assert len(found) == 3 and found.given_up == 2
    assert found.message(30, 10, BOB, T0 + HOUR) == []
    assert len(found.message(31, 14, BOB, T0 + HOUR)) == 1


def test_replies_to_what_never_comes_do_not_push_out_fresh_messages() -> None:
    # orphans of last month ──────────────── limit ──── a message of today must stay open
    found = replies(limit=10)
    for n in range(20):
        found.message(1000 + n, 5000 + n, ANN, T0 + n)
    found.message(10, 0, ANN, T0 + DAY)
    assert len(found.message(11, 10, BOB, T0 + DAY + HOUR)) == 1


def test_a_thousand_replies_to_one_missing_message_are_bounded_too() -> None:
    found = replies(limit=50)
    for n in range(1000):
        found.message(100 + n, 7, BOB, T0 + n)
    waiting = sum(len(entry[1]) for entry in found.segments()["waiting"])
    assert waiting <= 50 and len(found) <= 50


@examples(100)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4), st.integers(-100, 100)), min_size=1, max_size=14),
    st.integers(0, 999),
)
def test_any_order_of_arrival_finds_the_same_pairs(messages: list[tuple[int, int, int]], seed: int) -> None:
    # message n (1, 2, …) replies to message `parent` (0 = to nobody, above the last = to one that never comes)
    numbered = [(n, *m) for n, m in enumerate(messages, 1)]
    by_id = {n: (slot, time) for n, _, slot, time in numbered}
    expected = sorted((*by_id[p], slot, time) for _, p, slot, time in numbered if p in by_id)
    random.Random(seed).shuffle(numbered)
    found = replies()
    pairs = [
        (m.parent_slot, m.parent_ms, m.reply_slot, m.reply_ms)
        for n, parent, slot, time in numbered
        for m in found.message(n, parent, slot, time)
    ]
    assert sorted(pairs) == expected


def test_restored_it_goes_on_alike() -> None:
    found = replies(limit=4)
    for n in range(6):
        found.message(10 + n, 0 if n % 2 else 100 + n, ANN, T0 + n)
    fresh = replies(limit=4)
    fresh.restore(found.segments())
    assert fresh.segments() == found.segments() and len(fresh) == len(found)
    for n in range(6):
        assert fresh.message(100 + n, 10 + n, BOB, T0 + HOUR) == found.message(100 + n, 10 + n, BOB, T0 + HOUR)
    assert fresh.segments() == found.segments()
