"""Orgs for the recount: their figures of the rolling week, and what happened in each calendar week.

Owns the recount's own sums over an org's users. Invariant: an org's contributions add up to its score.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.recount_groups import seats_of
from reports.recount_latency import local_times
from reports.recount_people import People
from reports.recount_score import Rules, shared_out


def org_table(
    happened: pd.DataFrame, week: pd.DataFrame, users: pd.DataFrame, parts: pd.DataFrame, people: People
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the figures of every org that is known or did something, and its contributions."""
    names = sorted({*people.orgs, *happened["org"], *(org for org, _ in people.membership)})
    trade = week[week["measure"] == "transaction"].groupby("org")["amount"]
    count, cents = (series.reindex(names, fill_value=0).to_dict() for series in (trade.size(), trade.sum()))
    seats: dict[str, set[str]] = {name: set() for name in names} | seats_of(people, users)
    by_org = {org: table.droplevel("org") for org, table in users.groupby(level="org")}
    rows, contributions = {}, {}
    for org in names:
        table = by_org.get(org, users.iloc[:0].droplevel("org"))
        active = table[table["active"]]
        scored = sorted(active["score"])
        held = table.reindex([u for u in seats[org] if u in table.index])["score"]
        idle = 0 if seats[org] else pd.NA
        middle = (len(scored) - 1) // 2, len(scored) // 2
        rows[org] = {
            "score_active": sum(scored) // len(scored) if scored else idle,
            "score_licensed": int(held.sum()) // len(seats[org]) if seats[org] else pd.NA,
            "score_median": (scored[middle[0]] + scored[middle[1]]) // 2 if scored else idle,
            "active_users": len(active),
            "licensed_users": len(seats[org]),
            "activities": int(table["activities"].sum()),
            "transactions_count": count[org],
            "transactions_cents": cents[org],
        }
        of_active = parts.loc[[(org, user) for user in active.index]] if len(active) else parts.iloc[:0]
        contributions[org] = of_active.sum().astype("int64")
    orgs = pd.DataFrame.from_dict(rows, orient="index").astype("Int64")
    summed = pd.DataFrame.from_dict(contributions, orient="index")
    return orgs, shared_out(summed, orgs["active_users"].astype("int64"))[1]


def org_weeks(happened: pd.DataFrame, rules: Rules, zones: Mapping[str, str]) -> pd.DataFrame:
    """Return calendar weeks (Monday to Sunday in the org's zone) by org."""
    if not len(happened):
        return pd.DataFrame()
    iso = local_times(happened["time_ms"], happened["org"], zones).dt.isocalendar()
    counted = (happened["user"] != "") & ~happened["measure"].isin(rules.flagged("passive"))
    trade = happened["measure"] == "transaction"
    columns = {
        "org": happened["org"],
        "week": iso["year"].astype("int64") * 100 + iso["week"].astype("int64"),
        "activities": counted,
        "active_users": happened["user"].where(counted),
        "transactions_count": trade,
        "transactions_cents": happened["amount"].where(trade, 0),
    }
    figures = dict.fromkeys(list(columns)[2:], "sum") | {"active_users": "nunique"}
    found = pd.DataFrame(columns).groupby(["org", "week"]).agg(figures).astype("int64")
    labels = [(org, f"{week // 100}-W{week % 100:02}") for org, week in found.index]
    return found.set_axis(pd.MultiIndex.from_tuples(labels, names=["org", "week"]))
