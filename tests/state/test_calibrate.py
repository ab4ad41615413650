"""A threshold is judged by what was known, by whole orgs, and not at all when little is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.calibrate import FEWEST_ORGS, Cases, Costs, auc, backtest, cases_of, judged, proposed, too_little
from tests.state.worlds import examples

WEEKS = range(2800, 2830)
THRESHOLDS = list(range(500, 9_600, 500))


def history(stay: int = 30, leave: int = 15, seed: int = 1) -> tuple[dict[str, dict[int, int]], dict[str, int]]:
    """Return orgs of which some leave, after weeks of falling scores."""
    rng = np.random.default_rng(seed)
    left = {f"l{n}": int(rng.integers(2808, 2828)) for n in range(leave)}
    found: dict[str, dict[int, int]] = {}
    for org in [*left, *(f"s{n}" for n in range(stay))]:
        gone = left.get(org, 10_000)
        found[org] = {
            week: int(np.clip(rng.normal(6000 - 700 * max(0, 6 - (gone - week)), 900), 0, 10_000))
            for week in WEEKS
            if week < gone + 2
        }
    return found, left


CASES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.booleans()), min_size=2, max_size=60)


def cases(rows: list[tuple[int, int, bool]]) -> Cases:
    org, score, left = (np.array(column) for column in zip(*rows, strict=True))
    return Cases(org, np.zeros(len(rows), np.int64), score * 250, left.astype(bool))


@examples(200)
@given(CASES)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, int, bool]]) -> None:
    gone = [score for _, score, left in rows if left]
    stayed = [score for _, score, left in rows if not left]
    found = auc(cases(rows))
    if not gone or not stayed:
        assert math.isnan(found)
        return
    wins = sum((a < b) + (a == b) / 2 for a in gone for b in stayed)
    assert found == pytest.approx(wins / (len(gone) * len(stayed)))


@examples(50)
@given(CASES)
def test_figures_agree_with_a_recount_in_pandas(rows: list[tuple[int, int, bool]]) -> None:
    found = cases(rows)
    _, judgements = judged(found, THRESHOLDS, Costs(7, 2), 1)
    table = pd.DataFrame({"score": found.score, "left": found.left})
    for row in judgements:
        alerted = table.score < row.threshold
        cross = pd.crosstab(alerted, table.left).reindex(index=[False, True], columns=[False, True], fill_value=0)
        missed, false, hit = cross.loc[False, True], cross.loc[True, False], cross.loc[True, True]
        assert row.alerts == alerted.sum()
        assert row.cost == pytest.approx((missed * 7 + false * 2) / len(table))
        if alerted.any():
            assert row.precision.value == pytest.approx(table.left[alerted].mean())
        if table.left.any():
            assert row.recall.value == pytest.approx(alerted[table.left].mean())
            if alerted.any():
                assert row.lift.value == pytest.approx(table.left[alerted].mean() / table.left.mean())
        assert hit + false == row.alerts


def test_the_proposal_costs_least_and_its_intervals_hold_it() -> None:
    found = cases_of(*history(), 6)
    area, rows = judged(found, THRESHOLDS, Costs(), 3)
    best = proposed(found, rows)
    assert best is not None and best.cost == min(row.cost for row in rows)
    assert 2_000 < best.threshold < 7_000
    assert area.low < area.value < area.high and area.value > 0.7
    assert best.recall.low <= best.recall.value <= best.recall.high
    dear = proposed(found, judged(found, THRESHOLDS, Costs(miss=100), 3)[1])
    assert dear is not None and dear.threshold > best.threshold, "who fears misses alerts more"
    assert judged(found, THRESHOLDS, Costs(), 3) == (area, rows), "a seed gives the same intervals"


def test_scores_that_tell_nothing_have_an_interval_around_one_half() -> None:
    rng = np.random.default_rng(4)
    weeks, left = history(40, 40)
    noise = {org: {week: int(rng.integers(0, 10_000)) for week in found} for org, found in weeks.items()}
    area, _ = judged(cases_of(noise, left, 6), THRESHOLDS, Costs(), 3)
    assert area.low < 0.5 < area.high


def test_intervals_are_of_orgs_and_not_of_weeks() -> None:
    weeks, left = history()
    found = cases_of(weeks, left, 6)
    area, _ = judged(found, THRESHOLDS, Costs(), 3)
    alone = Cases(np.arange(len(found)), found.week, found.score, found.left)
    naive, _ = judged(alone, THRESHOLDS, Costs(), 3)
    assert area.value == naive.value
    one_org = {f"{org}-{n}": found for org, found in weeks.items() for n in range(5)}  # the same five times
    more = cases_of(one_org, {f"{org}-{n}": week for org, week in left.items() for n in range(5)}, 6)
    many, _ = judged(more, THRESHOLDS, Costs(), 3)
    assert many.high - many.low < area.high - area.low


def test_weeks_whose_horizon_is_not_over_are_no_cases_for_leavers_either() -> None:
    weeks = {"a": dict.fromkeys(range(10), 500), "b": dict.fromkeys(range(12), 900)}
    found = cases_of(weeks, {"a": 10}, 4)
    assert sorted(zip(found.org.tolist(), found.week.tolist(), found.left.tolist(), strict=True)) == [
        *((0, week, week >= 6) for week in range(8)),
        *((1, week, False) for week in range(8)),
    ]


@examples(40)
@given(st.integers(2805, 2825), st.integers(0, 10**6))
def test_nothing_after_the_last_week_that_is_looked_at_changes_anything(until: int, seed: int) -> None:
    weeks, left = history(seed=seed % 7)
    rng = np.random.default_rng(seed)
    future = {
        org: {w: s if w <= until else int(rng.integers(0, 10_000)) for w, s in found.items()}
        for org, found in weeks.items()
    }
    known = {org: week for org, week in left.items() if week <= until}
    one, other = (cases_of(which, known, 6, until) for which in (weeks, future))
    assert one.score.tolist() == other.score.tolist() and one.left.tolist() == other.left.tolist()


def test_the_backtest_uses_no_later_leaver() -> None:
    weeks, left = history(60, 40)
    tried, alerts = backtest(cases_of(weeks, left, 4), 4, THRESHOLDS, Costs())
    assert alerts.any() and not alerts.all() and tried.left.any()
    first = int(tried.week.min())
    assert len([org for org, week in left.items() if week <= first]) >= FEWEST_ORGS
    # In hindsight with all leavers it does better, or as well.
    last = int(tried.week.max())
    shuffled = {org: (week if week <= first else last + 50) for org, week in left.items()}
    again, alerted = backtest(cases_of(weeks, shuffled, 4), 4, THRESHOLDS, Costs())
    here, there = tried.week == first, again.week == first
    assert alerts[here].tolist() == alerted[there].tolist(), "the first week's alerts do not depend on later leavers"


@pytest.mark.parametrize(("stay", "leave", "what"), [(30, 3, "3 orgs"), (4, 20, "4 orgs"), (0, 0, "0 orgs")])
def test_too_little_is_said_and_nothing_is_proposed(stay: int, leave: int, what: str) -> None:
    found = cases_of(*history(stay, leave), 6)
    assert what in too_little(found)
    assert proposed(found, judged(found, THRESHOLDS, Costs(), 1)[1]) is None
