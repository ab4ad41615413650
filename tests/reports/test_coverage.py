"""Gaps are where people wait, and the hours suggested are the ones that help most."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from reports.answers import Answers
from reports.coverage import Hours, HoursError, Suggestion, gaps, parse_hours, suggest
from state.week import WEEKDAYS, cell_name
from state.week_grid import WeekGrid
from tests.state.worlds import examples

NEVER = None
TARGET = 20

Message = tuple[int, int | None]
"""Hour of the week, and how long the first reply took in ms."""

MESSAGES = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 30, 31, 167]), st.one_of(st.none(), st.integers(0, 40))), max_size=80
)


def grid_of(messages: list[Message]) -> WeekGrid:
    """Return the grid of messages; every reply is followed by a slow second one, which plays no part."""
    events = np.bincount([hour for hour, _ in messages], minlength=168)
    first = [(hour, True, wait) for hour, wait in messages if wait is not None]
    rows = first + [(hour, False, 10_000) for hour, _, _ in first]
    hours, firsts, waits = (np.array([row[i] for row in rows]) for i in range(3))
    return WeekGrid.of(hours.astype(int), firsts.astype(bool), waits.astype(int), events)


def frame_of(messages: list[Message]) -> pd.DataFrame:
    """Return the same messages, one a row; never is an infinite wait."""
    rows = [(hour, math.inf if wait is None else float(wait)) for hour, wait in messages]
    return pd.DataFrame(rows, columns=["hour", "wait"])


def shortest(waits: pd.Series, quantile: float) -> float:
    """Return the shortest wait within which a share *quantile* lies."""
    return float(np.quantile(waits, quantile, method="inverted_cdf"))


def names(hours: Hours) -> list[str]:
    return [cell_name(hour) for hour in np.flatnonzero(hours).tolist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mon 9-11", ["mon-09", "mon-10"]),
        ("  Sat   10-12 ,fri 23-24", ["fri-23", "sat-10", "sat-11"]),
        ("sun 22-02", ["mon-00", "mon-01", "sun-22", "sun-23"]),
        ("tue 22-00", ["tue-22", "tue-23"]),
        ("sat-mon 00-01", ["mon-00", "sat-00", "sun-00"]),
        ("mon 09-11, mon 10-12", ["mon-09", "mon-10", "mon-11"]),
    ],
)
def test_business_hours_are_read(text: str, expected: list[str]) -> None:
    assert names(parse_hours(text)) == expected


def test_the_week_of_an_office_and_a_whole_week_have_their_hours() -> None:
    assert parse_hours("mon-fri 09-17, sat 10-12").sum() == 5 * 8 + 2
    assert parse_hours("mon-sun 00-24").all()
    assert parse_hours("wed-tue 00-24").all()
    assert parse_hours("fri-mon 22-06").sum() == 4 * 8


@examples(200)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 23), st.integers(0, 24))
def test_a_range_holds_so_many_hours_of_so_many_days(first: int, last: int, start: int, stop: int) -> None:
    if start != stop:
        found = parse_hours(f"{WEEKDAYS[first]}-{WEEKDAYS[last]} {start:02}-{stop:02}")
        assert found.sum() == ((last - first) % 7 + 1) * ((stop - start) % 24 or 24)
        assert found[first * 24 + start]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a part of the business hours is empty: write mon-fri 09-17, sat 10-12"),
        ("mon 9-17,", "a part of the business hours is empty"),
        ("mon", "'mon' is not days and whole hours: write mon-fri 09-17"),
        ("09-17", "'09-17' is not days and whole hours"),
        ("mon 09:30-17", "'mon 09:30-17' is not days and whole hours"),
        ("mon 09-17 sat 10-12", "'mon 09-17 sat 10-12' is not days and whole hours"),
        ("monday 09-17", "'monday' in 'monday 09-17' is no weekday: they are mon, tue, wed"),
        ("mon-fry 09-17", "'fry' in 'mon-fry 09-17' is no weekday"),
        ("mon 24-25", "hours begin at 00 to 23 and end at 00 to 24"),
        ("mon 09-25", "hours begin at 00 to 23 and end at 00 to 24"),
        ("mon 09-09", "'mon 09-09' ends when it begins: a whole day is 00-24"),
    ],
)
def test_what_is_wrong_with_business_hours_is_said(text: str, message: str) -> None:
    with pytest.raises(HoursError) as raised:
        parse_hours(text)
    assert message in str(raised.value)


@examples(200)
@given(MESSAGES, st.sampled_from([0.25, 0.5, 0.8, 0.9]), st.sets(st.sampled_from([0, 2, 31, 60])))
def test_gaps_agree_with_pandas(messages: list[Message], quantile: float, open_set: set[int]) -> None:
    frame, opened = frame_of(messages), np.isin(np.arange(168), list(open_set))
    found = gaps(grid_of(messages), target_ms=TARGET, open_hours=opened, quantile=quantile, min_events=3)
    expected = {}
    for hour, waits in frame.groupby("hour")["wait"]:
        late, wait = int((waits > TARGET).sum()), shortest(waits, quantile)
        if len(waits) >= 3 and wait > TARGET:
            expected[hour] = (len(waits), late, np.isfinite(waits).mean(), (waits <= TARGET).mean(), wait)
    shown = {
        gap.hour: (gap.tally.events, gap.tally.late, gap.answered_share, gap.within_share, gap.quantile_ms)
        for gap in found.rows
    }
    assert shown == {hour: pytest.approx(figures) for hour, figures in expected.items()}
    assert [gap.tally.late for gap in found.rows] == sorted((gap.tally.late for gap in found.rows), reverse=True)
    assert all(gap.is_open == (gap.hour in open_set) and gap.name == cell_name(gap.hour) for gap in found.rows)


@examples(100)
@given(MESSAGES, st.sets(st.sampled_from([0, 2, 31])))
def test_inside_and_outside_of_business_hours_add_up_to_the_week(messages: list[Message], open_set: set[int]) -> None:
    opened = np.isin(np.arange(168), list(open_set))
    found = gaps(grid_of(messages), target_ms=TARGET, open_hours=opened)
    for name in ("events", "answered", "within", "late"):
        assert getattr(found.inside, name) + getattr(found.outside, name) == getattr(found.week, name)
    assert found.week.events == len(messages)
    assert found.week.late == int((frame_of(messages)["wait"] > TARGET).sum())


def test_messages_never_answered_make_a_gap_however_fast_the_others_were() -> None:
    found = gaps(grid_of([(5, 1)] * 30 + [(5, NEVER)] * 10), target_ms=TARGET)
    assert [(gap.name, gap.tally.late, gap.quantile_ms) for gap in found.rows] == [("mon-05", 10, math.inf)]
    assert found.rows[0].is_open is None


def test_an_hour_that_holds_exactly_the_share_wanted_is_no_gap() -> None:
    messages = [(5, 1)] * 55 + [(5, NEVER)] * 45  # 100 × 0.55 is a little more than 55 in floats
    assert gaps(grid_of(messages), target_ms=TARGET, quantile=0.55).rows == []
    assert len(gaps(grid_of(messages), target_ms=TARGET, quantile=0.56).rows) == 1


def test_answers_without_an_event_count_as_messages() -> None:
    grid = grid_of([(5, 100)] * 30)
    unheard = WeekGrid(np.zeros(168, np.int64), grid.keys, grid.counts)
    assert gaps(unheard, target_ms=TARGET).week.late == 30


def lasting(messages: list[Message]) -> float:
    """Return which share of the differences between hours is not luck, from plain messages."""
    frame = frame_of(messages)
    table = pd.crosstab(frame["hour"], frame["wait"] <= TARGET).to_numpy()
    if table.shape[1] < 2 or len(table) < 2:
        return 0.0
    squares = scipy.stats.chi2_contingency(table, correction=False).statistic
    return max(0.0, 1 - (len(table) - 1) / squares) if squares > 1e-9 else 0.0


def left_late(frame: pd.DataFrame, hours: tuple[int, ...], best: list[int], lasts: float) -> float:
    """Return how many messages are late if *hours* are staffed, by the definition, from plain messages."""
    within = frame[frame["hour"].isin(best)]["wait"].le(TARGET).mean()
    total = 0.0
    for hour, waits in frame.groupby("hour")["wait"]:
        share = waits.le(TARGET).mean()
        total += len(waits) * (1 - share - (lasts * max(0.0, within - share) if hour in hours else 0.0))
    return total


def staffed_quantile(messages: list[Message], found: Suggestion, quantile: float) -> float:
    """Return the week's quantile after *found*: the shortest wait at which enough are answered, tried one by one."""
    frame = frame_of(messages)
    pooled = frame[frame["hour"].isin(found.best)]["wait"]
    chosen = {pick.hour for pick in found.picks}
    for time in sorted(frame["wait"][np.isfinite(frame["wait"])].unique()):
        answered = 0.0
        for hour, waits in frame.groupby("hour")["wait"]:
            share = waits.le(time).mean()
            more = found.lasting * max(0.0, pooled.le(time).mean() - share)
            answered += len(waits) * (share + (more if hour in chosen else 0.0))
        if answered >= quantile * len(frame) - 1e-9:
            return float(time)
    return math.inf


