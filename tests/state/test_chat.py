"""Chat activity: windows, who is online, who wrote; in whatever order it comes."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.chat_documents import ChatDocuments
from reports.compare_chat import compare_chat
from reports.recount_chat import ChatCount
from reports.recount_people import OrgEntry, People
from state.activity import SEPARATOR, Correction, Member, Org, Tick
from state.chat_store import Messages
from state.effects import ChatCounts
from state.shard import Shard
from tests.state.worlds import DAY, HOUR, Act, at, examples, rows_of, shard_of

NOON = at("2024-03-06T12:00")
MINUTE, WINDOW = 60_000, 600_000


def message(user: str, time_ms: int, id_: int, org: str = "a") -> Act:
    return Act(org, user, "message", time_ms, id_)


def sample(online: int, time_ms: int, id_: int, server: int = 1, org: str = "a") -> Act:
    return Act(org, "", "presence", time_ms, id_, online, server)


def play(shard: Shard, *acts: Act) -> None:
    shard.apply(rows_of(acts), shard.position)


def told(shard: Shard, time_ms: int = 0) -> dict[str, ChatCounts]:
    """Let a round begin at *time_ms* (0 = where the shard is); return what is told by org."""
    effects = shard.apply(Tick(time_ms or shard.watermark_ms, shard.position), shard.position) or []
    return {e.org: e for e in effects if isinstance(e, ChatCounts)}


def windows(found: ChatCounts) -> list[tuple[int, int, int | None]]:
    """Return minutes since noon, messages and members online of each window."""
    return [((number * WINDOW - NOON) // MINUTE, messages, online) for number, messages, online in found.windows]


def people(found: ChatCounts) -> dict[str, int]:
    return {user: messages for user, _, messages in found.people}


class _Fence:
    def fence(self, position: int) -> str:
        return str(position)


def differences(shard: Shard, acts: list[Act], zone: str = "UTC") -> list[Any]:
    """Return how the shard's documents differ from a recount of *acts*."""
    rows = [(a.org, a.user, a.measure, a.time_ms, a.amount, a.ref) for a in acts]
    events = pd.DataFrame(rows, columns=["org", "user", "measure", "time_ms", "amount", "ref"])
    chat = ChatCount.of(events, People(orgs={"a": OrgEntry("", zone)}), ChatCount().options)
    spell: Any = ChatDocuments(_Fence())  # type: ignore[arg-type]  # of all documents it asks for fences alone
    found = {e.org: e for e in shard.documents() if isinstance(e, ChatCounts)}
    documents = {f"chat:{{{org}}}": dict(spell.write(e, 1, 0).fields) for org, e in found.items()}
    return compare_chat(chat, documents, shard.watermark_ms).differences


# --- windows ---


def test_messages_count_in_windows_that_begin_at_whole_ten_minutes() -> None:
    shard = shard_of()
    times = (NOON, NOON + 9 * MINUTE + 59_999, NOON + 10 * MINUTE, NOON + 47 * MINUTE)
    play(shard, *(message("ann", time_ms, n) for n, time_ms in enumerate(times, 1)))
    found = told(shard)["a"]
    assert windows(found) == [(0, 2, None), (10, 1, None), (40, 1, None)]
    assert (found.messages, found.last_message_ms, found.online) == (4, times[-1], None)


def test_the_newest_sample_of_a_window_counts_whatever_came_last() -> None:
    for order in ((1, 2, 3), (3, 1, 2), (2, 3, 1)):
        shard = shard_of()
        for n in order:
            play(shard, sample(10 * n, NOON + n * MINUTE, n))
        found = told(shard)["a"]
        assert (windows(found), found.online, found.online_at_ms) == ([(0, 0, 30)], 30, NOON + 3 * MINUTE)


def test_servers_of_an_org_add_up_and_none_hides_another() -> None:
    shard = shard_of()
    play(shard, sample(5, NOON, 1, server=1), sample(7, NOON + MINUTE, 2, server=2), sample(0, NOON, 3, server=3))
    play(shard, sample(6, NOON + 10 * MINUTE, 4, server=1))
    found = told(shard)["a"]
    assert (windows(found), found.online) == ([(0, 0, 12), (10, 0, 6)], 13)


def test_a_server_that_falls_silent_counts_no_more_after_two_windows() -> None:
    shard = shard_of()
    play(shard, sample(5, NOON, 1, server=1), sample(7, NOON + MINUTE, 2, server=2))
    play(shard, sample(6, NOON + 20 * MINUTE, 3, server=1))
    assert told(shard)["a"].online == 13
    play(shard, sample(6, NOON + 21 * MINUTE, 4, server=1))
    assert told(shard)["a"].online == 6


