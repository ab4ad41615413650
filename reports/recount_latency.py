"""Reply latency by hour of week, for the recount.

Owns the recount's own matching of replies with their parents, and its cells: a
reply counts in the hour of the week of its *parent*, in the org's zone, and in
its parent's line. Invariant: every pair counts once, in one cell; order of
arrival plays no part, and a deleted message is as if it had never been written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from reports.recount_fields import Options

ALL = "all"
WHOLE_WEEK = -1
"""Stands for all hours of the week together."""
_EVERY = None
EXACT_WAITS = 20_000
"""A line with more distinct entries (quarter of an hour, first or not, wait) may be off by 1/256."""
_DAY_MS, _QUARTER_MS = 86_400_000, 900_000
_CELL = ["org", "line", "month", "hour"]


def messages_left(events: pd.DataFrame, teams: Mapping[str, str]) -> pd.DataFrame:
    """Return the messages that nobody deleted, before or after: org, user, id, ref, time_ms, line."""
    said, gone = events[events["measure"] == "message"], events[events["measure"] == "message_deleted"]
    left = said[~_places(said, "id").isin(set(_places(gone, "ref")))]
    lines = {channel: "replies/" + teams.get(channel, channel) for channel in left["channel"].unique()}
    return left[["org", "user", "id", "ref", "time_ms"]].assign(line=left["channel"].map(lines))


def matched_replies(messages: pd.DataFrame, horizon_days: int) -> pd.DataFrame:
    """Return replies that measure waiting: org, user, id, time_ms, parent_user, parent_ms, latency_ms, line, first.

    Replies to oneself and replies that precede their parent measure nothing. `line` is the parent's; `first` says
    whether no other reply to that parent is earlier by (time, id).
    """
    pairs = _pairs(messages)
    counts = (pairs["user"] != pairs["parent_user"]) & (pairs["latency_ms"] >= 0)
    found = pairs[counts & (pairs["latency_ms"] <= horizon_days * _DAY_MS)]
    in_order = found.sort_values(["time_ms", "id"], kind="stable")
    return found.assign(first=~in_order.duplicated(["org", "ref"]))  # by row, whatever the order


def replies_apart(messages: pd.DataFrame) -> dict[str, int]:
    """Return how many replies measure nothing: `self_reply` to oneself, `negative_latency` before their parent."""
    pairs = _pairs(messages)
    own = pairs["user"] == pairs["parent_user"]
    return {"self_reply": int(own.sum()), "negative_latency": int((~own & (pairs["latency_ms"] < 0)).sum())}


def _pairs(messages: pd.DataFrame) -> pd.DataFrame:
    """Return every reply whose parent is there, with `parent_user`, `parent_ms`, the parent's line and `latency_ms`."""
    parents = messages[["org", "id", "user", "time_ms", "line"]]
    parents = parents.rename(columns={"id": "ref", "user": "parent_user", "time_ms": "parent_ms"})
    pairs = messages[messages["ref"] != ""].drop(columns="line").merge(parents, on=["org", "ref"])
    return pairs.assign(latency_ms=pairs["time_ms"] - pairs["parent_ms"])


def latency_cells(
    messages: pd.DataFrame, replies: pd.DataFrame, zones: Mapping[str, str], months: range | None, options: Options
) -> pd.DataFrame:
    """Return the figures of (org or "all", hour of week) over *months* in each org's zone (None = all there are).

    `messages`, `replies`, `answered` (messages with a reply), `within` (those with one within the target), and the
    quantile over all and over first replies with how far off the system may be: `latency_ms`, `tolerance_ms`,
    `first_latency_ms`, `first_tolerance_ms`; so may `within` (`within_tolerance`), by the waits close to the
    target. Give frames of some lines alone to have their figures.
    """
    rough = _rough_orgs(replies)
    everybody = {ALL} if rough or len(_entries(replies, [])) > EXACT_WAITS else set[str]()
    written = _placed(messages, "time_ms", zones, months)
    waited = _placed(replies, "parent_ms", zones, months)
    tables = []
    for hours in (_EVERY, WHOLE_WEEK):
        own, answers = (t if hours is _EVERY else t.assign(hour=WHOLE_WEEK) for t in (written, waited))
        tables.append(_cells(own, answers, rough, options))
        if len(written):
            tables.append(_cells(own.assign(org=ALL), answers.assign(org=ALL), everybody, options))
    return pd.concat(tables)


