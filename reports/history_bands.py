"""Tables by band: active users of an org's week, users of an org by weekly mean, users by all they did.

Invariant: every org-week, org-user and user is in exactly one band, and a band without anybody is a row with zero.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.bands import ACTIVE_USERS, ACTIVITY
from reports.history_correlations import WHOM
from reports.history_frames import BAND_COLUMNS, BOTH, EITHER, Frames, active_weeks, population
from reports.history_totals import mean_and_median
from reports.report_table import CENTS, NUMBER, SHARE, WHOLE, Column, Table, drawn_by


def active_bands(frames: Frames) -> Table:
    """Return transactions of org-weeks by how many users were active in them."""
    rows = []
    for who in (BOTH, EITHER):
        weeks = active_weeks(frames, who)
        band = ACTIVE_USERS.of(weeks["active_users"])
        for number, name in enumerate(ACTIVE_USERS.names):
            found = weeks[band == number]
            count, volume = (mean_and_median(found[c]) for c in ("transactions_count", "transactions_cents"))
            rows.append((who, name, found["org"].nunique(), len(found), *count, *volume))
    names = [
        "population", "active_users", "orgs", "org_weeks", "count_mean", "count_median", "volume_cents_mean",
        "volume_cents_median",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=names).astype({"orgs": np.int64, "org_weeks": np.int64})
    columns = (
        Column("population", "who"), Column("active_users", "active users"), Column("orgs", "orgs", WHOLE),
        Column("org_weeks", "org-weeks", WHOLE), Column("count_mean", "transactions, mean", NUMBER),
        Column("count_median", "median", NUMBER), Column("volume_cents_mean", "volume, mean", CENTS),
        Column("volume_cents_median", "median", CENTS),
    )  # fmt: skip
    return Table(
        "active-bands", "Transactions by active users of the week",
        f"Org-weeks by how many users were active in them. An org can be in several bands. {WHOM}", frame, columns,
        pictures=(drawn_by("history_pictures.active_bands_picture", frame),),
    )  # fmt: skip


def lifetime_bands(frames: Frames) -> Table:
    """Return for how many weeks users were there, by how much they did in all."""
    users, rows = frames.users, []
    for number, name in enumerate(ACTIVITY.names):
        found = users[users["band"] == number]
        weeks, span = mean_and_median(found["weeks"]), mean_and_median(found["span_weeks"])
        rows.append((name, *weeks, *span, found["org"].nunique(), len(found), _share(len(found), len(users))))
    names = [
        "activities", "weeks_mean", "weeks_median", "span_weeks_mean", "span_weeks_median", "orgs", "users", "share",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=names).astype({"orgs": np.int64, "users": np.int64})
    columns = (
        Column("activities", "activities in all"), Column("weeks_mean", "weeks, mean", NUMBER),
        Column("weeks_median", "median", NUMBER), Column("span_weeks_mean", "first to last, mean", NUMBER),
        Column("span_weeks_median", "median", NUMBER), Column("orgs", "orgs", WHOLE), Column("users", "users", WHOLE),
        Column("share", "share", SHARE),
    )  # fmt: skip
    return Table(
        "lifetime-bands", "Lifetime by activities",
        "Users (of an org; who is in two counts twice) by all their activities in the period. Lifetime is the number "
        "of weeks with an activity; beside it stand the weeks from the first to the last of them.",
        frame, columns, pictures=(drawn_by("history_pictures.lifetime_picture", frame),),
    )  # fmt: skip


def users_table(frames: Frames) -> Table:
    """Return the users one by one, who did most first."""
    frame = frames.users.drop(columns=["band", "mean_band"])
    frame["band"] = pd.Series([ACTIVITY.names[n] for n in frames.users["band"]], dtype="str")
    frame = frame.sort_values(["activities", "org", "user"], ascending=[False, True, True], ignore_index=True)
    columns = (
        Column("org", "org"), Column("user", "user"), Column("activities", "activities", WHOLE),
        Column("weeks", "weeks", WHOLE), Column("span_weeks", "first to last", WHOLE),
        Column("weekly_mean", "weekly mean", NUMBER), Column("weekly_median", "weekly median", NUMBER),
        Column("band", "band"),
    )  # fmt: skip
    return Table(
        "users", "Users",
        "One row per org and user. Mean and median are over the weeks with an activity.", frame, columns, shown=20,
        pictures=(drawn_by("history_pictures.users_picture", frame),),
    )  # fmt: skip


def users_by_band(frames: Frames) -> Table:
    """Return how many users an org has in each band of weekly mean."""
    rows = []
    for who in (BOTH, EITHER):
        orgs = population(frames.orgs, who, "users")
        total = int(orgs["users"].sum())
        for name, column in zip(ACTIVITY.names, BAND_COLUMNS, strict=True):
            users = int(orgs[column].sum())
            having = int((orgs[column] > 0).sum())
            rows.append((who, name, len(orgs), having, users, *mean_and_median(orgs[column]), _share(users, total)))
    names = ["population", "weekly_mean", "orgs", "orgs_with_any", "users", "users_mean", "users_median", "share"]
    frame = pd.DataFrame(rows, columns=names).astype(dict.fromkeys(("orgs", "orgs_with_any", "users"), np.int64))
    columns = (
        Column("population", "who"), Column("weekly_mean", "weekly mean"), Column("orgs", "orgs", WHOLE),
        Column("orgs_with_any", "with such a user", WHOLE), Column("users", "users", WHOLE),
        Column("users_mean", "per org, mean", NUMBER), Column("users_median", "median", NUMBER),
        Column("share", "share of users", SHARE),
    )  # fmt: skip
    return Table(
        "users-by-band", "Users per org by weekly mean",
        "Each user's mean activities over the weeks with an activity, in bands (10.0 is in the first, anything above "
        f"it in the second), and how many of each an org has on average. {WHOM}",
        frame, columns, pictures=(drawn_by("history_pictures.users_by_band_picture", frame),),
    )  # fmt: skip


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
