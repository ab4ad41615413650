"""Totals of a period, and its weeks one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports.history_frames import Frames
from reports.report_table import BY_UNIT, CENTS, NUMBER, TEXT, WHOLE, Column, Table, drawn_by
from state.week import monday_of, week_label


def totals(frames: Frames) -> Table:
    """Return how much there is of everything."""
    users, orgs, weeks = frames.users, frames.orgs, frames.org_weeks
    trades = weeks["transactions_count"] > 0
    rows: list[tuple[str, int, str]] = [
        ("weeks", frames.history.weeks, WHOLE),
        ("orgs with an activity", int((orgs["users"] > 0).sum()), WHOLE),
        ("users with an activity", int(users["user"].nunique()), WHOLE),
        ("pairs of org and user", len(users), WHOLE),
        ("user-weeks with an activity", len(frames.history.users), WHOLE),
        ("org-weeks with an activity", int((weeks["activities"] > 0).sum()), WHOLE),
        ("orgs with a transaction", int((orgs["transactions_count"] > 0).sum()), WHOLE),
        ("org-weeks with a transaction", int(trades.sum()), WHOLE),
        ("activities", int(users["activities"].sum()), WHOLE),
        ("transactions", int(weeks["transactions_count"].sum()), WHOLE),
        ("volume", int(weeks["transactions_cents"][trades].sum()), CENTS),
    ]
    frame = pd.DataFrame(rows, columns=["figure", "value", "unit"])
    return Table(
        "totals", "Totals",
        "What there is in the period. A user who is in two orgs is one user and two pairs. Only approved transactions "
        "count; volume is their sum (in the files in cents).",
        frame, (Column("figure", "figure"),
        Column("value", "value", BY_UNIT)), pictures=(drawn_by("history_pictures.totals_picture", frame),),
    )  # fmt: skip


def averages(frames: Frames) -> Table:
    """Return means and medians."""
    users, orgs, weeks = frames.users, frames.orgs, frames.org_weeks
    trades, active = weeks[weeks["transactions_count"] > 0], weeks[weeks["active_users"] > 0]
    spread = [
        ("users per org", orgs["users"][orgs["users"] > 0], NUMBER),
        ("activities per org and user", users["activities"], NUMBER),
        ("weeks with an activity per org and user", users["weeks"], NUMBER),
        ("active users per org and week", active["active_users"], NUMBER),
        ("transactions per org and week", trades["transactions_count"], NUMBER),
        ("volume per org and week", trades["transactions_cents"], CENTS),
    ]
    rows = [(name, len(values), *mean_and_median(values), unit) for name, values, unit in spread]
    frame = pd.DataFrame(rows, columns=["figure", "n", "mean", "median", "unit"])
    frame["n"] = frame["n"].astype(np.int64)
    columns = (
        Column("figure", "figure"), Column("n", "n", WHOLE), Column("mean", "mean", BY_UNIT),
        Column("median", "median", BY_UNIT),
    )  # fmt: skip
    return Table(
        "averages", "Means and medians",
        "Over those that have any: orgs with users, weeks with an active user, weeks with a transaction. A mean far "
        "above its median says that a few have most.",
        frame, columns, pictures=(drawn_by("history_pictures.averages_picture", frame),),
    )  # fmt: skip


def mean_and_median(values: Any) -> tuple[float, float]:
    """Return mean and median of whole numbers, NaN of none: the exact sum, divided once."""
    found = np.asarray(values, np.int64)
    if not len(found):
        return float("nan"), float("nan")
    return int(found.sum()) / len(found), float(np.median(found))


def by_week(frames: Frames) -> Table:
    """Return the weeks one by one."""
    history, weeks = frames.history, frames.org_weeks
    every = pd.RangeIndex(history.first, history.last + 1, name="week")
    active, trades = weeks[weeks["activities"] > 0], weeks[weeks["transactions_count"] > 0]
    found = pd.DataFrame(index=every)
    found["active_orgs"] = active.groupby("week").size()
    found["active_users"] = active.groupby("week")["active_users"].sum()
    found["activities"] = active.groupby("week")["activities"].sum()
    found["trading_orgs"] = trades.groupby("week").size()
    for name in ("transactions_count", "transactions_cents"):
        found[name] = trades.groupby("week")[name].sum()
    found = found.fillna(0).astype(np.int64)
    found["score_mean"] = weeks.groupby("week")["score"].mean().astype(np.float64)
    found = found.reset_index()
    found.insert(0, "monday", pd.Series([monday_of(int(n)).isoformat() for n in found["week"]], dtype="str"))
    found["week"] = pd.Series([week_label(int(n)) for n in found["week"]], dtype="str")
    found = found[["week", "monday", *found.columns[2:]]]
    columns = (
        Column("week", "week", TEXT), Column("monday", "begins"), Column("active_orgs", "active orgs", WHOLE),
        Column("active_users", "active users", WHOLE), Column("activities", "activities", WHOLE),
        Column("trading_orgs", "orgs with transactions", WHOLE), Column("transactions_count", "transactions", WHOLE),
        Column("transactions_cents", "volume", CENTS), Column("score_mean", "mean score", NUMBER),
    )  # fmt: skip
    return Table(
        "weeks", "Week by week",
        "Sums over all orgs. Active users are counted in each of their orgs. The mean score is that of the orgs' "
        "scores over active users, 0 to 100.",
        found, columns, pictures=(drawn_by("history_pictures.weeks_picture", found),),
    )  # fmt: skip
