"""Replies meet their parents, whichever comes first."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from state.replies import SELF, WAITING, Match, Replies
from tests.state.worlds import DAY, HOUR, at, examples

T0 = at("2024-03-04T09:00")
ANN, BOB, CAT = 1, 2, 3


def replies(horizon_ms: int = 30 * DAY, limit: int = 1000) -> Replies:
    return Replies(horizon_ms, limit)


def match(who: int, at_ms: int, *, first: bool = False, kind: str = WAITING, weight: int = 1) -> Match:
    """Return a reply to ann's message of 09:00."""
    return Match(ANN, T0, "", who, at_ms, kind, first, weight)


def net(matches: list[Match]) -> Counter[tuple[Any, ...]]:
    """Return what matches add up to."""
    found: Counter[tuple[Any, ...]] = Counter()
    for m in matches:
        found[m.parent_slot, m.parent_ms, m.reply_slot, m.reply_ms, m.kind, m.first] += m.weight
    return Counter({key: n for key, n in found.items() if n})


def test_a_reply_after_its_parent_is_matched_at_once() -> None:
    # ann 09:00 ──── 20 min ────► bob 09:20
    found = replies()
    assert found.message(10, 0, ANN, T0) == []
    assert found.message(11, 10, BOB, T0 + 1_200_000) == [match(BOB, T0 + 1_200_000, first=True)]


def test_a_reply_before_its_parent_waits_for_it() -> None:
    found = replies()
    assert found.message(11, 10, BOB, T0 + 1_200_000) == []
    assert found.message(10, 0, ANN, T0) == [match(BOB, T0 + 1_200_000, first=True)]
    assert found.message(12, 10, CAT, T0 + HOUR) == [match(CAT, T0 + HOUR)]


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
    assert replies().message(10, 10, ANN, T0) == [match(ANN, T0, kind=SELF)]


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


def test_an_earlier_reply_that_comes_late_becomes_the_first() -> None:
    # ann 09:00 ──── bob 10:00 (came first) ◄── cat 09:30 (came second)
    found = replies()
    found.message(10, 0, ANN, T0)
    every = [*found.message(11, 10, BOB, T0 + HOUR), *found.message(12, 10, CAT, T0 + HOUR // 2)]
    assert net(every) == net([match(CAT, T0 + HOUR // 2, first=True), match(BOB, T0 + HOUR)])


def test_a_deleted_reply_hands_the_first_place_on() -> None:
    found = replies()
    found.message(10, 0, ANN, T0)
    every = [*found.message(11, 10, BOB, T0 + 1000), *found.message(12, 10, CAT, T0 + 2000)]
    gone, taken = found.delete(11, T0 + 3000)
    assert gone is not None and gone.time_ms == T0 + 1000
    assert net([*every, *taken]) == net([match(CAT, T0 + 2000, first=True)])
    assert found.delete(11, T0 + 4000) == (None, [])


def test_a_deletion_may_come_before_its_message() -> None:
    found = replies()
    assert found.delete(10, T0 + HOUR) == (None, [])
    assert found.message(10, 0, ANN, T0) is None
    assert found.message(11, 10, BOB, T0 + 5) == []
    assert found.message(12, 11, CAT, T0 + 9) != []


def test_an_id_that_comes_again_is_no_second_message() -> None:
    found = replies()
    found.message(10, 0, ANN, T0)
    found.message(11, 10, BOB, T0 + 5)
    assert found.message(11, 10, BOB, T0 + 9) is None
    assert len(found) == 3


@examples(200)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4), st.integers(-100, 100)), min_size=1, max_size=14),
    st.sets(st.integers(1, 16), max_size=5),
    st.integers(0, 999),
)
def test_any_order_of_arrival_adds_up_to_the_same(
    messages: list[tuple[int, int, int]], deleted: set[int], seed: int
) -> None:
    # message n (1, 2, …) replies to message `parent` (0 = to nobody, above the last = to one that never comes)
    numbered = [(n, *m) for n, m in enumerate(messages, 1)]
    left = {n: (slot, time) for n, _, slot, time in numbered if n not in deleted}
    expected: Counter[tuple[Any, ...]] = Counter()
    for parent, (author, asked) in left.items():
        answers = sorted((time, n, slot) for n, p, slot, time in numbered if p == parent and n in left)
        counting = [each for each in answers if each[2] != author and each[0] >= asked]
        for answer in answers:
            time, _, slot = answer
            kind = SELF if slot == author else "negative_latency" if time < asked else WAITING
            expected[author, asked, slot, time, kind, bool(counting) and answer == counting[0]] += 1
    steps: list[tuple[int, ...]] = [*numbered, *((n,) for n in sorted(deleted))]
    random.Random(seed).shuffle(steps)
    found, matches, written = replies(), [], Counter[int]()
    for step in steps:
        if len(step) == 1:
            gone, more = found.delete(step[0], 5000)
            written[step[0]] -= gone is not None
        else:
            n, parent, slot, time = step
            answers_now = found.message(n, parent, slot, time)
            written[n] += answers_now is not None
            more = answers_now or []
        matches += more
    assert net(matches) == expected
    assert {n for n, times in written.items() if times} == left.keys()


def test_restored_it_goes_on_alike() -> None:
    found = replies(limit=4)
    for n in range(6):
        found.message(10 + n, 0 if n % 2 else 100 + n, ANN, T0 + n)
    found.delete(13, T0 + 50)
    fresh = replies(limit=4)
    fresh.restore(found.segments())
    assert fresh.segments() == found.segments() and len(fresh) == len(found)
    for n in range(6):
        assert fresh.message(100 + n, 10 + n, BOB, T0 + HOUR) == found.message(100 + n, 10 + n, BOB, T0 + HOUR)
    assert fresh.segments() == found.segments()
