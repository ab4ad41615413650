"""Every table of the history's reports, over a base of the known shape, equals what another engine finds in the raw
rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from reports.history import History, HistoryReader
from reports.report_sections import ALL, sections_of
from reports.report_table import Table
from state.week import monday_of
from tests.reports.history_base import Base, make, week_rows
from tests.reports.history_oracle import Oracle

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class World:
    base: Base
    history: History
    tables: dict[str, Table]
    oracle: Oracle


@pytest.fixture(scope="module")
def world() -> World:
    base = make()
    reader = HistoryReader()
    for key, value in week_rows(base):
        reader.add(key, value)
    history = reader.history()
    tables = {table.name: table for *_, section in sections_of(history, ALL) for table in section.tables}
    return World(base, history, tables, oracle_of(base))


def oracle_of(base: Base) -> Oracle:
    """Return the base's raw rows, and its scores, in the other engine."""
    scored = base.org_weeks[base.org_weeks["score"] >= 0]
    days = {number: monday_of(number) for number in scored["week"].unique().tolist()}
    scores = pd.DataFrame(
        {
            "org": scored["org"].astype("str"),
            "mon": pd.to_datetime([days[n] for n in scored["week"]]).astype("datetime64[s]"),
            "score": scored["score"] / 100,
        }
    )
    return Oracle(base.activity, base.transactions, scores)


def same(frame: pd.DataFrame, columns: Sequence[str], expected: Sequence[tuple[Any, ...]]) -> None:
    """Check *columns* of *frame*: texts and whole numbers are equal, others to 1e-9."""
    found = list(frame[list(columns)].itertuples(index=False, name=None))
    assert len(found) == len(expected) > 0
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        for name, a, b in zip(columns, ours, theirs, strict=True):
            if isinstance(a, float):
                assert b is not None and math.isclose(a, float(b), rel_tol=1e-9, abs_tol=1e-9), (number, name, a, b)
            else:
                assert a == b, (number, name, a, b)


def test_the_base_has_the_known_shape(world: World) -> None:
    found = world.tables["totals"].frame.set_index("figure")["value"]
    assert found["orgs with an activity"] == 5_042
    assert found["users with an activity"] == 18_382
    assert found["pairs of org and user"] == 25_680
    assert found["user-weeks with an activity"] == 90_225
    assert found["org-weeks with a transaction"] == 82_725
    assert found["orgs with a transaction"] == 3_703
    assert found["weeks"] == 46
    assert world.history.period == "2020-W50 to 2021-W42"
    means = world.tables["averages"].frame.set_index("figure")
    assert (means["mean"] > 1.5 * means["median"]).all()  # a few have most of everything
    bands = world.tables["lifetime-bands"].frame
    assert bands["users"].tolist() == [11_852, 3_292, 998, 463, 386, 8_689]
    assert bands["weeks_mean"].is_monotonic_increasing


def test_what_does_not_count_is_left_out_and_counted(world: World) -> None:
    assert (world.base.activity["ghost"] > 0).sum() > 50_000 and (world.base.activity["org"] == 0).sum() > 50_000
    assert (world.base.transactions["status"] != "A").sum() > 100_000
    assert (world.history.provisional, world.history.system, world.history.unreadable) == (1, 1, 1)
    assert world.history.restated > 900
    assert not set(world.tables["orgs"].frame["org"]) & {"0", "gone", "torn"}


def test_totals_and_means(world: World) -> None:
    same(world.tables["totals"].frame, ["figure", "value"], world.oracle.totals())
    same(world.tables["averages"].frame, ["figure", "n", "mean", "median"], world.oracle.averages())


def test_weeks(world: World) -> None:
    frame = world.tables["weeks"].frame
    same(frame, list(frame.columns), world.oracle.weeks())


def test_users_and_orgs(world: World) -> None:
    for name, rows in (("users", world.oracle.users()), ("orgs", world.oracle.orgs())):
        frame = world.tables[name].frame
        same(frame, list(frame.columns), rows)


def test_lifetime(world: World) -> None:
    frame = world.tables["lifetime-bands"].frame
    same(frame, list(frame.columns)[1:], world.oracle.lifetime_bands())


def test_bands_of_active_users(world: World) -> None:
    frame = world.tables["active-bands"].frame
    assert frame["active_users"].tolist() == 2 * ["0–1", "2–4", "5–7", "8–10", "11+"]
    same(frame, [n for n in frame.columns if n != "active_users"], world.oracle.active_bands())


def test_users_by_band_of_their_weekly_mean(world: World) -> None:
    frame = world.tables["users-by-band"].frame
    same(frame, list(frame.columns), world.oracle.users_by_band())
    users = world.tables["users"].frame
    assert (users["weekly_mean"] == 10.0).sum() > 50  # the value that once fell between two bands
    either = frame[frame["population"] == "either"]
    assert either["users"].sum() == len(users)


def test_quartiles(world: World) -> None:
    frame = world.tables["quartiles"].frame
    same(frame, ["volume_cents", "n"], world.oracle.quartiles())
    profiles = world.tables["quartile-profiles"].frame
    same(profiles, list(profiles.columns)[1:], world.oracle.profiles())
    assert profiles["orgs"].sum() == 3_703


@pytest.mark.parametrize(
    "name", ["org-correlations", "org-week-correlations", "active-correlations", "band-correlations"]
)
def test_correlations(world: World, name: str) -> None:
    frame = world.tables[name].frame
    columns = ["n", "orgs"]
    for method in ("pearson", "spearman"):
        columns += [c for c in frame.columns if c.startswith(method)]
    same(frame, columns, getattr(world.oracle, name.replace("-", "_"))())
    assert not frame["note"].any()


def test_the_matrix_is_that_of_the_pairs(world: World) -> None:
    pairs = world.tables["org-correlations"].frame
    pairs = pairs[pairs["population"] == "both"]
    matrix = world.tables["org-matrix"].frame
    for method in ("pearson", "spearman"):
        block = matrix[matrix["method"] == method.title()].set_index("figure")
        for row in pairs.to_dict("records"):
            assert math.isclose(block.loc[row["x"], row["y"]], row[method], rel_tol=1e-12)
            assert block.loc[row["x"], row["y"]] == block.loc[row["y"], row["x"]]
        assert [block.loc[name, name] for name in block.index] == [1.0] * 5


def test_the_forward_look(world: World) -> None:
    frame = world.tables["lead-lag"].frame
    columns = [n for n in frame.columns if n not in ("p", "p_holm", "note")]
    same(frame.sort_values(["form", "outcome", "lag_weeks"]), columns, world.oracle.lead_lag())
    assert frame["p"].between(1 / 1000, 1).all() and (frame["p_holm"] >= frame["p"]).all()
    # Scores of this base are made up without regard to transactions.
    assert "In this period no" in world.tables["lead-lag"].notes[0]
