"""At rest the documents are a function of what happened, whatever was told before.

Each test is a way in which a document once stayed behind.
"""

from __future__ import annotations

from typing import Any

from state.activity import Calibration, Member, Org, Tick
from state.effects import Effect, LatencyMap, Summary, UserScore
from state.shard import Shard
from tests.state.worlds import HOUR, WEEK, Act, at, attribute, model_of, rows_of, shard_of

NOON = at("2024-03-20T12:00")


class Log:
    """Feeds a shard, record by record."""

    def __init__(self, shard: Shard | None = None) -> None:
        self.shard, self.offset, self.round = shard or shard_of(), 0, 0

    def put(self, record: Any) -> list[Effect]:
        self.offset += 1
        return self.shard.apply(record, self.offset) or []

    def act(self, *acts: Act) -> None:
        self.put(rows_of(acts))

    def tick(self, time_ms: int = 0, *, new_round: bool = False) -> list[Effect]:
        self.round += new_round
        return self.put(Tick(time_ms, self.round))


def users_in(effects: list[Effect]) -> list[UserScore]:
    return [e for e in effects if isinstance(e, UserScore)]


def test_an_orgs_own_activity_makes_no_user_of_it() -> None:
    log = Log()
    log.act(Act("acme", "", "transaction", NOON, 1, 500, 7), Act("acme", "ann", "search", NOON, 2))
    said = users_in(log.tick(NOON))
    assert [u.user for u in said] == ["ann"]
    assert [u.user for u in users_in(list(log.shard.documents()))] == ["ann"]


def test_a_late_activity_moves_the_first_week_back() -> None:
    log = Log()
    log.act(Act("acme", "ann", "search", NOON, 1))
    assert [u.first_week for u in users_in(log.tick(NOON))] == [True]
    log.act(Act("acme", "ann", "search", NOON - 2 * WEEK, 2))
    assert [u.first_week for u in users_in(log.tick(NOON))] == [False]


def test_the_first_week_ends_though_the_score_stays() -> None:
    log = Log()
    log.act(Act("acme", "ann", "alert_received", NOON, 1))  # never scores
    assert [u.first_week for u in users_in(log.tick(NOON))] == [True]
    assert [u.first_week for u in users_in(log.tick(NOON + WEEK - HOUR))] == [True]  # a calendar week closed
    assert [u.first_week for u in users_in(log.tick(NOON + WEEK))] == [False]


def test_new_coverage_is_told_though_the_score_stays() -> None:
    ratio = attribute("made", "ratio", measures=["export"], against=["alert_received"], missing="zero")
    log = Log(shard_of(model_of(attribute("searches", "count", measures=["search"]), ratio)))
    log.act(Act("acme", "ann", "search", NOON, 1))
    assert [u.coverage for u in users_in(log.tick(NOON))] == [5000]
    log.act(Act("acme", "ann", "alert_received", NOON, 2))  # 0 of 1: data, but no points
    assert [u.coverage for u in users_in(log.tick(NOON))] == [10_000]


def summaries(effects: list[Effect]) -> list[Summary]:
    return [e for e in effects if isinstance(e, Summary)]


def test_the_population_is_counted_again_when_an_hour_passed_and_nothing_came_or_went() -> None:
    log = Log(shard_of(model_of(attribute("recency", "recency_hours"))))
    log.act(Act("acme", "ann", "search", NOON, 1))
    assert [s.values for s in summaries(log.tick(NOON, new_round=True))] == [{"recency": ([0], [1])}]
    assert summaries(log.tick(NOON, new_round=True)) == []
    assert [s.values for s in summaries(log.tick(NOON + HOUR, new_round=True))] == [{"recency": ([-1], [1])}]


def test_the_population_is_counted_again_when_a_member_leaves_or_an_org_comes() -> None:
    log = Log()
    log.act(Act("acme", "ann", "search", NOON, 1))
    assert [s.users_active for s in summaries(log.tick(NOON, new_round=True))] == [1]
    log.put(Member("acme", "ann", True, "", gone=True))
    assert [s.users_active for s in summaries(log.tick(NOON, new_round=True))] == [0]
    log.put(Org("beta", "Beta", "UTC", ""))
    assert [s.orgs for s in summaries(log.tick(NOON, new_round=True))] == [2]


def test_users_are_counted_by_band_again_after_new_cut_points() -> None:
    log = Log()
    log.act(Act("acme", "ann", "search", NOON, 1))
    assert [s.users_by_band["at_risk"] for s in summaries(log.tick(NOON, new_round=True))] == [1]
    log.put(Calibration(1, 1, {"searches": [1] * 9}))
    assert [s.users_by_band["healthy"] for s in summaries(log.tick(NOON, new_round=True))] == [1]


def test_maps_are_told_again_in_a_new_month() -> None:
    log = Log(shard_of(rolling_months=1))
    march = at("2024-03-31T22:00")
    log.act(Act("acme", "ann", "message", march, 1), Act("acme", "bob", "message", march + 1000, 2, ref=1))
    first = [e for e in log.tick(march + HOUR, new_round=True) if isinstance(e, LatencyMap)]
    assert [(m.period, len(m.cells)) for m in first] == [("2024-03/2024-03", 1)]
    april = [e for e in log.tick(march + 3 * HOUR, new_round=True) if isinstance(e, LatencyMap)]
    assert [(m.period, len(m.cells)) for m in april] == [("2024-04/2024-04", 0)]
