"""Nodes of a storage network, what they were paid, and the wallets behind them.

Invariant: amounts stay whole millionths until the end, where they become decimals with six places; a node that was
never contacted is in no table but the one that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from reports.storage_combine import REGION
from reports.storage_features import Frames
from reports.storage_sums import Ints, exact_sums, places_of
from reports.storage_tables import ID, NODES, NUMBER, TIME

UNITS = pa.decimal128(38, 6)
EPOCH, MISREAD = "1970, the epoch", "2070, the epoch misread"
NO_CONTACT, BEFORE, AFTER = "no time", "before 2000", "over a year after the cut-off"
_DAY = pd.Timedelta(days=1)
_KEPT = [column.name for column in NODES.columns if column.name != "node_id"]


@dataclass(frozen=True)
class Nodes:
    """One row a node, one a wallet, and the nodes left out."""

    nodes: pa.Table
    wallets: pa.Table
    never: pd.DataFrame
    """`node_id`, `wallet`, `last_contact_success`, `why`."""


def why_never(contact: pd.Series, before: pd.Timestamp) -> pd.Series:
    """Return why each time of a last contact is none; empty where it is one.

    Databases write a time for "never", which is shifted by a time zone, or read with a century of its own: 1 January of
    the years 1, 1970 and (70 as 2070) others. No network of the kind had nodes before 2000.

    >>> times = pd.Series(pd.to_datetime(["2069-12-31 19:00Z", "2021-04-01 00:00Z"]))
    >>> why_never(times, pd.Timestamp("2021-05-01", tz="UTC")).tolist()
    ['2070, the epoch misread', '']
    """
    found = pd.Series("", contact.index, dtype="object")
    found[contact < pd.Timestamp("2000-01-01", tz="UTC")] = BEFORE
    found[contact >= before + 366 * _DAY] = AFTER
    for year, name in ((1970, EPOCH), (2070, MISREAD)):
        start = pd.Timestamp(f"{year}-01-01", tz="UTC")
        found[(contact >= start - _DAY) & (contact < start + _DAY)] = name
    found[contact.isna()] = NO_CONTACT
    return found


def node_tables(frames: Frames, before: pd.Timestamp) -> Nodes | None:
    """Return the nodes that were contacted, with what they were paid, and their wallets; None = there is nothing.

    A node that several regions list is one row, of the region that contacted it last; it was never contacted if none
    ever did.
    """
    if not frames.keys() & {"nodes", "payments", "receipts", "payers"}:
        return None
    nodes, never = _contacted(frames, before)
    columns: dict[str, Any] = {"node_id": pa.array(nodes["node_id"], pa.string())}
    columns |= {name: _column(nodes[name], name) for name in _KEPT}
    columns["regions"] = pa.array(nodes["regions"], pa.string())
    sums = {name: _paid(frames, name, pd.Index(nodes["node_id"])) for name in ("payments", "receipts")}
    for name, amount in (("payments", "paid"), ("receipts", "received")):
        found = sums[name]
        columns[name] = _numbers(found, "rows", len(nodes))
        columns[amount] = _units(None if found is None else found["sum"], len(nodes))
        for edge in ("first", "last"):
            values = [None] * len(nodes) if found is None else found[edge].tolist()
            columns[f"{edge}_{amount}"] = pa.array(values, pa.string())
    paid, received = (sums[name] for name in ("payments", "receipts"))
    open_sum = None if paid is None or received is None else paid["sum"] - received["sum"]
    columns["paid_without_receipt"] = _units(open_sum, len(nodes))
    return Nodes(pa.table(columns), _wallets(frames, nodes, paid, received), never)


def _contacted(frames: Frames, before: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row a node with its `regions`, and those left out; without a list of nodes, who was paid."""
    if "nodes" not in frames:
        ids = [frames[name]["node_id"] for name in ("payments", "receipts") if name in frames]
        every = sorted({node for column in ids for node in column.unique()})
        empty = pd.DataFrame({"node_id": pd.Series(every, dtype="str")}).reindex(columns=["node_id", *_KEPT, "regions"])
        return empty, pd.DataFrame(columns=["node_id", "wallet", "last_contact_success", "why"])
    rows = frames["nodes"].astype(dict.fromkeys(NODES.columns_of(ID), "str"))
    rows["why"] = why_never(rows["last_contact_success"], before)
    rows["real"] = rows["why"] == ""
    names = ["real", "last_contact_success", *(name for name in _KEPT if name != "last_contact_success")]
    order = rows.sort_values(names, ascending=False, na_position="last", kind="stable")
    first = order.drop_duplicates("node_id").sort_values("node_id")
    listed = rows[["node_id", REGION]].astype("str").drop_duplicates().sort_values([REGION])
    regions = listed.groupby("node_id")[REGION].agg(" ".join)
    first["regions"] = first["node_id"].map(regions).str.strip()
    never = first[~first["real"]][["node_id", "wallet", "last_contact_success", "why"]]
    return first[first["real"]].reset_index(drop=True), never.reset_index(drop=True)