@examples(60)
@given(MESSAGES.filter(len), st.integers(0, 6))
def test_no_other_set_of_as_many_hours_leaves_fewer_messages_late(messages: list[Message], k: int) -> None:
    found = suggest(grid_of(messages), k, target_ms=TARGET, min_events=2)
    hours = sorted({hour for hour, _ in messages})
    frame, lasts = frame_of(messages), lasting(messages)
    sets = [chosen for size in range(k + 1) for chosen in combinations(hours, size)]
    every = [left_late(frame, chosen, found.best, lasts) for chosen in sets]
    assert found.lasting == pytest.approx(lasts, abs=1e-9)
    assert found.after.late == pytest.approx(min(every) if found.best else found.before.late)


@examples(150)
@given(MESSAGES.filter(len), st.integers(0, 6), st.sampled_from([0.3, 0.5, 0.8]))
def test_the_outlook_agrees_with_a_search_over_plain_messages(messages: list[Message], k: int, quantile: float) -> None:
    found = suggest(grid_of(messages), k, target_ms=TARGET, quantile=quantile, min_events=2)
    frame = frame_of(messages)
    assert found.before.late == (frame["wait"] > TARGET).sum()
    assert found.before.within_share == pytest.approx((frame["wait"] <= TARGET).mean())
    assert found.before.quantile_ms == shortest(frame["wait"], quantile)
    assert found.after.quantile_ms == staffed_quantile(messages, found, quantile)
    assert found.after.within_share == pytest.approx(1 - found.after.late / len(messages))


