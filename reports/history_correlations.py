"""Correlations of activity with transactions: by org, by org and week, by active users, by users in a band.

Invariant: every line says whom it is over, its n, and Pearson beside Spearman; what can't be said has its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from reports.bands import ACTIVITY
from reports.correlate import pearson, spearman
from reports.history_frames import BAND_COLUMNS, BOTH, EITHER, Frames, active_weeks, codes, population
from reports.report_table import RATIO, WHOLE, Column, Table, drawn_by

COUNT, VOLUME = "transactions", "volume"
_OUTCOMES = ((COUNT, "transactions_count"), (VOLUME, "transactions_cents"))
_VARIABLES = (
    ("users", "users"), ("mean activities", "activities_mean"), ("median activities", "activities_median"),
    (COUNT, "transactions_count"), (VOLUME, "transactions_cents"),
)  # fmt: skip
WHOM = (
    "“both” are those with an activity and a transaction, “either” those with one or the other, where what they have "
    "none of is 0."
)
SELECTION = "Weeks with neither are in no line, so that “either” leans to the negative; “both” does not."
HOW = (
    "Pearson's r sees straight lines and follows the largest few; Spearman's ρ sees any common rise and fall, by "
    "ranks. Intervals hold 95 % (Fisher's z; Bonett and Wright for ρ)."
)
HOW_BY_ORG = HOW + (
    " An org's weeks are alike, so the interval “by org” is the one to go by: it leaves out one org after the other."
)


@dataclass(frozen=True)
class Look:
    """One line: who, and which two things (shape n each) are held together; *orgs* numbers whose each pair is."""

    population: str
    x: str
    y: str
    xs: Any
    ys: Any
    orgs: Any = None


def coefficients(looks: Iterable[Look]) -> pd.DataFrame:
    """Return one row per look: `population`, `x`, `y`, `n`, `orgs`, both coefficients with their ends, `note`.

    Intervals by org are `…_by_org_low`, `…_by_org_high`; NaN without org numbers.
    """
    rows = []
    for look in looks:
        x, y = np.asarray(look.xs, np.float64), np.asarray(look.ys, np.float64)
        row: dict[str, Any] = {"population": look.population, "x": look.x, "y": look.y, "n": len(x)}
        row["orgs"] = len(x) if look.orgs is None else len(np.unique(look.orgs))
        why = ""
        for name, method in (("pearson", pearson), ("spearman", spearman)):
            found = method(x, y, look.orgs)
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            row |= {f"{name}_by_org_low": found.group_low, f"{name}_by_org_high": found.group_high}
            why = why or found.why
        rows.append({**row, "note": why})
    texts, whole = ("population", "x", "y", "note"), ("n", "orgs")
    kinds = {**dict.fromkeys(texts, "str"), **dict.fromkeys(whole, "int64")}
    return pd.DataFrame(rows).astype(kinds)


def correlation_table(
    name: str, title: str, definition: str, looks: Sequence[Look], notes: tuple[str, ...] = ()
) -> Table:
    """Return the table of *looks*."""
    frame, by_org = coefficients(looks), any(look.orgs is not None for look in looks)
    if not by_org:
        frame = frame.drop(columns=[column for column in frame.columns if "by_org" in str(column)])
    columns = [Column("population", "who"), Column("x", "of"), Column("y", "with"), Column("n", "n", WHOLE)]
    if by_org:
        columns.append(Column("orgs", "orgs", WHOLE))
    for method, sign in (("pearson", "Pearson r"), ("spearman", "Spearman ρ")):
        columns.append(Column(method, sign, RATIO))
        columns.append(Column(f"{method}_low", "95 %", RATIO, f"{method}_high"))
        if by_org:
            columns.append(Column(f"{method}_by_org_low", "95 % by org", RATIO, f"{method}_by_org_high"))
    if frame["note"].any():
        columns.append(Column("note", "note"))
    return Table(
        name, title, f"{definition} {HOW_BY_ORG if by_org else HOW}", frame, tuple(columns), notes,
        pictures=(drawn_by("correlation_pictures.coefficients_picture", frame),),
    )  # fmt: skip


def org_correlations(frames: Frames) -> Table:
    """Return every pair of an org's figures."""
    looks = []
    for who in (BOTH, EITHER):
        rows = population(frames.orgs, who, "users")
        looks += [Look(who, x, y, rows[a], rows[b]) for (x, a), (y, b) in combinations(_VARIABLES, 2)]
    return correlation_table(
        "org-correlations", "Orgs: activity against performance",
        "One pair per org: users, mean and median of its users' activities over the period, its transactions and their "
        f"volume. {WHOM}",
        looks,
    )  # fmt: skip


