"""The health model: each kind by example, the formula by its properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.activity import Member, Tick
from state.effects import OrgScore, UserScore
from state.health import FULL, Bands, Model
from state.kinds import KINDS, attribute_values, single_measures
from state.ring import RollingWeek
from state.scoring import apportion, bands_of, cut_points, score_users
from tests.state.worlds import HOUR, Act, at, attribute, examples, model_of, rows_of, shard_of, shipped_model

NOW = 480_000  # an hour; hours of the tests count back from it


def value_of(kind: str, acts: list[tuple[Any, ...]], org_activities: int = 0, **more: object) -> int | None:
    """Return one attribute of a user who did *acts* (measure, hours ago, amount if it matters); None = no data."""
    model = model_of(attribute("it", kind, **more), stored={"gauge": True})
    week = RollingWeek(model.catalogue.measures, single_measures(model))
    week.grow(1)
    week.advance(NOW)
    for measure, ago, *given_amount in acts:
        amount = given_amount[0] if given_amount else 100 if measure == "export" else 0
        columns = (0, model.catalogue.index(measure), round((NOW - ago) * HOUR), 1, amount)
        week.add(*(np.array([c], np.int64) for c in columns))
    values, known = attribute_values(model, week, np.array([0]), np.array([org_activities]))
    return int(values[0, 0]) if known[0, 0] else None


SEARCH, EXPORT, ALERT = "search", "export", "alert_received"


EXAMPLES: list[tuple[str, dict[str, Any], list[tuple[Any, ...]], int | None]] = [
    ("count", {"measures": [SEARCH]}, [(SEARCH, 0), (SEARCH, 168), (EXPORT, 1)], 2),
    ("count", {"measures": [SEARCH, EXPORT]}, [(SEARCH, 0), (EXPORT, 1)], 2),
    ("count", {"measures": [SEARCH]}, [], 0),
    ("sum", {"measures": [EXPORT]}, [(EXPORT, 0), (EXPORT, 9)], 200),
    ("distinct", {}, [(SEARCH, 0), (SEARCH, 1), (EXPORT, 2), (ALERT, 3), ("other", 4)], 2),
    ("distinct", {"measures": [SEARCH, ALERT]}, [(SEARCH, 0), (ALERT, 1), (EXPORT, 2)], 2),
    ("boolean", {"measures": [EXPORT]}, [(EXPORT, 3)], FULL),
    ("boolean", {"measures": [EXPORT]}, [(SEARCH, 3)], 0),
    ("ratio", {"measures": [SEARCH], "against": [ALERT]}, [(SEARCH, 0), (ALERT, 1), (ALERT, 2), (ALERT, 3)], 2500),
    ("ratio", {"measures": [SEARCH], "against": [ALERT]}, [(EXPORT, 0)], None),
    ("mean", {"measures": [EXPORT]}, [(EXPORT, 0), (EXPORT, 1)], -100),
    ("mean", {"measures": [EXPORT]}, [(SEARCH, 0)], None),
    # of an even number the smaller one of the middle two
    ("median", {"measures": [EXPORT]}, [(EXPORT, 0, 9), (EXPORT, 1, 3), (EXPORT, 168, 5), (EXPORT, 1, 70)], -5),
    ("median", {"measures": [EXPORT]}, [(EXPORT, 3, 8), (EXPORT, 9, 8), (EXPORT, 2, 1)], -8),
    ("median", {"measures": [EXPORT, SEARCH]}, [(EXPORT, 0, 9), (SEARCH, 1, 3), (EXPORT, 1, 5)], -5),
    ("median", {"measures": [EXPORT]}, [(SEARCH, 0), (EXPORT, 169, 4)], None),
    # the newest by its time, whichever came first; of one moment's the largest
    ("gauge", {"measures": ["stored"]}, [("stored", 5, 7), ("stored", 0.5, 2), ("stored", 0.6, 9)], 2),
    ("gauge", {"measures": ["stored"]}, [("stored", 4, 7), ("stored", 4, 8), ("stored", 4, 6)], 8),
    ("gauge", {"measures": ["stored"]}, [("stored", 168, 4)], 4),
    ("gauge", {"measures": ["stored"]}, [("stored", 169, 4), (SEARCH, 0)], None),
    ("share_of_org", {}, [(SEARCH, 0), (SEARCH, 1), (ALERT, 2)], 2000),
    # days count back from the running hour: 0–23 h ago, 24–47 h ago, …
    ("days_active", {}, [(SEARCH, 0), (SEARCH, 23), (SEARCH, 24), (SEARCH, 168)], 3),
    ("streak_days", {}, [(SEARCH, 0), (SEARCH, 30), (SEARCH, 100), (SEARCH, 130), (SEARCH, 150)], 3),
    ("streak_days", {}, [(ALERT, 0)], 0),
    # visits: 10-11 h ago, 5 h ago, now
    ("sessions", {}, [(SEARCH, 11), (SEARCH, 10), (SEARCH, 5), (SEARCH, 0)], 3),
    ("recency_hours", {}, [(SEARCH, 11), (SEARCH, 7)], -7),
    ("recency_hours", {}, [(SEARCH, 0)], 0),
    ("recency_hours", {}, [(ALERT, 3)], None),
    # idle between visits: hours 9 … 6 (4 h) and 4 … 1 (4 h)
    ("gap_hours", {}, [(SEARCH, 11), (SEARCH, 10), (SEARCH, 5), (SEARCH, 0)], -4),
    ("gap_hours", {}, [(SEARCH, 11), (SEARCH, 10)], None),
]


@pytest.mark.parametrize(("kind", "more", "acts", "value"), EXAMPLES)
def test_each_kind_of_attribute_by_example(kind: str, more: dict, acts: list, value: int | None) -> None:
    assert value_of(kind, acts, org_activities=10, **more) == value


def test_every_kind_has_an_example_and_says_without_data_only_if_it_may() -> None:
    assert {kind for kind, *_ in EXAMPLES} == set(KINDS)
    # Who was not active at all is not scored, whatever the kind says of them.
    lacking = {kind for kind, _, acts, value in EXAMPLES if value is None and any(m != ALERT for m, *_ in acts)}
    assert lacking == {name for name, kind in KINDS.items() if kind.may_lack}


def ranks(values: list[int], cuts: list[int]) -> list[int]:
    """Return the ranks 0 … 9 of *values* as the score uses them."""
    model = model_of(attribute("searches", "count", measures=[SEARCH]))
    column = np.array(values, np.int64).reshape(-1, 1)
    return (score_users(model, column, np.ones_like(column, bool), {"searches": cuts}).score // 1000).tolist()


def cuts_of(values: list[int]) -> list[int]:
    distinct, counts = np.unique(values, return_counts=True)
    return cut_points(distinct, counts)


@examples(150)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=80))
def test_a_rank_is_the_share_of_people_in_lower_deciles(values: list[int]) -> None:
    # The oracle is pandas: `rank(method="min")` counts who is strictly below, so ties share one rank.
    below = pd.Series(values).rank(method="min") - 1
    expected = (below * 10 // len(values)).astype(int).tolist()
    assert ranks(values, cuts_of(values)) == expected


def test_the_top_tenth_gets_nine_tenths_and_the_lowest_nothing() -> None:
    assert ranks(list(range(1, 11)), cuts_of(list(range(1, 11)))) == list(range(10))


def test_equal_values_score_equal() -> None:
    values = [1] * 50 + [2] * 30 + [9] * 20
    found = ranks(values, cuts_of(values))
    assert (found[0], found[50], found[80]) == (0, 5, 8)
    assert len(set(found)) == 3


def test_who_has_nothing_gets_nothing_even_above_all_cuts() -> None:
    assert ranks([0, 1], [0] * 9) == [0, 9]


def test_without_a_population_nobody_has_a_rank() -> None:
    assert ranks([10**12], cut_points(np.empty(0, np.int64), np.empty(0, np.int64))) == [0]


MIXED = model_of(
    attribute("searches", "count", 3, measures=[SEARCH]),
    attribute("exported", "sum", 5, measures=[EXPORT]),
    attribute("own_share", "ratio", 2, measures=[SEARCH], against=[ALERT], missing="reweight"),
    attribute("exports_at_all", "boolean", 1, measures=[EXPORT]),
    attribute("waiting", "mean", 4, measures=[EXPORT], missing="reweight", cuts=[-9, -8, -7, -6, -5, -4, -3, -2, -1]),
)
cell = st.tuples(
    st.integers(0, 12), st.integers(0, 12), st.integers(0, FULL), st.sampled_from([0, FULL]), st.integers(-12, 0)
)
people = st.lists(st.tuples(cell, st.lists(st.booleans(), min_size=5, max_size=5)), min_size=1, max_size=8)


def scored(model: Model, values: np.ndarray, known: np.ndarray) -> tuple:
    found = score_users(model, values, known, model.default_cuts())
    return found.score, found.contributions, found.coverage


@examples(150)
@given(people)
def test_a_score_follows_the_formula_and_its_parts_add_up(drawn: list) -> None:
    values = np.array([v for v, _ in drawn], np.int64)
    known = np.array([k for _, k in drawn])
    score, parts, coverage = scored(MIXED, values, known)
    assert (parts.sum(axis=1) == score).all()
    for n, (row, has) in enumerate(drawn):
        top, bottom, covered = 0, 0, 0
        for value, there, a in zip(row, has, MIXED.attributes, strict=True):
            if a.is_ranked:
                x = sum(value >= cut for cut in a.cuts) * 1000
                if value <= 0 and a.kind != "mean":
                    x = 0
            else:
                x = value
            covered += a.weight * there
            if there or a.missing == "zero":
                bottom += a.weight
                top += a.weight * x * there
        assert score[n] == top // bottom
        assert coverage[n] == covered * FULL // sum(a.weight for a in MIXED.attributes)
        assert 0 <= score[n] <= FULL


@examples(100)
@given(people, st.integers(0, 4), st.integers(0, 10))
def test_more_of_an_attribute_never_lowers_ones_own_score(drawn: list, which: int, more: int) -> None:
    values = np.array([v for v, _ in drawn], np.int64)
    known = np.array([k for _, k in drawn])
    better = values.copy()
    better[:, which] = np.minimum(better[:, which] + more, FULL) if which != 3 else FULL
    assert (scored(MIXED, better, known)[0] >= scored(MIXED, values, known)[0]).all()


@examples(200)
@given(
    st.integers(1, 6).flatmap(
        lambda width: st.lists(st.lists(st.integers(0, 10**6), min_size=width, max_size=width), min_size=1, max_size=5)
    ),
    st.integers(0, 500),
)
def test_apportioned_parts_add_up_and_none_is_off_by_one(rows: list[list[int]], divisor: int) -> None:
    total, parts = apportion(np.array(rows, np.int64), np.full(len(rows), divisor))
    divisor = max(divisor, 1)
    for row, whole, shares in zip(rows, total.tolist(), parts.tolist(), strict=True):
        assert whole == sum(row) // divisor == sum(shares)
        assert all(x // divisor <= share <= x // divisor + 1 for x, share in zip(row, shares, strict=True))
        assert all(share == x // divisor for x, share in zip(row, shares, strict=True) if x % divisor == 0)


EDGES = Bands(healthy=6000, at_risk=3000, hysteresis=200)


def test_a_band_is_left_only_beyond_its_edge_and_a_bit() -> None:
    #        at risk │ watch │ healthy
    #     ──────────3000────6000──────────
    #              ±200    ±200
    path = [6100, 5900, 5799, 6100, 6199, 6200, 2900, 2799, 3100, 3200, 9000]
    band, found = -1, []
    for score in path:
        band = int(bands_of(np.array([score]), np.array([band]), EDGES)[0])
        found.append(band)
    assert found == [2, 2, 1, 1, 1, 2, 1, 0, 0, 1, 2]


@examples(200)
@given(st.integers(0, FULL), st.integers(-1, 2))
def test_hysteresis_moves_an_edge_and_never_skips_a_band(score: int, former: int) -> None:
    band = int(bands_of(np.array([score]), np.array([former]), EDGES)[0])
    plain = (score >= 3000) + (score >= 6000)
    if former < 0 or former == plain:
        assert band == plain
    else:
        assert min(former, plain) <= band <= max(former, plain)
        far = min(abs(score - edge) for edge in (3000, 6000)) > 200
        assert band == plain or not far


# --- people, through the whole shard ---

MONDAY = at("2024-03-04T00:00")


def scores_of(acts: list[Act], *members: Member, model: Model | None = None) -> tuple[dict[str, int], list[OrgScore]]:
    """Return the score of each user, and the orgs' documents, at the end of the week."""
    shard = shard_of(model or shipped_model())
    offset = 0
    for member in members:
        shard.apply(member, offset)
        offset += 1
    shard.apply(rows_of(acts), offset)
    effects = shard.apply(Tick(max(a.time_ms for a in acts), 0), offset + 1)
    assert effects is not None
    users = {e.user: e.score for e in effects if isinstance(e, UserScore)}
    return users, [e for e in effects if isinstance(e, OrgScore)]


