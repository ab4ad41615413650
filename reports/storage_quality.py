"""What is odd about an export: what was left out and why, ids in several spellings, what belongs to nothing, gaps.

Invariant: it counts and names, it changes nothing. A section without rows says that nothing was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from reports.storage_combine import COUNTS, Combined
from reports.storage_features import Frames, Window, latest_sizes, user_of_rows, users_of
from reports.storage_nodes import Nodes
from reports.storage_read import Loaded
from reports.storage_tables import OTHER, TABLES
from reports.storage_values import REASONS

_SHOWN_DAYS = 200


@dataclass(frozen=True)
class Section:
    """One table of the data-quality part: the name of its files, a heading, what to make of it."""

    name: str
    title: str
    note: str
    frame: pd.DataFrame


def sections(
    files: Sequence[Loaded], parts: Mapping[str, Combined], frames: Frames, window: Window, nodes: Nodes | None
) -> list[Section]:
    """Return the data-quality part, in the order in which it is read."""
    return [
        _counts(parts),
        _bad(files),
        _missing(files),
        _spelling(files),
        Section("findings", "What belongs to nothing, and other findings", "", _findings(frames, nodes)),
        _gaps(frames, window),
        *([] if nodes is None else [_never(nodes)]),
    ]


def _counts(parts: Mapping[str, Combined]) -> Section:
    rows = [
        {"table": TABLES[name].title, "region": region or "–", **dict(zip(COUNTS, map(int, row), strict=True))}
        for name, part in parts.items()
        for region, row in zip(part.counts.index, part.counts.to_numpy(), strict=True)
    ]
    return Section(
        "rows", "Rows by table and region",
        "Each row that was read is bad, at or after the cut-off, there twice (in its region or across regions), "
        "superseded by a newer one of the same id, or kept.",
        pd.DataFrame(rows, columns=["table", "region", *COUNTS]),
    )  # fmt: skip


def _bad(files: Sequence[Loaded]) -> Section:
    rows = [
        {
            "table": TABLES[bad.table].title, "region": bad.region or "–", "file": bad.place, "reason": bad.reason,
            "column": bad.column, "rows": bad.rows, "first": bad.first, "value": bad.value,
            "means": REASONS[bad.reason],
        }
        for file in files
        for bad in file.bad
    ]  # fmt: skip
    columns = ["table", "region", "file", "reason", "column", "rows", "first", "value", "means"]
    return Section("bad-rows", "Bad rows", "They are left out.", pd.DataFrame(rows, columns=columns))


def _missing(files: Sequence[Loaded]) -> Section:
    """Return which region lacks a table that another has, and which tables nobody has."""
    regions = sorted({file.region for file in files})
    there = {(file.table.name, file.region) for file in files}
    rows = []
    for name, table in TABLES.items():
        having = [region for region in regions if (name, region) in there]
        if not having:
            rows.append({"table": table.title, "region": "all", "effect": "columns made of it are empty"})
        rows += [
            {"table": table.title, "region": region or "–", "effect": "what is in no other region is not counted"}
            for region in regions
            if having and region not in having and "" not in having
        ]
    note = "Its users may look idle: nothing can be told of what was not exported."
    return Section("missing", "Missing tables", note, pd.DataFrame(rows, columns=["table", "region", "effect"]))


def _spelling(files: Sequence[Loaded]) -> Section:
    spellings: dict[tuple[str, str], set[str]] = {}
    mixed: dict[tuple[str, str], int] = {}
    for file in files:
        for column, texts in file.spellings.items():
            key = file.table.title, column
            spellings.setdefault(key, set()).update(texts)
            mixed[key] = mixed.get(key, 0) + file.mixed[column]
    rows = []
    for (table, column), texts in spellings.items():
        several = len(texts) - len({text.lower() for text in texts})
        if mixed[table, column]:
            rows.append(
                {"table": table, "column": column, "cells_not_in_lower_case": mixed[table, column],
                 "further_spellings": several}
            )  # fmt: skip
    return Section(
        "spelling", "Ids in mixed case", "They are compared in lower case; further spellings were taken together.",
        pd.DataFrame(rows, columns=["table", "column", "cells_not_in_lower_case", "further_spellings"]),
    )  # fmt: skip


def _findings(frames: Frames, nodes: Nodes | None) -> pd.DataFrame:
    users = users_of(frames)
    found = [*_of_projects(frames), *_of_traffic(frames, users), *_of_sizes(frames, users)]
    if nodes is not None:
        found += _of_payments(frames, nodes)
    return pd.DataFrame(found, columns=["finding", "count", "detail"])


def _of_projects(frames: Frames) -> list[tuple[str, int, str]]:
    projects = frames["projects"]
    found = [
        ("projects without a usage limit", int(projects["usage_limit"].isna().sum()), "no tier"),
        ("projects without a creation date", int(projects["created_at"].isna().sum()), "of the topic only"),
    ]
    if "users" in frames:
        users = frames["users"]["user_id"]
        idle = ~users.isin(projects["user_id"])
        strange = ~projects["user_id"].isin(users)
        found += [
            ("users without projects", int(idle.sum()), "they have a row, without a tier"),
            ("projects whose user is not listed", int(strange.sum()),
             f"{projects['user_id'][strange].nunique():,} users have a row without e-mail hash"),
            ("users without an e-mail hash", int(frames["users"]["email_hash"].isna().sum()), ""),
        ]  # fmt: skip
    return found


def _of_traffic(frames: Frames, users: pd.Index) -> list[tuple[str, int, str]]:
    if "bandwidth" not in frames:
        return []
    rows = frames["bandwidth"]
    other = (rows["action"] == OTHER).to_numpy(bool)
    unknown = (user_of_rows(rows, frames["projects"], users) < 0) & ~other
    silent = ((rows["settled"] == 0) & (rows["inline"].fillna(0) == 0)).to_numpy(bool) & ~other
    lost = rows[unknown]
    idle = ~frames["projects"]["project_id"].isin(rows["project_id"].unique())
    return [
        ("traffic of unknown projects", int(unknown.sum()),
         f"{lost['project_id'].nunique():,} projects, {sum(lost['settled'].tolist()):,} bytes; left out"),
        ("rows of other actions", int(other.sum()), "audits, repairs, deletions; left out"),
        ("uploads and downloads without a byte", int(silent.sum()), "counted as rows"),
        ("projects without traffic", int(idle.sum()), ""),
    ]  # fmt: skip


def _of_sizes(frames: Frames, users: pd.Index) -> list[tuple[str, int, str]]:
    if "tallies" not in frames:
        return []
    rows = frames["tallies"]
    unknown = user_of_rows(rows, frames["projects"], users) < 0
    newest = latest_sizes(rows)
    again = rows.merge(newest[["project_id", "bucket", "interval_start"]])  # nothing is equal to nothing, here
    sizes = again[["project_id", "bucket", "remote"]].drop_duplicates()
    several = sizes[sizes.duplicated(["project_id", "bucket"])].drop_duplicates(["project_id", "bucket"])
    sized = frames["projects"]["project_id"].isin(rows["project_id"].unique())
    return [
        ("storage tallies of unknown projects", int(unknown.sum()),
         f"{rows['project_id'][unknown].nunique():,} projects; left out"),
        ("projects with several sizes at their newest time", len(several),
         "the greatest counts; map tallies.bucket to have buckets added up"),
        ("projects without a storage tally", int((~sized).sum()), "no stored size"),
    ]  # fmt: skip


def _of_payments(frames: Frames, nodes: Nodes) -> list[tuple[str, int, str]]:
    known = set(nodes.nodes["node_id"].to_pylist())
    never = set(nodes.never["node_id"])
    found = []
    for name in ("payments", "receipts"):
        if name in frames:
            ids = frames[name]["node_id"]
            for which, what in (
                (ids.isin(never), f"{name} of nodes that were never contacted"),
                (~ids.isin(known | never), f"{name} of unknown nodes"),
            ):
                amount = Decimal(sum(frames[name]["amount"][which].tolist())).scaleb(-6)
                found.append((what, int(which.sum()), f"{amount:,f} units; left out"))
    if "payers" in frames:
        wallets = pd.Series(nodes.nodes["wallet"].to_pylist(), dtype="object").dropna()
        strange = ~frames["payers"]["wallet"].isin(wallets)
        found.append(("payer rows for wallets of no node", int(strange.sum()), "they have a row among the wallets"))
    return found


def _gaps(frames: Frames, window: Window) -> Section:
    """Return the stretches of days in the window on which a region has no bandwidth row."""
    rows: list[dict[str, Any]] = []
    if "bandwidth" in frames:
        bandwidth = frames["bandwidth"]
        for region in bandwidth["region"].cat.categories:
            times = bandwidth["interval_start"][bandwidth["region"] == region]
            for first, last in gaps_of(times, window.first, window.end):
                rows.append({"region": region or "–", "first_day": first, "last_day": last,
                             "days": (pd.Timestamp(last) - pd.Timestamp(first)).days + 1})  # fmt: skip
    note = "Days (UTC) of the window without any bandwidth row: was everything exported?"
    return Section("gaps", "Gaps by day", note, pd.DataFrame(rows, columns=["region", "first_day", "last_day", "days"]))


def gaps_of(times: pd.Series, first: pd.Timestamp, end: pd.Timestamp) -> list[tuple[str, str]]:
    """Return the stretches of days from *first* up to *end*, exclusive, in which none of *times* lies.

    >>> first, end = (pd.Timestamp(day, tz="UTC") for day in ("2021-01-01", "2021-01-06"))
    >>> gaps_of(pd.Series(pd.to_datetime(["2021-01-03 23:59Z"])), first, end)
    [('2021-01-01', '2021-01-02'), ('2021-01-04', '2021-01-05')]
    """
    days = (end - first).days
    at = ((times[(times >= first) & (times < end)] - first) // pd.Timedelta(days=1)).to_numpy(np.int64)
    silent = np.flatnonzero(np.bincount(at, minlength=days) == 0)
    stretches = np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1) if len(silent) else []

    def name(day: int) -> str:
        return str((first + pd.Timedelta(days=int(day))).date())

    return [(name(stretch[0]), name(stretch[-1])) for stretch in stretches]


def _never(nodes: Nodes) -> Section:
    counts = nodes.never.groupby("why").size().sort_values(ascending=False)
    frame = pd.DataFrame({"last_contact": counts.index, "nodes": counts.to_numpy()})
    return Section("never-contacted", "Nodes that were never contacted", "They are left out of the tables.", frame)