@examples(100)
@given(MESSAGES, st.sampled_from([0.3, 0.5, 0.8]))
def test_more_hours_never_make_the_expectation_worse_and_gains_add_up(messages: list[Message], quantile: float) -> None:
    before = None
    demand = {hour for hour, _ in messages}
    for k in range(8):
        found = suggest(grid_of(messages), k, target_ms=TARGET, quantile=quantile, min_events=2)
        assert len(found.picks) <= k
        assert {pick.hour for pick in found.picks} <= demand
        assert found.before.late - sum(pick.gain for pick in found.picks) == pytest.approx(found.after.late)
        assert [pick.gain for pick in found.picks] == sorted((pick.gain for pick in found.picks), reverse=True)
        if before is not None and messages:
            assert found.after.late <= before.after.late
            assert found.after.quantile_ms <= before.after.quantile_ms
            assert found.picks[: len(before.picks)] == before.picks
        before = found


@examples(100)
@given(MESSAGES.filter(len))
def test_the_best_covered_hours_are_a_quarter_of_those_with_enough_messages(messages: list[Message]) -> None:
    found = suggest(grid_of(messages), 3, target_ms=TARGET, min_events=4)
    shares = frame_of(messages).groupby("hour")["wait"].agg(lambda w: w.le(TARGET).mean() if len(w) >= 4 else np.nan)
    enough = shares.dropna()
    assert len(found.best) == math.ceil(len(enough) / 4)
    others = enough.drop(found.best)
    assert not len(others) or enough[found.best].min() >= others.max()