def latency_lines(
    messages: pd.DataFrame, replies: pd.DataFrame, zones: Mapping[str, str], target_seconds: int
) -> pd.DataFrame:
    """Return whole numbers by (org or "all", line, month such as 2024-03, hour of week), over the whole history.

    `messages`, `replies`, `answered`, `within`, and the sums of all and of first waits: `waits_ms`, `first_waits_ms`.
    "all" has each org in its own zone.
    """
    written = _placed(messages, "time_ms", zones, None)
    waited = _placed(replies, "parent_ms", zones, None)
    waited["first_ms"] = waited["latency_ms"].where(waited["first"], 0)
    waited["within"] = _within(waited, target_seconds)
    tables = []
    for own, answers in ((written, waited), (written.assign(org=ALL), waited.assign(org=ALL))):
        waits = answers.groupby(_CELL)
        parts = {"messages": own.groupby(_CELL).size(), "replies": waits.size(), "answered": waits["first"].sum(),
                 "within": waits["within"].sum(), "waits_ms": waits["latency_ms"].sum(),
                 "first_waits_ms": waits["first_ms"].sum()}  # fmt: skip
        tables.append(pd.DataFrame({name: part.astype("Int64") for name, part in parts.items()}))
    found = pd.concat(tables).fillna(0).astype("int64")
    labels = {month: f"{month // 12}-{month % 12 + 1:02}" for month in found.index.unique("month")}
    return found.rename(index=labels, level="month").sort_index()


def rolling_months(as_of_ms: int, number: int) -> range:
    """Return the last *number* calendar months, as year × 12 + month − 1; the last is the UTC one of *as_of_ms*."""
    end = pd.Timestamp(as_of_ms, unit="ms", tz="UTC")
    last = end.year * 12 + end.month - 1
    return range(last - number + 1, last + 1)


def local_times(times_ms: pd.Series, orgs: pd.Series, zones: Mapping[str, str]) -> pd.Series:
    """Return what the clock on the wall of each row's org showed (UTC where its zone is not known)."""
    found = pd.to_datetime(times_ms, unit="ms")
    zone_of = orgs.map({org: zones.get(org, "UTC") for org in orgs.unique()})
    for zone, own in found.groupby(zone_of):
        found.loc[own.index] = own.dt.tz_localize("UTC").dt.tz_convert(str(zone)).dt.tz_localize(None)
    return found


def _places(table: pd.DataFrame, column: str) -> pd.Series:
    """Return org and id as one text."""
    found: pd.Series = table["org"].astype(str) + "\x1f" + table[column].astype(str)
    return found


def _rough_orgs(replies: pd.DataFrame) -> set[str]:
    """Return the orgs of which at least one line has more entries than the system keeps exactly."""
    sizes = _entries(replies, ["org", "line"]).groupby(["org", "line"]).size()
    return {str(org) for org, _ in sizes.index[sizes > EXACT_WAITS]}


def _entries(replies: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the different waits, each of *by* for itself, which the system may have to keep."""
    entries = replies[[*by, "first", "latency_ms"]].assign(quarter=replies["parent_ms"] // _QUARTER_MS)
    return entries.drop_duplicates()


def _placed(table: pd.DataFrame, column: str, zones: Mapping[str, str], months: range | None) -> pd.DataFrame:
    """Return the rows of *table* within *months*, with their month and hour of the week by *column*."""
    table = table.reset_index(drop=True)
    local = local_times(table[column], table["org"], zones)
    month = (local.dt.year * 12 + local.dt.month - 1).astype("int64")
    found = table.assign(month=month, hour=(local.dt.day_of_week * 24 + local.dt.hour).astype("int64"))
    return found if months is None else found.take(np.flatnonzero(month.isin(months)))


def _within(waited: pd.DataFrame, target_seconds: int) -> pd.Series:
    found: pd.Series = waited["first"] & (waited["latency_ms"] <= target_seconds * 1000)
    return found


def _cells(written: pd.DataFrame, waited: pd.DataFrame, rough: Collection[str], options: Options) -> pd.DataFrame:
    """Return the cells of all orgs at once."""
    by = ["org", "hour"]
    firsts = waited[waited["first"]]
    counts = {"messages": written, "replies": waited, "answered": firsts,
              "within": waited[_within(waited, options.target_seconds)]}  # fmt: skip
    found = pd.DataFrame({name: table.groupby(by).size() for name, table in counts.items()})
    found = found.fillna(0).astype("int64")
    off = found.index.get_level_values("org").isin(list(rough)) / 256
    near = firsts[(firsts["latency_ms"] - options.target_seconds * 1000).abs() <= options.target_seconds * 1000 / 256]
    found["within_tolerance"] = near.groupby(by).size().reindex(found.index).fillna(0) * (off > 0)
    for name, table in (("", waited), ("first_", firsts)):
        figures = {key: _quantile(sorted(own), options.quantile) for key, own in table.groupby(by)["latency_ms"]}
        found[name + "latency_ms"] = pd.Series(figures, dtype="float64").reindex(found.index)
        found[name + "tolerance_ms"] = found[name + "latency_ms"] * off
    return found


def _quantile(ordered: list[int], quantile: float) -> float:
    """Return the quantile of ascending values, linear between neighbours.

    >>> _quantile([10, 20, 30, 40], 0.5)
    25.0
    """
    place = (len(ordered) - 1) * quantile
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
