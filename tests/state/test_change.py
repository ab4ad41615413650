"""A change is split exactly, a weighty user is named, and a score's last weeks are those that were told."""

from __future__ import annotations

from fractions import Fraction
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Calibration, Org, Tick
from state.change import CONFIGURATION, MEMBERSHIP, OWN, POPULATION, Members, effects_of_users, movers
from state.effects import OrgScore, UserScore, WeekRow
from state.health import Model
from state.history import History
from state.shard import Shard
from state.trend import NEVER, NO_TREND, WEEKS, Pasts, recent_scores, trends
from state.week import week_label, week_of
from tests.state.random_logs import LIMITS, random_log
from tests.state.test_shard_restore import fresh, play
from tests.state.worlds import DAY, HOUR, TEN, WEEK, Act, at, attribute, examples, model_of, rows_of, shard_of

MONDAY = at("2024-03-04T00:00")
SEARCHES = attribute("searches", "count", 1, measures=["search"])
EXPORTS = attribute("exports", "count", 1, measures=["export"])
MODEL = model_of(SEARCHES, EXPORTS)
_numbers = iter(range(1, 10**6))


def acts(user: str, count: int, time_ms: int, measure: str = "search") -> list[Act]:
    return [Act("acme", user, measure, time_ms + n, next(_numbers)) for n in range(count)]


def played(*records: object, model: Model = MODEL, shard: Shard | None = None) -> Shard:
    shard = shard or shard_of(model, **LIMITS)
    for record in records:
        shard.apply(record, shard.position)  # type: ignore[arg-type]
    return shard


def user_of(shard: Shard, name: str) -> UserScore:
    return next(d for d in shard.documents() if isinstance(d, UserScore) and d.user == name)


def org_of(shard: Shard) -> OrgScore:
    return next(d for d in shard.documents() if isinstance(d, OrgScore) and d.org == "acme")


def closed(*rows: list[Act]) -> Shard:
    """Return a shard in which a week with *rows* closed, seen one hour later."""
    sunday = MONDAY - 3 * HOUR
    shard = played(rows_of([act for some in rows for act in some]), Tick(sunday, 1), Tick(MONDAY + HOUR, 2))
    assert sum(user_of(shard, "ann").split or [1]) == 0
    return shard


@pytest.mark.parametrize("seed", range(12))
def test_the_parts_of_every_change_add_up_to_it(seed: int) -> None:
    changed = 0
    for _, effects in play(fresh(), random_log(seed, 80)):
        for said in effects:
            if not isinstance(said, UserScore | OrgScore):
                continue
            score = said.score if isinstance(said, UserScore) else said.score_active
            if said.split is None:
                assert said.previous is None or score is None
                continue
            assert score is not None and said.previous is not None
            assert sum(said.split) == score - said.previous
            changed += score != said.previous
    assert changed


def test_what_a_user_does_is_own_and_what_cut_points_do_is_population() -> None:
    shard = closed(acts("ann", 3, MONDAY - DAY))
    played(rows_of(acts("ann", 2, MONDAY + HOUR)), Tick(MONDAY + HOUR, 3), shard=shard)
    assert user_of(shard, "ann").split == [1000, 0, 0, 0]  # two deciles more of one of two attributes
    played(Calibration(1, 9, {"searches": [n * 10 for n in TEN]}), Tick(MONDAY + HOUR, 4), shard=shard)
    assert user_of(shard, "ann").split == [1000, -2500, 0, 0]
    found = org_of(shard)
    assert found.split == [1000, -2500, 0, 0] and found.movers == [("ann", -1500)]


def test_cut_points_that_come_twice_before_a_tick_are_told_as_one_change() -> None:
    shard = closed(acts("ann", 3, MONDAY - DAY))
    for generation, step in ((1, 10), (2, 3)):
        played(Calibration(generation, 9, {"searches": [n * step for n in TEN]}), shard=shard)
    restored = shard_of(MODEL, **LIMITS)
    restored.restore(shard.checkpoint())
    for one in (shard, restored):
        played(Tick(MONDAY + HOUR, 4), shard=one)
        assert user_of(one, "ann").split == [0, -1000, 0, 0]


def test_another_model_is_configuration_even_if_its_attributes_have_the_same_names() -> None:
    shard = closed(acts("ann", 4, MONDAY - DAY))
    other = shard_of(model_of(SEARCHES | {"weight": 3}, EXPORTS), **LIMITS)
    other.restore(shard.checkpoint())
    assert (user_of(shard, "ann").score, user_of(other, "ann").score) == (2000, 3000)
    assert user_of(other, "ann").split == [0, 0, 0, 1000]
    assert org_of(other).split == [0, 0, 0, 1000]
    told = [d for d in other.apply(Tick(MONDAY + HOUR, 4), other.position) or () if isinstance(d, UserScore)]
    assert [d.score for d in told] == [3000], "everybody is told anew"