def week_of_work(user: str, measures: list[str], hours: range, ids_from: int) -> list[Act]:
    return [
        Act("a", user, measures[n % len(measures)], MONDAY + hour * 3_600_000, ids_from + n)
        for n, hour in enumerate(hours)
    ]


def everyday(model: Model) -> str:
    """Return the measure of the attribute of least weight that counts one active measure."""
    attributes = [a for a in model.attributes if a.kind == "count" and len(a.measures) == 1]
    lightest = min(
        (a for a in attributes if not model.catalogue.measures[a.measures[0]].passive), key=lambda a: a.weight
    )
    return model.catalogue.names[lightest.measures[0]]


@pytest.mark.parametrize("volume", [10, 1000, 20_000])
def test_who_repeats_one_common_action_scores_low_at_any_volume(volume: int) -> None:
    model = shipped_model()
    common = everyday(model)
    working = [m.name for m in model.catalogue.measures if m.feature]
    repeats = [Act("a", "rob", common, MONDAY + (n % 600) * 1_000_000, 10**6 + n) for n in range(volume)]
    everything = week_of_work("ann", working, range(0, 166, 2), 1)
    users, _ = scores_of(repeats + everything, model=model)
    assert users["rob"] < model.bands.healthy  # being there every day is worth some points
    assert users["rob"] < users["ann"] / 4


