"""Compares the rows of the topic `weeks` with the recount, field by field.

Owns what must agree of a closed week. Invariant: a row that only one side has is a difference, but for rows of nothing:
what was taken back leaves one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from reports.compare import Comparison, percent
from reports.recount import Recount
from reports.recount_people import Raw
from reports.recount_weeks import Cuts, closed_weeks, cuts_named, shipped_cuts

Told = Mapping[str, Mapping[str, Any]]


def last_rows(raw: Iterable[Raw]) -> Told:
    """Return key → last row of closed weeks among the records of the topic `weeks`."""
    last: dict[str, Any] = {}
    for _, _, _, key, value, _ in raw:
        if key and value:
            last[key.decode()] = json.loads(value)
    return {key: row for key, row in last.items() if row["state"] != "provisional"}


def compare_weeks(
    result: Comparison, told: Told, found: Recount, model: Mapping[str, Any],
    generations: Mapping[int, tuple[Cuts, Mapping[str, Cuts]]],
) -> None:  # fmt: skip
    """Add to *result* how rows of closed weeks differ from the recount by the cut points that they name.

    Args:
        result: Gets the differences.
        told: From `last_rows`.
        found: The recount.
        model: The parsed TOML.
        generations: Every generation of cut points but the shipped ones: everybody's, and those of peer groups.
    """
    rows = closed_weeks(found, model, cuts_named(told, generations, shipped_cuts(model)))
    expected = {_key(*place): _spelled(row) for place, row in rows.items()}
    for key in sorted(expected.keys() | told.keys()):
        theirs, ours = told.get(key), expected.get(key)
        if ours is None and theirs is not None and not theirs["counts"]:
            continue
        result.keys += 1
        result.kinds["week"] += 1
        if theirs is None or ours is None:
            result.check(key, "", None if theirs is None else "there", None if ours is None else "there")
            continue
        for name, value in ours.items():
            result.check(key, name, theirs.get(name), value)


def _key(org: str, user: str, week: str) -> str:
    return f"user:{org}/{user}|{week}" if user else f"org:{org}|{week}"


def _spelled(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with percentages as they are published."""
    shares = {name: percent(points) for name, points in row["contributions"].items()}
    scores = {n: None if v is None else percent(v) for n, v in row.items() if n.startswith("score")}
    return {**row, **scores, "contributions": shares}
