"""Scores for the recount: from counted activities to basis points, in whole numbers.

Owns the recount's own arithmetic of the health model, straight from the parsed
TOML. Invariant: every division rounds down, and parts add up to their whole
(the rest goes to the largest remainders, ties to the earlier attribute).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

WHOLE = 10_000  # basis points
HOURS = 168
ABOVE_ALL = 2**63 - 1
LOWER_IS_BETTER = ("recency_hours", "gap_hours", "mean", "median")
_BUILT_IN: dict[str, dict[str, bool]] = {
    "other": {},
    "message": {"feature": True},
    "message_deleted": {"passive": True},
    "reply_given": {"summed": True, "passive": True},
    "reply_received": {"passive": True},
    "transaction": {"summed": True, "passive": True},
    "transaction_other": {"passive": True},
    "presence": {"summed": True, "passive": True},
    "syslog": {},
}


@dataclass(frozen=True)
class Rules:
    """What the model says: measures with their flags, attributes in their order."""

    measures: Mapping[str, Mapping[str, Any]]
    attributes: Sequence[Mapping[str, Any]]
    bands: Mapping[str, float]

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Rules:
        """Return the rules in *model*, the parsed TOML."""
        own = {name: {**_BUILT_IN.get(name, {}), **entry} for name, entry in model.get("measures", {}).items()}
        return cls({**_BUILT_IN, **own}, model["attributes"], model.get("bands", {}))

    def flagged(self, flag: str) -> list[str]:
        """Return the measures that have *flag* (feature, passive, summed)."""
        return [name for name, entry in self.measures.items() if entry.get(flag)]

    @property
    def carrying(self) -> list[Mapping[str, Any]]:
        """The attributes that stay what they were while there is no data."""
        return [a for a in self.attributes if a.get("missing") == "carry"]

    @property
    def ranked(self) -> list[Mapping[str, Any]]:
        """The attributes that decile ranks replace."""
        return [a for a in self.attributes if a["kind"] not in ("ratio", "boolean")]


def attribute_table(
    rules: Rules, week: pd.DataFrame, hour: int, people: pd.Index[Any] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (values, known) by (org, user) and attribute of *people*, or of everybody with an activity in *week*.

    *week* has a row for each thing that counts in the rolling week that ends in *hour* (since 1970): org, user,
    measure, amount, lacking (it has no amount), time_ms, hour. Lower-is-better values are negated.
    """
    passive = week["measure"].isin(rules.flagged("passive"))
    active = week[~passive & (week["user"] != "")]
    by = [week["org"], week["user"]]
    if people is None:
        people = pd.MultiIndex.from_frame(active[["org", "user"]].drop_duplicates().sort_values(["org", "user"]))
    counts = week.groupby([*by, "measure"]).size().unstack(fill_value=0)
    sums = week.groupby([*by, "measure"])["amount"].sum().unstack(fill_value=0)
    counts, sums = (t.reindex(index=people, columns=list(rules.measures), fill_value=0) for t in (counts, sums))
    own = active.groupby(["org", "user"]).size().reindex(people, fill_value=0).astype("int64")
    org_total = own.groupby(level="org").transform("sum")
    hours = active.groupby(["org", "user"])["hour"].agg(lambda hours: sorted(set(hours))).to_dict()
    values, known = {}, {}
    for entry in rules.attributes:
        value, has_data = _attribute(rules, entry, counts, sums)
        if entry["kind"] in ("median", "gauge"):
            value, has_data = _of_amounts(entry, week, people)
        elif entry["kind"] == "share_of_org":
            value = own * WHOLE // org_total
        elif value is None:
            pairs = [_of_hours(entry["kind"], hours.get(person, []), hour) for person in people]
            value = pd.Series([v for v, _ in pairs], people, dtype="int64")
            has_data = pd.Series([k for _, k in pairs], people, dtype=bool)
        values[entry["name"]] = value
        known[entry["name"]] = pd.Series(True, people) if has_data is None else has_data
    return pd.DataFrame(values, people), pd.DataFrame(known, people)