def test_who_is_online_is_unknown_half_an_hour_after_the_last_sample() -> None:
    shard = shard_of()
    play(shard, sample(5, NOON, 1))
    assert told(shard, NOON + 29 * MINUTE)["a"].online == 5
    found = told(shard, NOON + 31 * MINUTE)["a"]
    assert (found.online, found.online_at_ms) == (None, NOON)


# --- people ---


def test_people_are_told_by_what_they_are_called_who_wrote_most_first() -> None:
    shard = shard_of(max_chat_people=2)
    shard.apply(Member("a", "8", True, "", display_name="Ann Ångström"), 0)
    play(shard, *(message(user, NOON + n, n + 1) for n, user in enumerate(("bob", "8", "cat", "8", "bob", "dan"))))
    found = told(shard)["a"]
    assert (found.people, found.people_left_out) == ([("8", "Ann Ångström", 2), ("bob", "", 2)], 2)
    shard.apply(Member("a", "8", True, "", display_name="Ann"), shard.position)
    assert told(shard)["a"].people[0][1] == "Ann"
    shard.apply(Member("a", "8", True, "", gone=True), shard.position)
    assert told(shard)["a"].people[0] == ("8", "", 2)


def test_messages_follow_whose_they_turned_out_to_be() -> None:
    shard = shard_of()
    play(shard, message("x", NOON, 1), message("x", NOON + 1, 2), message("ann", NOON + 1, 3), message("bob", NOON, 4))
    names = ["a" + SEPARATOR + "x", "a" + SEPARATOR + "ann"]
    rows = [(0, 1, NOON, -1, 0, NOON), (1, 1, NOON, 1, 0, NOON), (0, 1, NOON + 1, -1, 0, NOON + 1)]
    others = [(1, 0, NOON, 1, 0, NOON)]  # of another measure: nothing to do with chat
    shard.apply(Correction("a", names, ["search", "message"], [*rows, *others]), shard.position)
    found = told(shard)["a"]
    assert (people(found), found.messages, windows(found)) == ({"ann": 2, "bob": 1}, 3, [(0, 3, None)])


def test_an_org_that_all_messages_leave_has_no_document() -> None:
    shard = shard_of()
    play(shard, message("x", NOON, 1))
    assert shard.chat.has("a") and told(shard)["a"].windows
    shard.apply(Correction("a", ["a" + SEPARATOR + "x"], ["message"], [(0, 0, NOON, -1, 0, NOON)]), shard.position)
    assert told(shard)["a"].windows == []
    assert not shard.chat.has("a") and not shard.chat.has("nobody")
    assert not [e for e in shard.documents() if isinstance(e, ChatCounts)]


# --- time ---


def test_what_is_older_than_the_horizon_counts_no_more_hour_by_hour() -> None:
    shard = shard_of(chat_days=1)
    play(shard, message("ann", NOON + MINUTE, 1), message("ann", NOON + HOUR, 2), sample(3, NOON + 2 * HOUR, 3))
    assert told(shard, NOON + DAY + 59 * MINUTE)["a"].messages == 2
    found = told(shard, NOON + DAY + HOUR)["a"]
    assert (found.messages, found.since_ms) == (1, NOON + HOUR)
    assert told(shard, NOON + DAY + 3 * HOUR)["a"].windows == []
    play(shard, message("ann", NOON + HOUR, 4))  # beyond the horizon, though on time for its week
    assert not told(shard)


def test_figures_are_told_when_they_change_and_while_windows_pass_after_the_last_message() -> None:
    shard = shard_of()
    play(shard, message("ann", NOON, 1), message("bob", NOON, 9, org="b"))
    assert set(told(shard)) == {"a", "b"}
    assert not told(shard, NOON + MINUTE)
    assert set(told(shard, NOON + 10 * MINUTE)) == {"a", "b"}
    play(shard, message("ann", NOON + 11 * MINUTE, 2))
    assert set(told(shard)) == {"a"}
    for minutes in (20, 30, 40, 50):
        told(shard, NOON + minutes * MINUTE)
    assert not told(shard, NOON + 2 * HOUR)


def test_another_zone_is_told() -> None:
    shard = shard_of()
    play(shard, message("ann", NOON, 1))
    assert told(shard)["a"].timezone == "UTC"
    shard.apply(Org("a", "", "Asia/Kolkata", ""), shard.position)
    assert told(shard)["a"].timezone == "Asia/Kolkata"
    shard.apply(Org("quiet", "", "Asia/Kolkata", ""), shard.position)
    assert not told(shard)


# --- bounds ---


