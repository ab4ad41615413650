"""What an attribute without data was last stays for four closed weeks, whatever the order of arrival."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Member, Org, Record, Tick
from state.carry import CARRY_WEEKS
from state.effects import UserScore, WeekRow
from state.limits import Limits
from state.shard import Shard
from tests.state.worlds import DAY, HOUR, WEEK, Act, at, attribute, examples, model_of, rows_of, shard_of

MONDAY = at("2024-03-04")  # 2024-W10
FALLING = [-900, -800, -700, -600, -500, -400, -300, -200, -100]
MODEL = model_of(
    attribute("searches", "count", 1, measures=["search"]),
    attribute("waiting", "median", 1, measures=["export"], missing="carry", cuts=FALLING),
)
#    amount    950   850  …  150   50
#    points      0  1000  …  8000 9000


def search(time_ms: int, id_: int, org: str = "a") -> Act:
    return Act(org, "ann", "search", time_ms, id_)


def export(time_ms: int, id_: int, amount: int, org: str = "a") -> Act:
    return Act(org, "ann", "export", time_ms, id_, amount)


def played(shard: Shard, records: list[Record]) -> list[list[UserScore]]:
    """Apply *records*; return the scores told at each tick."""
    effects = [shard.apply(record, shard.position) for record in records]
    return [[e for e in told if isinstance(e, UserScore)] for told in effects if told is not None]


def points(shard: Shard) -> list[int]:
    """Return what ann's attributes contribute: half of their points, as both weigh the same."""
    (found,) = [e for e in shard.documents() if isinstance(e, UserScore)]
    return found.contributions


def coverage(shard: Shard) -> int:
    return next(e.coverage for e in shard.documents() if isinstance(e, UserScore))


def test_without_data_an_attribute_is_what_it_was_last_and_is_not_covered() -> None:
    #  W10        W11     W12
    #  850, 150   350     search
    shard = shard_of(MODEL)
    acts = [export(MONDAY, 1, 850), export(MONDAY + DAY, 2, 150), export(MONDAY + WEEK, 3, 350)]
    played(shard, [rows_of(acts), rows_of([search(MONDAY + 2 * WEEK + DAY, 4)], 10), Tick(0, 1)])
    assert points(shard) == [500, 3000]
    assert coverage(shard) == 5000


@pytest.mark.parametrize(("weeks", "waiting"), [(CARRY_WEEKS, 3000), (CARRY_WEEKS + 1, 0)])
def test_a_value_is_carried_for_four_closed_weeks_and_then_counts_as_zero(weeks: int, waiting: int) -> None:
    shard = shard_of(MODEL)
    played(shard, [rows_of([export(MONDAY + DAY, 1, 350), search(MONDAY + weeks * WEEK + 3 * DAY, 2)]), Tick(0, 1)])
    assert points(shard) == [500, waiting]


def test_data_of_this_week_is_what_counts() -> None:
    shard = shard_of(MODEL)
    acts = [export(MONDAY, 1, 350), export(MONDAY + 2 * WEEK, 2, 750), search(MONDAY + 2 * WEEK, 3)]
    played(shard, [rows_of(acts), Tick(0, 1)])
    assert points(shard) == [500, 1000] and coverage(shard) == 10_000


def test_a_late_event_in_a_closed_week_changes_what_is_carried_and_the_weeks_that_carried_it() -> None:
    shard = shard_of(MODEL)
    acts = [export(MONDAY, 1, 350), search(MONDAY + 2 * WEEK, 2), search(MONDAY + 3 * WEEK + DAY, 3)]
    played(shard, [rows_of(acts), Tick(0, 1)])
    assert points(shard) == [500, 3000]
    shard.apply(rows_of([export(MONDAY + WEEK, 4, 950)], 10), shard.position)
    told = shard.apply(Tick(0, 1), shard.position) or []
    assert points(shard) == [500, 0]
    rows = {(row.week, row.state): row for row in told if isinstance(row, WeekRow) and row.user}
    assert set(rows) == {("2024-W11", "restated"), ("2024-W12", "restated")}
    assert rows["2024-W12", "restated"].contributions == {"searches": 500}


