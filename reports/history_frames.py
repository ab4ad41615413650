"""From rows of weeks to one row per user, per org and per org-week: what all tables stand on.

Invariant: sums are integers, means are sums divided once, and every org with an activity or a transaction in the
period is there once.

Who is counted where both activity and transactions matter is said by a population:

    both     those with at least one activity and at least one transaction
    either   those with one or the other; what they have none of is 0, because a closed week without a row had none
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.bands import ACTIVITY
from reports.history import History

BOTH, EITHER = "both", "either"
BAND_COLUMNS = tuple(f"users_{name.replace('–', '_').replace(' ', '_')}" for name in ACTIVITY.names)
"""Of the frame of orgs: how many users have a weekly mean in each band."""


@dataclass(frozen=True)
class Frames:
    """What tables are computed from.

    Attributes:
        users: One row per org and user: `org`, `user`, `activities` (sum), `weeks` (with an activity), `span_weeks`
            (first to last of them, both included), `weekly_mean`, `weekly_median` (over weeks with an activity,
            float64),
            `band` (number in `ACTIVITY` of the sum), `mean_band` (of the weekly mean).
        orgs: One row per org: `org`, `users`, `activities` (sum), `activities_mean`, `activities_median` (of its users'
            sums, float64; 0 without users), one of `BAND_COLUMNS` per band, `transactions_weeks`, `transactions_count`,
            `transactions_cents`.
        org_weeks: One row per org and week with an activity or a transaction: `org`, `week`, `activities`,
            `active_users`, `transactions_count`, `transactions_cents`, `score`.
    """

    history: History
    users: pd.DataFrame
    orgs: pd.DataFrame
    org_weeks: pd.DataFrame


def frames_of(history: History) -> Frames:
    """Return the frames of *history*."""
    users = _users(history.users)
    weeks = history.orgs
    kept = (weeks["activities"] > 0) | (weeks["transactions_count"] > 0)
    org_weeks = weeks[kept].reset_index(drop=True)
    return Frames(history, users, _orgs(users, org_weeks), org_weeks)


def population(frame: pd.DataFrame, name: str, active: str) -> pd.DataFrame:
    """Return the rows of *frame* that belong to a population; *active* is the column that is over 0 where activity
    is."""
    is_active, trades = frame[active] > 0, frame["transactions_count"] > 0
    return frame[(is_active & trades) if name == BOTH else (is_active | trades)]


def active_weeks(frames: Frames, name: str) -> pd.DataFrame:
    """Return the org-weeks of a population, where activity means an active user; "either" has them all."""
    return population(frames.org_weeks, name, "active_users" if name == BOTH else "activities")


def codes(names: Any) -> Any:
    """Return a number for each of *names* (shape n), equal for equal ones."""
    found, _ = pd.factorize(names)
    return found.astype(np.int64)


def _users(weeks: pd.DataFrame) -> pd.DataFrame:
    grouped = weeks.groupby(["org", "user"], sort=True)
    found = grouped.agg(
        activities=("activities", "sum"), weeks=("week", "size"), first=("week", "min"), last=("week", "max"),
        weekly_median=("activities", "median"),
    ).reset_index()  # fmt: skip
    found["span_weeks"] = found["last"] - found["first"] + 1
    found["weekly_mean"] = found["activities"] / found["weeks"]
    found["weekly_median"] = found["weekly_median"].astype(np.float64)
    found["band"] = ACTIVITY.of(found["activities"])
    found["mean_band"] = ACTIVITY.of(found["weekly_mean"])
    order = ["org", "user", "activities", "weeks", "span_weeks", "weekly_mean", "weekly_median", "band", "mean_band"]
    found = found[order]
    whole = dict.fromkeys(("activities", "weeks", "span_weeks"), np.int64)
    return found.astype(whole)


def _orgs(users: pd.DataFrame, org_weeks: pd.DataFrame) -> pd.DataFrame:
    grouped = users.groupby("org", sort=True)["activities"]
    own = grouped.agg(users="size", activities="sum", activities_median="median")
    own["activities_mean"] = own["activities"] / own["users"]
    for number, name in enumerate(BAND_COLUMNS):
        own[name] = users["org"][users["mean_band"] == number].value_counts()
    traded = org_weeks[org_weeks["transactions_count"] > 0].groupby("org", sort=True)
    trade = traded.agg(
        transactions_weeks=("week", "size"), transactions_count=("transactions_count", "sum"),
        transactions_cents=("transactions_cents", "sum"),
    )  # fmt: skip
    found = own.join(trade, how="outer").sort_index()
    found.index = found.index.astype("str")
    found = found.rename_axis("org").reset_index()
    whole = ["users", "activities", *BAND_COLUMNS, *trade.columns]
    found[whole] = found[whole].fillna(0).astype(np.int64)
    means = ["activities_mean", "activities_median"]
    found[means] = found[means].fillna(0.0).astype(np.float64)
    ordered: pd.DataFrame = found[["org", "users", "activities", *means, *BAND_COLUMNS, *trade.columns]]
    return ordered
