"""Closing scores for the recount: each closed calendar week from its own messages.

Owns the rows that the topic `weeks` should have. Invariant: a week's rows depend on the messages of that week (and
of the four before it, if an attribute is carried) and on cut points that are given, never on when anything was read.

A week is scored like the rolling one whose running hour is the last one of the week.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.recount import Recount
from reports.recount_calendar import placed
from reports.recount_carry import with_carried
from reports.recount_groups import groups_of, scores_by_group
from reports.recount_orgs import org_table
from reports.recount_people import People
from reports.recount_score import HOURS, LOWER_IS_BETTER, Rules, attribute_table

Cuts = Mapping[str, Sequence[int]]
CutsOf = Callable[[str, str], tuple[Cuts, Mapping[str, Cuts]]]
"""Org and ISO week → the cut points of the week's close: everybody's, and those of peer groups."""


Rows = dict[tuple[str, str, str], dict[str, Any]]
"""(Org, user or "", ISO week) → what its row should say; scores are basis points, None = none."""


def closed_weeks(found: Recount, model: Mapping[str, Any], cuts_of: CutsOf | None = None) -> Rows:
    """Return every week that had ended as of the recount's time, of every subject that something happened to in it.

    Args:
        found: The recount.
        model: The parsed TOML.
        cuts_of: Cut points of each close; None = the shipped ones.
    """
    rules = Rules.of(model)
    shipped = shipped_cuts(model)
    everything = placed(found.happened, {org: entry.zone for org, entry in found.people.orgs.items()})
    over = everything[everything["end_ms"] <= found.as_of_ms]
    rows: Rows = {}
    for label, week in over.groupby("week"):
        name = str(label)
        _add_counts(rows, rules, week, name)
        _add_scores(rows, model, week, everything, name, found.people, cuts_of or (lambda org, week: (shipped, {})))
    return rows


def shipped_cuts(model: Mapping[str, Any]) -> Cuts:
    """Return the cut points in the model's file."""
    return {entry["name"]: entry["cuts"] for entry in Rules.of(model).ranked}


def cuts_named(
    rows: Mapping[str, Mapping[str, Any]], generations: Mapping[int, tuple[Cuts, Mapping[str, Cuts]]], shipped: Cuts
) -> CutsOf:
    """Return the cut points that published *rows* (by key) name: generation 0 is the *shipped* ones."""
    named = {(row["org"], row["week"]): row["calibration"] for row in rows.values() if not row["user"]}

    def of(org: str, week: str) -> tuple[Cuts, Mapping[str, Cuts]]:
        # An attribute that a generation does not speak of keeps the cut points it had: the shipped ones.
        generation = named.get((org, week)) or 0
        cuts, of_groups = generations[generation] if generation else ({}, {})
        return {**shipped, **cuts}, {group: {**shipped, **cuts, **own} for group, own in of_groups.items()}

    return of


def _add_counts(rows: Rows, rules: Rules, week: pd.DataFrame, label: str) -> None:
    """Add the rows of everybody in *week*, with counts and sums."""
    passive, summed = set(rules.flagged("passive")), set(rules.flagged("summed"))
    for users, by in ((True, ["org", "user"]), (False, ["org"])):
        some = week[week["user"] != ""] if users else week
        for place, own in some.groupby(by):
            org, user = (str(place[0]), str(place[1]) if users else "")
            counts: dict[Any, int] = own.groupby("measure").size().to_dict()
            sums: dict[Any, int] = own[own["measure"].isin(summed)].groupby("measure")["amount"].sum().to_dict()
            did = own[~own["measure"].isin(passive) & (own["user"] != "")]
            rows[org, user, label] = {
                "counts": counts,
                "sums": {name: int(amount) for name, amount in sums.items() if amount},
                "activities": sum(n for name, n in counts.items() if name not in passive),
                "active_users": did["user"].nunique(),
                "score": 0 if users else None,
                "contributions": {},
                "attributes": {} if users else None,
            }


def _add_scores(
    rows: Rows, model: Mapping[str, Any], week: pd.DataFrame, everything: pd.DataFrame, label: str, people: People,
    cuts_of: CutsOf,
) -> None:  # fmt: skip
    """Add to the rows of *week* what it was worth."""
    rules = Rules.of(model)
    values, known = attribute_table(rules, week, HOURS)
    members = [people.membership.get(key, "unlisted") != "gone" for key in values.index]
    values, known = values[members], known[members]
    filled, stands = with_carried(rules, everything, values, known, lambda _: week["monday"].iloc[0])
    figures, parts = [], []
    for org in sorted(set(values.index.get_level_values("org"))):
        here = values.index.get_level_values("org") == org
        groups = groups_of(model, people, values.index[here])
        found = scores_by_group(rules, filled[here], known[here], stands[here], groups, *cuts_of(org, label))
        figures.append(found[0])
        parts.append(found[1])
    everybody = pd.MultiIndex.from_frame(week.loc[week["user"] != "", ["org", "user"]].drop_duplicates())
    users = pd.DataFrame(0, everybody, ["score", "activities"])
    users["active"] = everybody.isin(values.index)
    shares = pd.DataFrame(0, everybody, list(values.columns))
    if figures:
        users.loc[values.index, "score"] = pd.concat(figures)["score"]
        shares.loc[values.index] = pd.concat(parts)
    signs = {e["name"]: -1 if e["kind"] in LOWER_IS_BETTER else 1 for e in rules.attributes}
    for org, user in values.index:
        row = rows[org, user, label]
        row["score"] = int(users.loc[(org, user), "score"])
        row["contributions"] = {name: int(n) for name, n in shares.loc[(org, user)].items() if n}
        has = known.loc[(org, user)]
        row["attributes"] = {str(n): int(v) * signs[str(n)] for n, v in values.loc[(org, user)].items() if has[n]}
    orgs, org_parts = org_table(week, week, users, shares, people)
    for org in set(week["org"]):
        row = rows[org, "", label]
        for name, column in (("score", "active"), ("score_licensed", "licensed"), ("score_median", "median")):
            score = orgs.loc[org, f"score_{column}"]
            row[name] = None if pd.isna(score) else int(score)
        row["contributions"] = {name: int(n) for name, n in org_parts.loc[org].items() if n}