def test_what_is_carried_ends_with_a_week_that_closes_within_an_hour() -> None:
    # Kolkata is five and a half hours ahead: weeks end on Sundays at 18:30 UTC.
    shard, end = shard_of(MODEL), at("2024-03-10T18:30") + CARRY_WEEKS * WEEK
    acts = [export(MONDAY + DAY, 1, 350), search(end - HOUR, 2)]
    played(shard, [Org("a", "", "Asia/Kolkata", ""), rows_of(acts), Tick(end - 1, 1)])
    assert points(shard) == [500, 3000]
    played(shard, [Tick(end, 1)])
    assert points(shard) == [500, 0]


def test_a_short_lateness_does_not_shorten_what_is_carried() -> None:
    shard = shard_of(MODEL, allowed_lateness_hours=24)
    late = MONDAY + CARRY_WEEKS * WEEK + 3 * DAY
    for number, act in enumerate([export(MONDAY + DAY, 1, 350), *(search(MONDAY + n * WEEK, 2 + n) for n in (1, 3))]):
        played(shard, [rows_of([act], 10 * number), Tick(0, number)])
    played(shard, [rows_of([search(late, 9)], 90), Tick(0, 9)])
    assert points(shard) == [500, 3000]


def test_a_gauge_and_a_gap_are_carried_like_everything_that_may_lack() -> None:
    model = model_of(
        attribute("stored", "gauge", 1, measures=["level"], missing="carry", cuts=[10 * n for n in range(1, 10)]),
        attribute("gaps", "gap_hours", 1, missing="carry", cuts=[-90, -80, -70, -60, -50, -40, -30, -20, -10]),
        attribute("own", "ratio", 2, measures=["export"], against=["search"], missing="carry"),
        level={"events": ["Level"], "gauge": True},
    )
    shard = shard_of(model)
    acts = [
        Act("a", "ann", "level", MONDAY + 9 * HOUR, 1, 55), Act("a", "ann", "level", MONDAY + 8 * HOUR, 2, 99),
        export(MONDAY + 40 * HOUR, 3, 1), search(MONDAY + 40 * HOUR, 4),  # 30 hours later
        Act("a", "ann", "other", MONDAY + 2 * WEEK, 5),
    ]  # fmt: skip
    played(shard, [rows_of(acts), Tick(0, 1)])
    # 55 passes five cut points, −30 seven; one of two was an export.
    assert points(shard) == [5000 // 4, 7000 // 4, 2 * 5000 // 4]
    assert coverage(shard) == 0


def test_a_restored_shard_carries_the_same() -> None:
    shard = shard_of(MODEL)
    played(shard, [rows_of([export(MONDAY, 1, 350), search(MONDAY + 2 * WEEK, 2)]), Tick(0, 1)])
    again = Shard(0, MODEL, Limits())
    again.restore(shard.checkpoint())
    assert again.checkpoint() == shard.checkpoint()
    for each in (shard, again):
        played(each, [rows_of([search(MONDAY + 3 * WEEK + DAY, 3)], 10), Tick(0, 2)])
    assert list(again.documents()) == list(shard.documents())
    assert points(again) == [500, 3000]


happening = st.tuples(st.sampled_from(["search", "export"]), st.integers(0, 6 * WEEK), st.integers(0, 1000))


@examples(60)
@given(st.lists(happening, min_size=1, max_size=25), st.integers(0, 2**32), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_order_chunks_and_ticks_play_no_part(drawn: list[tuple[str, int, int]], seed: int, zone: str) -> None:
    acts = [Act("a", "ann", m, MONDAY + offset, n + 1, amount) for n, (m, offset, amount) in enumerate(drawn)]
    end, chance = MONDAY + 6 * WEEK, random.Random(seed)
    found = []
    for shuffled in (sorted(acts, key=lambda a: a.time_ms), chance.sample(acts, len(acts))):
        shard, at_ = shard_of(MODEL), 0
        played(shard, [Member("a", "ann", True, ""), Org("a", "", zone, "")])
        while at_ < len(shuffled):
            size = chance.randrange(1, 6)
            shard.apply(rows_of(shuffled[at_ : at_ + size], at_), shard.position)
            at_ += size
            if chance.random() < 0.4:
                played(shard, [Tick(0, chance.randrange(3))])
        played(shard, [Tick(end, 9)])
        found.append(
            [(e.score, e.contributions, e.coverage, e.recent) for e in shard.documents() if isinstance(e, UserScore)]
        )
    assert found[0] == found[1]