def _of_amounts(entry: Mapping[str, Any], week: pd.DataFrame, people: pd.Index[Any]) -> tuple[pd.Series, pd.Series]:
    """Return (value, where there is data) of the kinds that look at single amounts."""
    rows = week[week["measure"].isin(entry["measures"]) & ~week["lacking"].astype(bool)]
    if entry["kind"] == "gauge":
        # The newest one; of those of one moment the largest.
        found = rows.sort_values(["time_ms", "amount"]).groupby(["org", "user"])["amount"].last()
    else:
        # Of an even number the smaller one of the middle two.
        found = -rows.groupby(["org", "user"])["amount"].agg(lambda amounts: sorted(amounts)[(len(amounts) - 1) // 2])
    return found.reindex(people, fill_value=0).astype("int64"), pd.Series(people.isin(found.index), people)


def _attribute(
    rules: Rules, entry: Mapping[str, Any], counts: pd.DataFrame, sums: pd.DataFrame
) -> tuple[pd.Series | None, pd.Series | None]:
    """Return (value, where there is data) of an attribute of counts and sums; None = other kinds, and everywhere."""
    used = list(entry.get("measures", ()))
    total = counts[used].sum(axis=1)
    match entry["kind"]:
        case "count":
            return total, None
        case "sum":
            return sums[used].sum(axis=1), None
        case "boolean":
            return (total > 0) * WHOLE, None
        case "distinct":
            return (counts[used or rules.flagged("feature")] > 0).sum(axis=1), None
        case "ratio":
            against = total + counts[list(entry["against"])].sum(axis=1)
            return total * WHOLE // against.clip(lower=1), against > 0
        case "mean":
            return -(sums[used].sum(axis=1) // total.clip(lower=1)), total > 0
    return None, None


def _of_hours(kind: str, seen: Sequence[int], hour: int) -> tuple[int, bool]:
    """Return (value, whether there is data) of the kinds that look at the hours somebody was *seen* (ascending)."""
    # Spans of 24 hours counted back from the running one; the 169th hour belongs to the seventh span.
    if not seen:
        return 0, False
    days = sorted({min((hour - h) // 24, 6) for h in seen})
    visits = sum(1 for i, h in enumerate(seen) if i == 0 or seen[i - 1] != h - 1)
    match kind:
        case "days_active":
            return len(days), True
        case "streak_days":
            longest = run = 0
            for day in range(7):
                run = run + 1 if day in days else 0
                longest = max(longest, run)
            return longest, True
        case "sessions":
            return visits, True
        case "recency_hours":
            return -(hour - seen[-1]), True
        case "gap_hours":
            between = seen[-1] - seen[0] + 1 - len(seen)
            return -(between // max(visits - 1, 1)), visits > 1
    raise ValueError(f"unknown kind of attribute: {kind}")


def cut_points(values: pd.Series) -> list[int]:
    """Return the 9 cut points: cut k is the smallest value with at least k tenths of all strictly below it.

    >>> cut_points(pd.Series([5, 5, 5, 5, 9]))[6:]
    [9, 9, 9223372036854775807]
    """
    ordered = np.sort(values.to_numpy(np.int64))
    distinct = np.unique(ordered)
    below = np.searchsorted(ordered, distinct, side="left")
    found = []
    for k in range(1, 10):
        enough = distinct[below * 10 >= k * len(ordered)]
        found.append(int(enough[0]) if len(enough) else ABOVE_ALL)
    return found


def population_cuts(rules: Rules, values: pd.DataFrame, known: pd.DataFrame) -> dict[str, list[int]]:
    """Return the cut points of the ranked attributes from a whole population."""
    return {a["name"]: cut_points(values.loc[known[a["name"]], a["name"]]) for a in rules.ranked}


def scores(
    rules: Rules,
    values: pd.DataFrame,
    known: pd.DataFrame,
    cuts: Mapping[str, Sequence[int]],
    stands: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (score and coverage, contributions) by user, in basis points.

    *stands* says where there is a value, of this week or an earlier one; without it, where there is data.
    """
    stands = known if stands is None else stands
    share = values.copy()
    for entry in rules.ranked:
        name = entry["name"]
        rank = sum(((values[name] >= cut).astype("int64") for cut in cuts[name]), values[name] * 0)
        if entry["kind"] not in LOWER_IS_BETTER:
            rank = rank.where(values[name] > 0, 0)
        share[name] = rank * (WHOLE // 10)
    weights = pd.Series({a["name"]: a["weight"] for a in rules.attributes})
    spread = [a["name"] for a in rules.attributes if a.get("missing", "zero") == "reweight"]
    counted = pd.DataFrame({n: pd.Series(int(w), values.index) for n, w in weights.items()})
    counted[spread] = counted[spread].where(known[spread], 0)
    totals, parts = shared_out(share.where(stands, 0) * counted, counted.sum(axis=1))
    coverage = (known * weights).sum(axis=1) * WHOLE // int(weights.sum())
    return pd.DataFrame({"score": totals, "coverage": coverage}).astype("int64"), parts


def shared_out(numerators: pd.DataFrame, divisors: pd.Series) -> tuple[pd.Series, pd.DataFrame]:
    """Divide each row by its divisor; return the whole, rounded down, and parts that add up to it.

    >>> whole, parts = shared_out(pd.DataFrame([[5, 5, 5]]), pd.Series([2]))
    >>> whole.tolist(), parts.to_numpy().tolist()
    ([7], [[3, 2, 2]])
    """
    rows, wholes = [], []
    for row, divisor in zip(numerators.to_numpy().tolist(), divisors.tolist(), strict=True):
        divisor = max(divisor, 1)
        whole, parts = sum(row) // divisor, [n // divisor for n in row]
        hungriest = sorted(range(len(row)), key=lambda i: (-(row[i] % divisor), i))
        for i in hungriest[: whole - sum(parts)]:
            parts[i] += 1
        rows.append(parts)
        wholes.append(whole)
    index, columns = numerators.index, numerators.columns
    table = pd.DataFrame(np.array(rows, np.int64).reshape(len(index), len(columns)), index, columns)
    return pd.Series(wholes, index, dtype="int64"), table
