"""The forward look finds what was put in, finds nothing where nothing is, and is not taken in by seasons or by kinds
of org."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.history_forward import said
from reports.history_lead import CHANGE, LEVEL, Grid, holm, lead_lag, look, turned_sums, within_week

WEEKS = 30


def world(scores: Any, counts: Any) -> pd.DataFrame:
    """Return org-weeks of matrices orgs × weeks."""
    org, week = np.indices(scores.shape)
    return pd.DataFrame(
        {
            "org": pd.Series([f"o{n}" for n in org.ravel()], dtype="str"),
            "week": week.ravel() + 100,
            "activities": 5,
            "active_users": 2,
            "transactions_count": counts.ravel().astype(np.int64),
            "transactions_cents": (counts.ravel() * 1_000).astype(np.int64),
            "score": scores.ravel().astype(np.float64),
        }
    )


def wandering(rng: Any, orgs: int, weeks: int = WEEKS) -> Any:
    """Return scores that stay near where they were."""
    return 50 + np.cumsum(rng.normal(0, 2, (orgs, weeks)), axis=1)


def poisson(rng: Any, rates: Any) -> Any:
    return 1 + rng.poisson(np.maximum(rates, 0.1))


def test_a_score_that_is_three_weeks_ahead_is_found_three_weeks_ahead_and_nowhere_else() -> None:
    """
    score   ‾‾\\__/‾‾            falls in week w
    trade        ‾‾\\__/‾‾       falls in week w + 3
    """
    rng = np.random.default_rng(1)
    longer = wandering(rng, 150, WEEKS + 3)
    found = lead_lag(world(longer[:, 3:], poisson(rng, 4 * (longer[:, :-3] - 30))), 100, 100 + WEEKS - 1)
    rows = found[(found["form"] == CHANGE) & (found["outcome"] == "transactions")].set_index("lag_weeks")
    assert rows["r"].idxmax() == 3 and rows.loc[3, "p_holm"] < 0.01
    assert (rows.drop(index=3)["p_holm"] > 0.05).all()
    assert rows.loc[3, "r_low"] > 0
    assert rows.loc[3, "fewer_after_fall"] > rows.loc[3, "fewer_after_rise"] + 0.05
    words = said(found)
    assert "In this period yes" in words and "3 weeks later" in words


def test_what_has_nothing_to_do_with_each_other_is_found_as_seldom_as_said() -> None:
    """Both wander by themselves: turned weeks find something in few worlds, shuffled ones would in one of three."""
    worlds, turned, shuffled = 60, 0, 0
    for seed in range(worlds):
        rng = np.random.default_rng(1_000 + seed)
        rates = 40 + np.cumsum(rng.normal(0, 3, (12, WEEKS)), axis=1)
        grid = Grid.of(world(wandering(rng, 12), poisson(rng, rates)), 100, 100 + WEEKS - 1)
        org, week, x, y = grid.pairs("transactions", LEVEL, 2)
        turned += look(org, week, x, y, rng, 199)[1] < 0.05
        a, b = within_week(x, week), within_week(y, week)
        sums = []
        for _ in range(99):
            order = np.lexsort((rng.random(len(org)), org))
            sums.append(float(a[order] @ b))
        shuffled += float(np.mean(np.abs(np.array(sums) - np.mean(sums)) >= abs(float(a @ b) - np.mean(sums)))) < 0.05
    assert turned <= 0.15 * worlds
    assert shuffled >= 0.25 * worlds


def test_a_season_that_moves_everybody_is_no_foresight() -> None:
    rng = np.random.default_rng(3)
    season = 10 * np.sin(np.arange(WEEKS) / 3)
    scores = 50 + season + rng.normal(0, 1, (80, WEEKS))
    counts = poisson(rng, 40 + 2 * season + rng.normal(0, 1, (80, WEEKS)))
    plain = np.corrcoef(np.diff(scores).ravel(), np.diff(counts).ravel())[0, 1]
    found = lead_lag(world(scores, counts), 100, 100 + WEEKS - 1)
    assert plain > 0.3
    assert (found["p_holm"] > 0.05).all()


def test_that_large_orgs_score_high_is_no_foresight() -> None:
    rng = np.random.default_rng(5)
    size = rng.lognormal(3, 1, (80, 1))
    scores = 30 + 5 * np.log(size) + rng.normal(0, 1, (80, WEEKS))
    found = lead_lag(world(scores, poisson(rng, size + np.zeros((80, WEEKS)))), 100, 100 + WEEKS - 1)
    levels = found[found["form"] == LEVEL]
    assert (levels["r"] > 0.8).all() and (levels["p_holm"] > 0.05).all()


def test_turnings_by_look_up_are_turnings() -> None:
    rng = np.random.default_rng(9)
    org = np.repeat([0, 2, 3], [3, 4, 2])  # one org has no pairs
    x, y = rng.normal(size=9), rng.normal(size=9)
    sums = []
    for turns in itertools.product(range(3), range(4), range(2)):
        parts = [np.roll(x[org == n], -turn) for n, turn in zip((0, 2, 3), turns, strict=True)]
        sums.append(float(np.concatenate(parts) @ y))
    found = turned_sums(org, x, y, np.random.default_rng(0), 5_000)
    assert {round(v, 9) for v in found.tolist()} == {round(v, 9) for v in sums}
    assert found.mean() == pytest.approx(np.mean(sums), abs=0.1)


def test_the_share_of_chance_is_that_of_all_turnings() -> None:
    rng = np.random.default_rng(10)
    org = np.repeat(np.arange(4), 5)
    week = np.tile(np.arange(5), 4)
    x, y = rng.normal(size=20), rng.normal(size=20)
    coefficient, p, why = look(org, week, x, y, np.random.default_rng(0), 40_000)
    ranks = [np.zeros(20), np.zeros(20)]
    for values, into in zip((x, y), ranks, strict=True):
        for n in range(5):
            into[week == n] = (values[week == n].argsort().argsort() + 1 - 2.5) / 4
    a, b = ranks
    every = [
        sum(float(np.roll(a[org == n], -turn) @ b[org == n]) for n, turn in enumerate(turns))
        for turns in itertools.product(range(5), repeat=4)
    ]
    exact = np.mean(np.abs(np.array(every) - np.mean(every)) >= abs(float(a @ b) - np.mean(every)) - 1e-12)
    assert why == "" and coefficient.value == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert p == pytest.approx(exact, abs=0.015)


def test_equal_data_and_seeds_give_equal_figures() -> None:
    rng = np.random.default_rng(2)
    data = world(wandering(rng, 12), poisson(rng, np.full((12, WEEKS), 9.0)))
    first, second = (lead_lag(data, 100, 100 + WEEKS - 1, seed=5, turnings=99) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert not lead_lag(data, 100, 100 + WEEKS - 1, seed=6, turnings=99)["p"].equals(first["p"])


@pytest.mark.parametrize(
    ("orgs", "weeks", "why"),
    [
        (0, 0, "0 pairs"), (1, WEEKS, "0 pairs"), (3, 1, "0 pairs"), (2, 3, "too few weeks to tell it from chance"),
    ],
)  # fmt: skip
def test_what_can_not_be_said_has_its_reason(orgs: int, weeks: int, why: str) -> None:
    rng = np.random.default_rng(8)
    data = world(wandering(rng, orgs, weeks), poisson(rng, np.full((orgs, weeks), 9.0)))
    found = lead_lag(data, 100, 100 + weeks - 1)
    assert len(found) == 36
    assert found[found["p"].isna()]["note"].ne("").all()
    assert any(why in note for note in found["note"])
    assert "can't be said" in said(found) and "nan" not in said(found)


def test_weeks_without_a_row_had_no_transactions_but_not_before_the_org_began() -> None:
    data = world(np.full((3, 6), 50.0), np.full((3, 6), 4))
    gone = data[~((data["org"] == "o0") & (data["week"] > 103)) & ~((data["org"] == "o1") & (data["week"] < 102))]
    grid = Grid.of(gone, 100, 105)
    org, week, _, y = grid.pairs("transactions", LEVEL, 2)
    pairs = {(int(a), int(b)): float(v) for a, b, v in zip(org, week, y, strict=True)}
    assert pairs[0, 1] == 4 and pairs[0, 2] == 0 and pairs[0, 3] == 0
    assert (1, 1) not in pairs and pairs[1, 2] == 4


def test_holm_leaves_out_what_was_no_look() -> None:
    found = holm([0.01, float("nan"), 0.04, 0.2])
    assert found[0] == pytest.approx(0.03) and math.isnan(found[1])
    assert found[2:] == pytest.approx([0.08, 0.2])