def test_only_allowed_hours_are_suggested() -> None:
    messages = [(hour, 1 if hour == 9 else 100) for hour in (9, 10, 50) for _ in range(40)]
    found = suggest(grid_of(messages), 5, target_ms=TARGET, allowed=parse_hours("mon 00-24"))
    assert found.lasting == pytest.approx(1 - 2 / 120)  # X² of three hours that have nothing in common: all messages
    gain = pytest.approx(40 * found.lasting)
    assert [(pick.name, pick.events, pick.late, pick.gain) for pick in found.picks] == [("mon-10", 40, 40, gain)]
    assert found.after.late == pytest.approx(80 - 40 * found.lasting)
    assert [cell_name(hour) for hour in found.best] == ["mon-09"]


def test_what_the_best_hours_never_answer_a_staffed_hour_does_not_either() -> None:
    messages: list[Message] = [(9, 1)] * 3000 + [(9, NEVER)] * 1000 + [(10, NEVER)] * 4000
    found = suggest(grid_of(messages), 1, target_ms=TARGET, quantile=0.8)
    assert [pick.gain for pick in found.picks] == [pytest.approx(3000, rel=0.001)]
    assert found.after.late == pytest.approx(2000, rel=0.001)
    assert found.after.quantile_ms == math.inf


def test_hours_that_differ_by_luck_alone_promise_next_to_nothing() -> None:
    promised = []
    for seed in range(40):
        quick = np.random.default_rng(seed).random(168 * 20) < 0.6
        found = suggest(grid_of([(n // 20, 1 if each else 100) for n, each in enumerate(quick)]), 10, target_ms=TARGET)
        promised.append(sum(pick.gain for pick in found.picks) / (10 * 20))
    assert np.mean(promised) < 0.04  # a third of the messages if the best hours were taken at their word


def test_hours_that_differ_for_good_promise_what_they_differ_by() -> None:
    rng = np.random.default_rng(1)
    quick = [(hour, rng.random() < (0.9 if hour < 84 else 0.4)) for hour in range(168) for _ in range(100)]
    found = suggest(grid_of([(hour, 1 if each else 100) for hour, each in quick]), 20, target_ms=TARGET)
    assert all(pick.hour >= 84 for pick in found.picks)
    assert sum(pick.gain for pick in found.picks) == pytest.approx(20 * 100 * 0.55, rel=0.2)


def test_nothing_is_suggested_where_no_hour_has_enough_messages_or_nothing_happened() -> None:
    few = suggest(grid_of([(9, 1), (10, NEVER)]), 3, target_ms=TARGET)
    assert (few.picks, few.best, few.after) == ([], [], few.before)
    nothing = suggest(WeekGrid.empty(), 3, target_ms=TARGET)
    assert nothing.picks == []
    assert math.isnan(nothing.before.within_share)
    assert math.isnan(nothing.after.quantile_ms)


def test_targets_and_numbers_of_hours_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="can't be staffed"):
        suggest(WeekGrid.empty(), -1, target_ms=TARGET)
    with pytest.raises(ValueError, match="within -1 ms"):
        gaps(WeekGrid.empty(), target_ms=-1)


def test_a_target_beyond_any_wait_counts_all_answers() -> None:
    assert Answers.of(grid_of([(167, 40), (0, NEVER)])).within(1 << 60).sum() == 1


def test_a_staffed_hour_keeps_the_answers_that_were_quicker_than_the_best_hours() -> None:
    messages: list[Message] = [(9, 15)] * 40 + [(10, 1)] * 24 + [(10, NEVER)] * 16
    found = suggest(grid_of(messages), 1, target_ms=TARGET, quantile=0.25)
    assert [pick.name for pick in found.picks] == ["mon-10"]
    assert (found.before.quantile_ms, found.after.quantile_ms) == (1.0, 1.0)
