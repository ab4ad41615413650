"""Reply latency by hour of week, for the recount.

Owns the recount's own matching of replies with their parents, and its cells: a
reply counts in the hour of the week of its *parent*, in the org's zone.
Invariant: every pair counts once, in one cell; order of arrival plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from reports.recount_read import Options

ALL = "all"
EXACT_REPLIES = 256
"""Cells with more replies may be off by 1/256: the system keeps logarithmic buckets there."""
_DAY_MS = 86_400_000


def matched_replies(messages: pd.DataFrame, horizon_days: int) -> pd.DataFrame:
    """Return replies that measure waiting: org, user, time_ms, parent_user, parent_ms, latency_ms.

    Replies to oneself and replies that precede their parent measure nothing.
    """
    parents = messages[["org", "id", "user", "time_ms"]]
    parents = parents.rename(columns={"id": "ref", "user": "parent_user", "time_ms": "parent_ms"})
    pairs = messages[messages["ref"] != ""].merge(parents, on=["org", "ref"])
    pairs["latency_ms"] = pairs["time_ms"] - pairs["parent_ms"]
    counts = (pairs["user"] != pairs["parent_user"]) & (pairs["latency_ms"] >= 0)
    return pairs[counts & (pairs["latency_ms"] <= horizon_days * _DAY_MS)]


def latency_cells(
    messages: pd.DataFrame, replies: pd.DataFrame, zones: Mapping[str, str], as_of_ms: int, options: Options
) -> pd.DataFrame:
    """Return (org or "all", hour of week) → latency_ms, tolerance_ms, replies, messages, answered.

    Covers the calendar months (in the org's zone) of the rolling period, which ends with the UTC month of *as_of_ms*.
    `answered` counts messages with at least one reply.
    """
    end = pd.Timestamp(as_of_ms, unit="ms", tz="UTC")
    last = end.year * 12 + end.month - 1
    months = range(last - options.rolling_months + 1, last + 1)
    written = _placed(messages, "time_ms", zones, months)
    waited = _placed(replies, "parent_ms", zones, months)
    tables = [_cells(written, waited, options.quantile)]
    if len(written):
        tables.append(_cells(written.assign(org=ALL), waited.assign(org=ALL), options.quantile))
    return pd.concat(tables)


def local_times(times_ms: pd.Series, orgs: pd.Series, zones: Mapping[str, str]) -> pd.Series:
    """Return what the clock on the wall of each row's org showed (UTC where its zone is not known)."""
    found = pd.to_datetime(times_ms, unit="ms")
    zone_of = orgs.map({org: zones.get(org, "UTC") for org in orgs.unique()})
    for zone, own in found.groupby(zone_of):
        found.loc[own.index] = own.dt.tz_localize("UTC").dt.tz_convert(str(zone)).dt.tz_localize(None)
    return found


def _placed(table: pd.DataFrame, column: str, zones: Mapping[str, str], months: range) -> pd.DataFrame:
    """Return the rows of *table* within *months*, with their hour of the week by *column*."""
    table = table.reset_index(drop=True)
    local = local_times(table[column], table["org"], zones)
    month = local.dt.year * 12 + local.dt.month - 1
    place, hour = table["org"] + "\x1f" + table["ref"], local.dt.day_of_week * 24 + local.dt.hour
    within = np.flatnonzero(month.isin(months))
    return table.assign(place=place, hour=hour).take(within)


def _cells(written: pd.DataFrame, waited: pd.DataFrame, quantile: float) -> pd.DataFrame:
    """Return the cells of all orgs at once."""
    by = ["org", "hour"]
    found = pd.DataFrame({"messages": written.groupby(by).size()})
    waits = waited.groupby(by)["latency_ms"]
    figures = {key: _quantile(sorted(own), quantile) for key, own in waits}
    found["replies"] = waits.size()
    found["answered"] = waited.groupby(by)["place"].nunique()
    found = found.fillna(0).astype("int64")
    found["latency_ms"] = pd.Series({k: v for k, (v, _) in figures.items()}, dtype="float64").reindex(found.index)
    found["tolerance_ms"] = pd.Series({k: t for k, (_, t) in figures.items()}, dtype="float64").reindex(found.index)
    return found


def _quantile(ordered: list[int], quantile: float) -> tuple[float, float]:
    """Return the quantile, linear between neighbours while exact, and how far off it may be (both in ms).

    >>> _quantile([10, 20, 30, 40], 0.5)
    (25.0, 0.0)
    """
    place = (len(ordered) - 1) * quantile
    low = int(place)
    if len(ordered) > EXACT_REPLIES:
        return float(ordered[low]), ordered[low] / 256
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low), 0.0