def _paid(frames: Frames, name: str, ids: pd.Index) -> pd.DataFrame | None:
    """Return `rows`, `sum` (millionths), `first` and `last` (months) for each of *ids*; None = was not exported."""
    if name not in frames:
        return None
    rows = frames[name]
    place = places_of(rows["node_id"], ids)
    rows, place = rows[place >= 0], place[place >= 0]
    found = pd.DataFrame({"rows": np.bincount(place, minlength=len(ids))})
    found["sum"] = exact_sums(place, rows["amount"].to_numpy(np.int64), len(ids))
    names = np.array([*rows["period"].cat.categories, None], object)  # in order: they are sorted as text
    codes = rows["period"].cat.codes.to_numpy().astype(np.int64)
    first, last = np.full(len(ids), len(names) - 1), np.full(len(ids), -1)
    np.minimum.at(first, place, codes)
    np.maximum.at(last, place, codes)
    found["first"], found["last"] = pd.Series(names[first], dtype="object"), pd.Series(names[last], dtype="object")
    return found


def _wallets(frames: Frames, nodes: pd.DataFrame, paid: pd.DataFrame | None, received: pd.DataFrame | None) -> pa.Table:
    payers = frames.get("payers")
    ids = {*nodes["wallet"].dropna(), *(() if payers is None else payers["wallet"].unique())}
    wallets = pd.Index(sorted(ids), dtype="str")
    place = wallets.get_indexer(pd.Index(nodes["wallet"]))
    has = place >= 0
    size = len(wallets)
    columns: dict[str, Any] = {
        "wallet": pa.array(wallets, pa.string()),
        "nodes": np.bincount(place[has], minlength=size),
    }
    for name, found in (("paid", paid), ("received", received)):
        sums = None if found is None else exact_sums(place[has], found["sum"].to_numpy(np.int64)[has], size)
        columns[name] = _units(sums, size)
    if payers is None:
        columns |= {"payer_rows": pa.nulls(size, pa.int64()), "payer_amount": pa.nulls(size, UNITS)}
    else:
        at = places_of(payers["wallet"], wallets)
        columns["payer_rows"] = np.bincount(at, minlength=size)
        columns["payer_amount"] = _units(exact_sums(at, payers["amount"].to_numpy(np.int64), size), size)
    return pa.table(columns)


def _column(values: pd.Series, name: str) -> Any:
    holds = NODES.column(name).holds
    if holds == TIME:
        return pa.array(pd.to_datetime(values, utc=True), pa.timestamp("us", tz="UTC"), from_pandas=True)
    if holds == NUMBER:
        return pa.array(values.astype("Int64"), pa.int64(), from_pandas=True)
    return pa.array(values.astype("object"), pa.string(), from_pandas=True)


def _numbers(found: pd.DataFrame | None, name: str, size: int) -> Any:
    return pa.nulls(size, pa.int64()) if found is None else pa.array(found[name], pa.int64())


def _units(millionths: Ints | pd.Series | None, size: int) -> Any:
    """Return millionths as decimals, exactly."""
    if millionths is None:
        return pa.nulls(size, UNITS)
    return pa.array([Decimal(value).scaleb(-6) for value in millionths.tolist()], UNITS)