def test_who_merely_receives_alerts_scores_low() -> None:
    model = shipped_model()
    passive = [m.name for m in model.catalogue.measures if m.passive and "alert" in m.name]
    assert passive, "the shipped model knows received alerts"
    work = week_of_work("ann", [m.name for m in model.catalogue.measures if m.feature], range(0, 166, 2), 1)
    received = [Act("a", "pat", passive[0], MONDAY + n * 60_000, 10**6 + n) for n in range(9000)]
    one_visit = [Act("a", "vic", everyday(model), MONDAY, 3 * 10**6)]
    received_too = [Act("a", "vic", passive[0], MONDAY + n * 60_000, 2 * 10**6 + n) for n in range(9000)]
    users, _ = scores_of(work + received + one_visit + received_too, model=model)
    assert users["pat"] == 0
    assert users["vic"] < model.bands.at_risk


def test_idle_seats_pull_the_licensed_score_but_not_the_active_one() -> None:
    acts = [Act("a", "ann", "search", MONDAY, 1), Act("a", "bob", "search", MONDAY, 2)]
    seats = [Member("a", name, True, "") for name in ("ann", "bob", "idle1", "idle2")]
    model = model_of(attribute("searches", "count", measures=["search"]))
    _, (org,) = scores_of(acts, *seats, model=model)
    assert (org.score_active, org.score_licensed, org.score_median) == (1000, 500, 1000)
    assert (org.active_users, org.licensed_users) == (2, 4)