@pytest.mark.parametrize("limit", ["max_chat_messages", "max_chat_samples"])
def test_above_a_limit_the_oldest_windows_are_let_go_and_that_is_said(limit: str) -> None:
    shard = shard_of(**{limit: 20})
    for n in range(60):
        act = message("ann", NOON + n * MINUTE, n + 1) if "messages" in limit else sample(n, NOON + n * WINDOW, n + 1)
        play(shard, act)
    found = told(shard)["a"]
    kept = found.messages if "messages" in limit else len(found.windows)
    assert 10 <= kept <= 25
    assert found.since_ms == found.windows[0][0] * WINDOW > NOON
    play(shard, message("ann", found.since_ms - 1, 99))
    assert not told(shard)


# --- whatever the order ---

acts = st.builds(
    lambda org, user, online, back, id_: (
        message(user, NOON - back, id_, org) if online is None else sample(online, NOON - back, id_, 1 + id_ % 2, org)
    ),
    st.sampled_from("ab"),
    st.sampled_from(("ann", "bob", "cat")),
    st.none() | st.integers(0, 50),
    st.integers(0, 9 * DAY),
    st.integers(1, 400),
)


@given(st.lists(acts, min_size=1, max_size=60), st.integers(0, 1 << 30))
@examples(150)
def test_what_is_told_is_the_recount_whatever_the_order_and_the_chunks(found: list[Act], seed: int) -> None:
    found = list({a.id: a for a in found}.values())
    rng, zone = random.Random(seed), "America/New_York"
    again, shard = [*found, *rng.sample(found, len(found) // 3)], shard_of()
    rng.shuffle(again)
    shard.apply(Org("a", "", zone, ""), 0)
    while again:
        length = rng.randrange(1, 20)
        play(shard, *again[:length])
        again = again[length:]
        if rng.random() < 0.3:
            told(shard)
        if rng.random() < 0.3:
            restored = shard_of()
            restored.restore(shard.checkpoint())
            shard = restored
    told(shard, NOON + rng.randrange(2 * HOUR))
    assert not differences(shard, found, zone)


def test_the_recount_sees_a_message_too_few_and_a_sample_too_many() -> None:
    shard = shard_of()
    known = [message("ann", NOON, 1), sample(3, NOON, 2)]
    play(shard, *known)
    told(shard)
    assert not differences(shard, known)
    assert {d.field for d in differences(shard, [*known, message("ann", NOON + 1, 3)])} >= {"messages_total", "people"}
    assert {d.field for d in differences(shard, known[:1])} >= {"online", "windows"}


@given(st.lists(st.tuples(st.integers(0, 60 * DAY), st.integers(0, 3), st.sampled_from((1, 1, 1, -1))), max_size=80))
@examples(100)
def test_messages_add_up_over_any_span_however_they_are_merged(rows: list[tuple[int, int, int]]) -> None:
    import numpy as np

    at_once, piecewise = Messages(), Messages()
    for store, size in ((at_once, len(rows) or 1), (piecewise, 3)):
        for first in range(0, len(rows), size):
            columns = np.array(rows[first : first + size], np.int64).T
            store.add(*columns)
            if size == 3:
                store.merge(0)
        store.merge(0)
    naive = pd.DataFrame(rows, columns=["time", "slot", "n"]).groupby(["time", "slot"])["n"].sum()
    for store in (at_once, piecewise):
        assert dict(zip(zip(store.times.tolist(), store.slots.tolist(), strict=True), store.counts, strict=True)) == {
            place: n for place, n in naive.items() if n
        }


# --- checkpoints ---


def test_a_restored_shard_tells_the_same_and_goes_on_alike() -> None:
    shard, restored = shard_of(), shard_of()
    shard.apply(Member("a", "ann", True, "", display_name="Ann"), 0)
    play(shard, *(message("ann", NOON - n * HOUR, n + 1) for n in range(50)), sample(4, NOON, 100))
    told(shard)
    play(shard, message("bob", NOON, 101), message("ann", NOON - HOUR, 103))  # the second one of that instant
    restored.restore(shard.checkpoint())
    assert restored.checkpoint() == shard.checkpoint()
    assert list(restored.documents()) == list(shard.documents())
    for each in (shard, restored):
        play(each, message("ann", NOON + HOUR, 102))
    assert told(restored) == told(shard)
    assert restored.checkpoint() == shard.checkpoint()


def test_a_checkpoint_of_before_knows_nothing_of_what_came_until_then() -> None:
    shard, restored = shard_of(), shard_of()
    play(shard, message("ann", NOON, 1))
    restored.restore({name: raw for name, raw in shard.checkpoint().items() if not name.startswith("chat:")})
    assert not told(restored)
    play(restored, message("ann", NOON - 1, 2), message("ann", NOON + 1, 3))
    found = told(restored)["a"]
    assert (found.messages, found.since_ms) == (1, NOON)
