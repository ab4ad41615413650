"""Replies, deletions, edits and lines, counted by hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

import reports.recount_latency as module
from reports.recount import Options, Recount
from reports.recount_latency import latency_cells
from tests.reports.test_recount import World, ledger, ms

MINUTE = 60_000
NINE = "2024-03-19T09:00:00Z"  # a Tuesday: hour 33 of the week
FIGURES = ["messages", "replies", "answered", "within"]


class Talk(World):
    """Messages of one channel and what became of them."""

    def say(self, id_: Any, who: str, time: str, parent: Any = None, **more: Any) -> Talk:
        fields = {"message_id": id_, "author": who, "time": f"2024-03-19T{time}:00Z", "channel": "c", "org_id": "acme"}
        self.put("chat-messages", fields | ({"in_reply_to": parent} if parent else {}) | more)
        return self

    def change(self, kind: str, id_: Any, time: str = "12:00", **more: Any) -> Talk:
        fields = {"type": kind, "message_id": id_, "time": f"2024-03-19T{time}:00Z", "channel": "c", "org_id": "acme"}
        self.put("chat-messages", fields | more)
        return self


def cell(found: Recount, hour: int = 33, org: str = "acme") -> list[int]:
    return [int(n) for n in found.latency.loc[(org, hour)][FIGURES]]


def derived(found: Recount) -> list[tuple[str, str, int]]:
    """Return replies given and received: user, measure, amount."""
    rows = found.happened[found.happened["measure"].str.startswith("reply_")]
    return sorted(rows[["user", "measure", "amount"]].itertuples(index=False, name=None))


def one_question() -> Talk:
    """Return a question at nine with answers after 10 and 20 minutes, and an own remark."""
    talk = Talk().say("m", "ann", "09:00")
    return talk.say("r1", "bob", "09:10", "m").say("r2", "cy", "09:20", "m").say("own", "ann", "09:01", "m")


def test_the_first_reply_is_the_earliest_that_counts_whatever_came_first() -> None:
    talk = one_question().say("before", "bob", "08:59", "m")
    for seed in range(5):
        mixed = Talk()
        # The order of arrival is that of the time stamps.
        order = random.Random(seed).sample(talk.raw, len(talk.raw))
        mixed.raw = [(t, p, n, k, v, ms("2024-03-20T12:30:00Z") + n) for n, (t, p, _, k, v, _) in enumerate(order)]
        found = mixed.count()
        assert found.replies[found.replies["first"]]["id"].tolist() == ["chat:r1"]
        figures = found.latency.loc[("acme", 33)]
        assert (figures["first_latency_ms"], figures["latency_ms"]) == (10 * MINUTE, 18 * MINUTE)
        assert cell(found) == [4, 2, 1, 1]
        assert figures["tolerance_ms"] == figures["first_tolerance_ms"] == 0


def test_of_two_replies_at_one_time_one_is_the_first() -> None:
    found = Talk().say("m", "ann", "09:00").say("b", "bob", "09:10", "m").say("a", "cy", "09:10", "m").count()
    assert found.replies[found.replies["first"]]["id"].tolist() == ["chat:a"] and cell(found) == [3, 2, 1, 1]


@pytest.mark.parametrize(("seconds", "within"), [(599, 0), (600, 1), (0, 0)])
def test_a_reply_right_at_the_target_is_within_it(seconds: int, within: int) -> None:
    assert cell(one_question().count(target_seconds=seconds)) == [4, 2, 1, within]


def test_a_deleted_reply_leaves_the_next_one_first() -> None:
    found = one_question().change("delete", "r1").count()
    assert cell(found) == [3, 1, 1, 1]
    assert found.latency.loc[("acme", 33), "first_latency_ms"] == 20 * MINUTE
    assert derived(found) == [("ann", "reply_received", 0), ("cy", "reply_given", 1200)]


def test_a_deleted_question_was_never_asked() -> None:
    found = one_question().change("delete", "m").count()
    assert cell(found) == [3, 0, 0, 0]  # the answers are still messages
    assert np.isnan(found.latency.loc[("acme", 33), "latency_ms"])
    assert derived(found) == [] and found.replies.empty
    assert found.users["activities"].to_dict() == {("acme", "ann"): 2, ("acme", "bob"): 1, ("acme", "cy"): 1}


def test_a_deletion_may_come_before_its_message() -> None:
    early = Talk().change("delete", "r1").change("delete", "m2")
    early.raw += [(t, p, n + 2, k, v, at + 2) for t, p, n, k, v, at in one_question().say("m2", "di", "09:30").raw]
    found, late = early.count(), one_question().say("m2", "di", "09:30").change("delete", "r1").change("delete", "m2")
    pd.testing.assert_frame_equal(found.latency, late.count().latency)
    pd.testing.assert_frame_equal(found.lines, late.count().lines)
    assert cell(found) == [3, 1, 1, 1]


def test_a_deletion_is_an_activity_that_counts_once_and_makes_nobody_active() -> None:
    talk = one_question().change("delete", "r1", author="mod").change("delete", "r1", "12:01").change("delete", "x")
    found = talk.count()
    assert ledger(found, "chat-messages") == {"consumed": 7, "accepted": 6, "duplicate": 1}
    rows = found.happened[found.happened["measure"] == "message_deleted"]
    assert rows[["org", "user"]].to_numpy().tolist() == [["acme", "mod"], ["acme", ""]]
    assert found.users.loc[("acme", "mod")][["score", "activities", "active"]].tolist() == [0, 0, False]
    assert found.orgs.loc["acme"][["activities", "active_users"]].tolist() == [4, 3]


def test_a_deletion_in_another_org_deletes_nothing_here() -> None:
    found = one_question().change("delete", "m", org_id="beta").count()
    assert cell(found) == [4, 2, 1, 1] and "beta" in found.orgs.index


def test_a_deletion_belongs_to_somebody() -> None:
    talk = Talk()
    talk.change("delete", "m", org_id=None, channel=None).change("delete", "m", org_id=None, server="beta")
    talk.change("delete", None).change("delete", "m", author=" ").change("delete", "m", time="99:00")
    found = talk.count()
    assert ledger(found, "chat-messages") == {
        "consumed": 5, "accepted": 1, "dead_lettered": 4, "dead:missing_field": 2, "dead:blank_id": 1,
        "dead:bad_time": 1,
    }  # fmt: skip
    assert found.happened["org"].tolist() == ["beta"]


def test_an_edit_is_counted_apart_and_changes_nothing() -> None:
    edited = one_question().change("edit", "m", author="ann").change("edit", "r1").change("edit", "r1")
    found, plain = edited.count(), one_question().count()
    assert ledger(found, "chat-messages") == {"consumed": 7, "accepted": 4, "edit": 3}
    for name in ("latency", "lines", "users", "happened"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(plain, name))


@pytest.mark.parametrize("kind", [None, "message", "thread", ""])
def test_any_other_type_is_a_message(kind: str | None) -> None:
    assert cell(Talk().say("m", "ann", "09:00", type=kind).count()) == [1, 0, 0, 0]


def test_a_message_counts_in_the_line_of_its_channel_and_a_reply_in_its_parents() -> None:
    talk = Talk().say("m", "ann", "09:00", channel="help").say("r", "bob", "09:10", "m", channel="dev")
    talk.say("n", "cy", "09:20", channel=None).say("s", "bob", "10:30", "n", channel=7)
    lines = talk.count().lines.loc["acme"]
    assert lines.index.unique("line").tolist() == ["replies/", "replies/7", "replies/dev", "replies/help"]
    assert lines.loc[("replies/help", "2024-03", 33)].to_dict() == {
        "messages": 1, "replies": 1, "answered": 1, "within": 1, "waits_ms": 10 * MINUTE, "first_waits_ms": 10 * MINUTE,
    }  # fmt: skip
    assert lines.loc[("replies/", "2024-03", 33), "waits_ms"] == 70 * MINUTE
    assert lines.loc[("replies/dev", "2024-03", 33)].tolist() == [1, 0, 0, 0, 0, 0]
    assert lines.loc[("replies/7", "2024-03", 34)].tolist() == [1, 0, 0, 0, 0, 0]


def test_channels_of_one_team_are_one_line() -> None:
    talk = Talk().say("m", "ann", "09:00", channel="help").say("r", "bob", "09:10", "m", channel="7")
    talk.say("n", "cy", "09:20", channel=7).say("s", "bob", "09:30", "n", channel="other")
    lines = talk.count(teams={"help": "support", "7": "support"}).lines.loc["acme"]
    assert lines.index.unique("line").tolist() == ["replies/other", "replies/support"]
    assert lines.loc[("replies/support", "2024-03", 33)].tolist()[:3] == [3, 2, 2]


def test_lines_cover_the_whole_history_in_each_orgs_own_zone() -> None:
    world = World().org("acme", timezone="Asia/Kathmandu").org("beta", timezone="America/New_York")
    for org in ("acme", "beta"):
        # 2023-12-31 18:15 UTC: already Monday, 1 January 00:00, in Nepal, still Sunday 13:15 in New York.
        world.chat("m", "ann", "2023-12-31T18:15:00Z", org=org).chat("r", "bob", "2024-02-19T20:15:00Z", "m", org=org)
    found = world.count(rolling_months=1)
    wait = (50 * 24 + 2) * 60 * MINUTE  # fifty days and two hours
    expected = [1, 1, 1, 0, wait, wait]
    assert found.lines.loc[("acme", "replies/c", "2024-01", 0)].tolist() == expected
    assert found.lines.loc[("beta", "replies/c", "2023-12", 6 * 24 + 13)].tolist() == expected
    assert found.lines.loc[("all", "replies/c", "2024-01", 0)].tolist() == expected
    assert found.lines.loc["all"]["messages"].sum() == 4
    assert found.latency.empty  # nothing in March
    zones = {"acme": "UTC", "beta": "UTC"}
    cells = latency_cells(found.messages, found.replies, zones, range(2023 * 12, 2024 * 12), Options())
    assert cells.loc[("all", 6 * 24 + 18)][[*FIGURES, "latency_ms"]].tolist() == [2, 2, 2, 0, wait]


def test_a_line_with_too_many_entries_makes_its_org_and_all_together_rough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_WAITS", 2)
    talk = one_question().say("same", "bob", "09:20", "m").say("m2", "ann", "09:14").say("r3", "bob", "09:34", "m2")
    # Entries: 10 minutes as first, 20 minutes (twice, both later ones), 20 minutes as first.
    talk.chat("m", "ann", NINE, org="beta").chat("r", "bob", "2024-03-19T09:10:00Z", "m", org="beta")
    cells = talk.count().latency
    assert cells.loc[("acme", 33), "tolerance_ms"] == 20 * MINUTE / 256
    assert cells.loc[("acme", 33), "first_tolerance_ms"] == pytest.approx(18 * MINUTE / 256)
    assert cells.loc[("all", 33), "tolerance_ms"] > 0 and cells.loc[("beta", 33), "tolerance_ms"] == 0


def test_many_replies_still_lie_between_neighbours() -> None:
    world = World()
    for number in range(300):
        world.chat(f"m{number}", "ann", NINE)
        at = pd.Timestamp(NINE) + pd.Timedelta(seconds=10 * number)
        world.chat(f"r{number}", "bob", at.isoformat(), f"m{number}")
    figures = world.count().latency.loc[("acme", 33)]
    assert (figures["latency_ms"], figures["tolerance_ms"]) == (pytest.approx(299 * 0.8 * 10_000), 0)


def test_all_orgs_together_may_be_rounded_where_none_of_them_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # The target is 240 minutes: of Acme one wait is just there, and rounding may take it to the other side.
    talk = Talk().say("m", "ann", "08:00").say("a", "bob", "12:00", "m")
    talk.say("n", "ann", "08:00").say("b", "cy", "09:01", "n")
    talk.say("o", "ann", "08:00", org_id="other").say("c", "bob", "08:31", "o", org_id="other")
    monkeypatch.setattr(module, "EXACT_WAITS", 2)
    latency = talk.count(target_seconds=14_400).latency
    tolerances = ["tolerance_ms", "first_tolerance_ms", "within_tolerance"]
    assert latency.loc[("acme", 32), tolerances].tolist() == [0, 0, 0]
    together = latency.loc[("all", 32)]
    assert together["tolerance_ms"] == together["latency_ms"] / 256 > 0 and together["within_tolerance"] == 1
    monkeypatch.setattr(module, "EXACT_WAITS", 3)
    assert talk.count(target_seconds=14_400).latency.loc[("all", 32), tolerances].tolist() == [0, 0, 0]