def test_an_org_without_licensed_users_has_no_licensed_score() -> None:
    acts = [Act("a", "ann", "search", MONDAY, 1)]
    _, (org,) = scores_of(acts, Member("a", "ann", False, ""), model=model_of())
    assert (org.score_active, org.score_licensed, org.licensed_users) == (1000, None, 0)


def test_only_idle_seats_are_worth_zero() -> None:
    acts = [Act("a", "ann", "search", MONDAY, 1)]
    seats = [Member("b", name, True, "") for name in ("idle1", "idle2")]
    _, orgs = scores_of(acts, *seats, model=model_of())
    (org,) = [o for o in orgs if o.org == "b"]
    assert (org.score_active, org.score_licensed, org.score_median, org.active_users) == (0, 0, 0, 0)


def test_an_org_nobody_is_in_has_no_score() -> None:
    acts = [Act("a", "ann", "search", MONDAY, 1), Act("b", "", "transaction", MONDAY, 2, 500, 9)]
    _, orgs = scores_of(acts, model=model_of())
    (org,) = [o for o in orgs if o.org == "b"]
    assert (org.score_active, org.score_licensed, org.score_median, org.band) == (None, None, None, "")
    assert (org.transactions_count, org.transactions_cents) == (1, 500)


@examples(40)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 30)), min_size=1, max_size=60))
def test_an_orgs_parts_add_up_to_its_score(drawn: list[tuple[str, int]]) -> None:
    model = model_of(
        attribute("searches", "count", 3, measures=["search"]),
        attribute("features", "distinct", 5),
        attribute("recency", "recency_hours", 2, cuts=[-9, -8, -7, -6, -5, -4, -3, -2, -1]),
    )
    acts = [Act("a", u, ("search", "export")[h % 2], MONDAY + h * 3_600_000, n) for n, (u, h) in enumerate(drawn)]
    users, (org,) = scores_of(acts, model=model)
    assert sum(org.contributions) == org.score_active == sum(users.values()) // len(users)
    ordered = sorted(users.values())
    middle = [ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]]
    assert org.score_median == sum(middle) // 2