def test_a_new_user_is_membership_and_is_named() -> None:
    shard = closed(acts("ann", 8, MONDAY - DAY), acts("bob", 8, MONDAY - DAY))
    played(rows_of(acts("new", 2, MONDAY + HOUR)), Tick(MONDAY + HOUR, 3), shard=shard)
    found = org_of(shard)
    assert (found.previous, found.score_active) == (4000, 3000)
    assert found.split is not None
    assert (found.split[OWN], found.split[MEMBERSHIP]) == (0, -1000)
    assert found.split[POPULATION] == found.split[CONFIGURATION] == 0
    assert found.movers == [("new", -1000)]


def test_who_went_silent_is_named_before_who_did_a_little_less() -> None:
    early, later = MONDAY - 6 * DAY, MONDAY - DAY
    shard = closed(acts("ann", 9, early), acts("bob", 4, early), acts("bob", 3, later), acts("cat", 2, later))
    played(Tick(MONDAY + 2 * DAY, 3), shard=shard)
    found = org_of(shard)
    assert found.movers[0][0] == "ann" and found.movers[0][1] < found.movers[-1][1] < 0
    assert {name for name, _ in found.movers} == {"ann", "bob"}


USERS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(-1, 10_000), st.booleans()), min_size=1, max_size=12)


@examples(200)
@given(USERS)
def test_effects_are_the_mean_without_each_users_own_change(users: list[tuple[int, int, bool]]) -> None:
    rows = [(now if active else 0, before, active) for now, before, active in users]

    def mean(scores: list[int]) -> int:
        return sum(scores) // len(scores) if scores else 0

    now = mean([n for n, _, active in rows if active])
    expected = []
    for one in range(len(rows)):
        others = [n for at_, (n, _, active) in enumerate(rows) if active and at_ != one]
        expected.append(now - mean(others + [b for b in [rows[one][1]] if b > 0]))
    score, previous, active = (np.array(column) for column in zip(*rows, strict=True))
    found = effects_of_users(1, Members(np.zeros(len(rows), np.int64), score, previous, active.astype(bool)))
    assert found.tolist() == expected
    named = movers(list(range(len(rows))), found.tolist())
    assert len(named) <= 6 and all(effect for _, effect in named)
    ups = sorted((e for e in expected if e > 0), reverse=True)[:3]
    downs = sorted(e for e in expected if e < 0)[:3]
    assert [effect for _, effect in named] == ups + downs


@examples(200)
@given(st.lists(st.integers(-1, 10_000), min_size=WEEKS, max_size=WEEKS))
def test_the_trend_is_the_median_slope(weeks: list[int]) -> None:
    known = [(n, score) for n, score in enumerate(weeks) if score >= 0]
    found = int(trends(np.array([weeks]))[0])
    if len(known) < 3:
        assert found == NO_TREND
        return
    slopes = [Fraction(b - a, j - i) for n, (i, a) in enumerate(known) for j, b in known[n + 1 :]]
    assert found == median(slopes) // 1


def test_the_weeks_with_a_score_are_the_closing_scores_that_were_told() -> None:
    shard, told = shard_of(MODEL, **LIMITS), {}
    shard.apply(Org("acme", "", "Europe/Berlin", ""), 0)
    for week in range(11):
        if week == 6:
            continue  # nothing happens
        tuesday = MONDAY + week * WEEK + DAY
        for record in (rows_of(acts("ann", 1 + week % 4, tuesday)), Tick(tuesday + DAY, week)):
            for said in shard.apply(record, shard.position) or ():
                if isinstance(said, WeekRow) and said.state == "final" and said.user:
                    told[said.week] = said.score
    found = user_of(shard, "ann")
    running = week_of(shard.watermark_ms, "Europe/Berlin")
    labels = [week_label(week) for week in range(running - WEEKS, running)]
    assert len(found.recent) == WEEKS
    assert [score for label, score in zip(labels, found.recent, strict=True) if label in told] == [
        told[label] for label in labels if label in told
    ]
    assert len(set(labels) & set(told)) == WEEKS - 1, "a week without activity has no row, but a score"
    assert found.trend is not None and found.recent[-1] == found.previous


CLOSED = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(-1, 10_000)), max_size=20)


@examples(200)
@given(CLOSED)
def test_pasts_that_are_kept_are_those_that_would_be_worked_out_anew(closed: list[tuple[int, int, int]]) -> None:
    history = History(np.zeros(1, bool), np.ones(1, bool))
    first = np.array([3, 0, NEVER, 9])
    pasts, slots = Pasts(history, lambda some: first[some]), np.arange(4)
    for week, slot, score in [(0, 0, -1), *closed]:
        for last in (np.full(4, week), np.array([0, week, 0, week])):
            expected = recent_scores(history, slots, last, first)
            scores, slopes = pasts.of(slots, last)
            assert scores.tolist() == expected.tolist()
            assert slopes.tolist() == trends(expected).tolist()
        history.keep_scores(week, np.array([slot]), np.array([score]))
        pasts.forget(np.array([slot]))
