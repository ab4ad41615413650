"""Joins the regional files of a table: cut off by date, each row once, each id once.

Invariant: for each region, rows read = left out as bad + at or after the cut-off + twice + superseded + kept.

    twice        equal in every column, ids in lower case; the first one found is kept
    superseded   projects, users: the same id with other columns; kept is the newest by its creation, of equally new
                 ones the greatest by the columns in order (nothing is smaller than anything)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.storage_read import REST, Loaded
from reports.storage_tables import ID, MONTH, PROJECTS, USERS, Table
from reports.storage_values import Mask

REGION = "region"
COUNTS = ["rows", "bad", "after_cut", "twice_in_region", "twice_across", "superseded", "kept"]


@dataclass(frozen=True)
class Combined:
    """All rows of one table, ids and months as categories, and what became of the others by region (`COUNTS`)."""

    frame: pd.DataFrame
    counts: pd.DataFrame


def combined(table: Table, files: Sequence[Loaded], before: pd.Timestamp, keep_twice: Collection[str] = ()) -> Combined:
    """Return the rows of *files* that are before the moment *before*, each once.

    Args:
        table: What the files hold.
        files: In any order; where rows are equal, that of the first file is kept.
        before: The cut-off; rows of that moment and later are left out, rows without a date stay.
        keep_twice: Tables of which equal rows are all kept.
    """
    files = sorted(files, key=lambda file: (file.region, file.place))
    regions = list(dict.fromkeys(file.region for file in files))
    counts = pd.DataFrame(0, index=pd.Index(regions, name=REGION), columns=COUNTS, dtype="int64")
    for file in files:
        counts.loc[file.region, ["rows", "bad"]] += [file.rows, file.rows - len(file.frame)]
    frame = pd.concat([file.frame for file in files], ignore_index=True)
    lengths = [len(file.frame) for file in files]
    region: Any = np.repeat([regions.index(file.region) for file in files], lengths)
    kept = _before(frame, table, before)
    _count(counts, "after_cut", region[~kept])
    frame, region = frame[kept].reset_index(drop=True), region[kept]
    if table.name not in keep_twice:
        kept = _once(frame, region, counts)
        frame, region = frame[kept].reset_index(drop=True), region[kept]
    if table in (PROJECTS, USERS):
        kept = _newest(frame, table)
        _count(counts, "superseded", region[~kept])
        frame, region = frame[kept].reset_index(drop=True), region[kept]
    _count(counts, "kept", region)
    frame[REGION] = pd.Categorical.from_codes(region, pd.Index(regions))
    for name in table.columns_of(ID, MONTH):
        # Ids are many times the same: from here on they are numbers, whatever is asked of them is asked once an id.
        frame[name] = frame[name].astype("category")
    return Combined(frame.drop(columns=REST), counts)


def _before(frame: pd.DataFrame, table: Table, before: pd.Timestamp) -> Mask:
    """Return which rows are before the cut-off; a month is, if it begins before."""
    if not table.cut:
        return np.ones(len(frame), bool)
    dates: Any = frame[table.cut]
    if table.column(table.cut).holds == MONTH:
        dates = pd.to_datetime(dates, format="%Y-%m", utc=True)
    return np.asarray(~(dates >= before))


def _once(frame: pd.DataFrame, region: Any, counts: pd.DataFrame) -> Mask:
    """Return which rows are the first of their kind, and count the others."""
    codes = {name: _codes(frame[name]) for name in frame.columns}
    keys = pd.DataFrame(codes)
    twice = keys.duplicated().to_numpy()
    if twice.any():
        alike = keys[keys.duplicated(keep=False)]
        first = pd.Series(region[alike.index], alike.index).groupby([alike[name] for name in alike]).transform("first")
        across = first.reindex(np.flatnonzero(twice)).to_numpy() != region[twice]
        _count(counts, "twice_in_region", region[twice][~across])
        _count(counts, "twice_across", region[twice][across])
    return ~twice


def _newest(frame: pd.DataFrame, table: Table) -> Mask:
    """Return which row of each id counts."""
    names = [table.cut, *(column.name for column in table.columns[1:] if column.name != table.cut)]
    order = frame.sort_values([*names, REST], ascending=False, na_position="last", kind="stable")
    kept = np.zeros(len(frame), bool)
    kept[order.index[~order.duplicated(table.columns[0].name).to_numpy()]] = True
    return kept


def _codes(values: pd.Series) -> Any:
    """Return a number for each of *values*, the same for equal ones; nothing is equal to nothing."""
    return pd.factorize(values)[0]


def _count(counts: pd.DataFrame, column: str, regions: Any) -> None:
    counts[column] += np.bincount(regions, minlength=len(counts))
