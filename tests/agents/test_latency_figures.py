"""Replies of the rolling week, by how long they took."""

from __future__ import annotations

import pytest

from agents import latency_figures
from agents.latency_figures import WeekReplies, week_replies
from state.latency import Latency
from state.shard import Shard
from streams.org_metrics import REPLY_BOUNDS_SECONDS, OrgMetrics
from tests.state.worlds import DAY, HOUR, Act, at, rows_of, shard_of

NOON = at("2024-03-20T12:00")
MINUTE = 60_000


def by_bound(counts: tuple[int, ...]) -> dict[float, int]:
    """Return the replies by upper bound, not cumulated, without empty ones."""
    bounds = (*REPLY_BOUNDS_SECONDS, float("inf"))
    alone = [count - before for count, before in zip(counts, (0, *counts), strict=False)]
    return {bound: count for bound, count in zip(bounds, alone, strict=True) if count}


def test_a_reply_counts_in_the_week_of_its_question_and_up_to_the_bound_it_took() -> None:
    latency = Latency()
    for age_hours, wait_ms in ((1, MINUTE), (1, MINUTE + 1), (167, 10 * DAY), (169, 5 * MINUTE)):
        latency.add_reply("acme", "#help", NOON - age_hours * HOUR, wait_ms, first=True)
    latency.add_reply("acme", "#other", NOON, 30 * MINUTE, first=False)  # every reply counts, in any channel
    latency.add_reply("bolt", "#help", NOON, 1, first=True)
    assert by_bound(week_replies(latency, "acme", NOON)) == {60: 1, 180: 1, 2_400: 1, float("inf"): 1}


def test_a_reply_that_was_taken_back_does_not_count_and_none_is_no_count() -> None:
    latency = Latency()
    latency.add_reply("acme", "#help", NOON, MINUTE, first=True)
    latency.add_reply("acme", "#help", NOON, MINUTE, first=True, weight=-1)
    assert week_replies(latency, "acme", NOON) == week_replies(latency, "nobody", NOON) == ()


def shown(metrics: OrgMetrics) -> dict[str, float]:
    """Return all replies of the week by org."""
    (family,) = [family for family in metrics.families() if family.name == "orgpulse_org_week_replies"]
    return {s.labels["org"]: s.value for s in family.samples if s.labels["le"] == "+Inf"}


def answered(shard: Shard, question_ms: int, number: int) -> None:
    """Let somebody ask and another one answer a quarter of an hour later."""
    acts = [
        Act("acme", "ann", "message", question_ms, number, place="#help"),
        Act("acme", "bob", "message", question_ms + 15 * MINUTE, number + 1, ref=number, place="#help"),
    ]
    shard.apply(rows_of(acts, number, "chat-messages"), number)


def test_replies_leave_the_week_with_time_though_nothing_new_is_told_of_the_org() -> None:
    shard, metrics = shard_of(), OrgMetrics((), 10)
    replies = WeekReplies(metrics)
    answered(shard, NOON, 1)
    replies.show(shard, ["acme"])
    assert shown(metrics) == {"acme": 1, "all": 1}
    for days, left in ((6, {"acme": 1, "all": 1}), (7, {})):
        later = Act("bolt", "cat", "search", NOON + days * DAY + HOUR, 100 + days)
        shard.apply(rows_of([later], 100 + days), 100 + days)
        replies.show(shard, [])
        assert shown(metrics) == left
    answered(shard, NOON + 9 * DAY, 200)
    replies.show(shard, [])
    assert shown(metrics) == {}
    replies.show(shard, ["acme"])
    assert shown(metrics) == {"acme": 1, "all": 1}


def test_with_many_orgs_each_look_renews_some_until_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_figures, "ORGS_AT_A_TIME", 2)
    shard, metrics = shard_of(), OrgMetrics((), 10)
    replies, orgs = WeekReplies(metrics), [f"org{number}" for number in range(5)]
    for number, org in enumerate(orgs):
        acts = [Act(org, "ann", "message", NOON, 2 * number + 1, place="#help")]
        acts.append(Act(org, "bob", "message", NOON + MINUTE, 2 * number + 2, ref=2 * number + 1, place="#help"))
        shard.apply(rows_of(acts, 2 * number, "chat-messages"), number)
    replies.show(shard, orgs)
    assert shown(metrics)["all"] == 5
    replies.drop(0)  # none of them waits any more
    shard.apply(rows_of([Act("bolt", "cat", "search", NOON + 8 * DAY, 100)], 100), 100)
    left = []
    for _ in range(4):
        replies.show(shard, [])
        left.append(shown(metrics).get("all", 0))
    assert left == [3, 1, 0, 0]