def org_matrix(frames: Frames) -> Table:
    """Return the correlation matrix of an org's figures."""
    rows = population(frames.orgs, BOTH, "users")
    values = [(title, np.asarray(rows[name], np.float64)) for title, name in _VARIABLES]
    found = []
    for label, method in (("Pearson", pearson), ("Spearman", spearman)):
        for title, x in values:
            line = {name: 1.0 if name == title and len(x) else method(x, y).value for name, y in values}
            found.append({"method": label, "figure": title, **line, "n": len(rows)})
    frame = pd.DataFrame(found)
    columns = (
        Column("method", "method"),
        Column("figure", "figure"), *(Column(title, title, RATIO) for title, _ in _VARIABLES),
        Column("n", "n", WHOLE),
    )  # fmt: skip
    return Table(
        "org-matrix", "Orgs: correlation matrix",
        "The same figures, each with each, over orgs with an activity and a transaction. The intervals are in the "
        "table “Orgs: activity against performance”.",
        frame, columns, _nothing(len(rows)), pictures=(drawn_by("correlation_pictures.matrix_picture", frame),),
    )  # fmt: skip


def org_week_correlations(frames: Frames) -> Table:
    """Return activities of an org's week against transactions of the same week and of the following one."""
    weeks = frames.org_weeks
    looks = []
    for who in (BOTH, EITHER):
        rows = population(weeks, who, "activities")
        orgs = codes(rows["org"])
        looks += [Look(who, "activities", f"{y}, same week", rows["activities"], rows[b], orgs) for y, b in _OUTCOMES]
        rows = population(following(frames), who, "activities")
        orgs = codes(rows["org"])
        looks += [
            Look(who, "activities", f"{y}, following week", rows["activities"], rows[b], orgs) for y, b in _OUTCOMES
        ]
    return correlation_table(
        "org-week-correlations", "Org-weeks: activities against transactions, same and following week",
        f"One pair per org and week. {WHOM} For the following week the activity is that of a week and the transactions "
        "those of the next; the last week has none.",
        looks, (SELECTION,),
    )  # fmt: skip


def following(frames: Frames) -> pd.DataFrame:
    """Return `org`, `week`, `activities` of each org-week, with the following week's transactions; 0 where none
    were."""
    weeks = frames.org_weeks
    own = weeks.loc[weeks["week"] < frames.history.last, ["org", "week", "activities"]]
    after = weeks.loc[weeks["week"] > frames.history.first, ["org", "week", "transactions_count", "transactions_cents"]]
    after = after.assign(week=after["week"] - 1)
    whole = ["activities", "transactions_count", "transactions_cents"]
    found = own.merge(after, on=["org", "week"], how="outer")
    found[whole] = found[whole].fillna(0).astype(np.int64)
    return found


def active_correlations(frames: Frames) -> Table:
    """Return active users of an org's week against its transactions, and count against volume."""
    looks = []
    for who in (BOTH, EITHER):
        rows = active_weeks(frames, who)
        orgs = codes(rows["org"])
        looks += [Look(who, "active users", y, rows["active_users"], rows[b], orgs) for y, b in _OUTCOMES]
        looks.append(Look(who, COUNT, VOLUME, rows["transactions_count"], rows["transactions_cents"], orgs))
    return correlation_table(
        "active-correlations", "Org-weeks: active users against transactions",
        f"One pair per org and week; an active user is one with at least one activity in it. {WHOM}", looks,
        (SELECTION,),
    )  # fmt: skip


def band_correlations(frames: Frames) -> Table:
    """Return how many users an org has in each band of weekly mean, against its transactions."""
    looks = []
    for who in (BOTH, EITHER):
        rows = population(frames.orgs, who, "users")
        looks += [
            Look(who, f"users {band}", y, rows[name], rows[b])
            for band, name in zip(ACTIVITY.names, BAND_COLUMNS, strict=True)
            for y, b in _OUTCOMES
        ]
    return correlation_table(
        "band-correlations", "Orgs: users in each band against transactions",
        "One pair per org: how many of its users have a weekly mean of activities in the band (over their weeks with "
        f"an activity), and the org's transactions. {WHOM}",
        looks,
    )  # fmt: skip


def _nothing(n: int) -> tuple[str, ...]:
    return () if n else ("No org has both an activity and a transaction in the period.",)
