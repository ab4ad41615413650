"""What each user of a storage network does: one row a user.

Owns the rules. Invariant: sums of bytes are exact, or refused; what is not known is missing, never zero.

    window       the last full calendar months (UTC) before the cut-off
    traffic      rows of bandwidth whose action is an upload or a download, by the owner of their project, or by whom
                 the row itself names
    stored       newest tally of each project by time, of equally new ones the greatest; where tallies name a bucket,
                 of each bucket, added up
    tier         of a project: free if its limit is at most `free_bytes`, else paid, unknown without a limit;
                 of a user: paid if any project is, else free if any is
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from reports.storage_sums import Ints, added, exact_sums, lists_of, places_of
from reports.storage_tables import DOWNLOAD, UPLOAD

GB = 1_000_000_000
FREE_BYTES = 50 * GB
DIRECTIONS = {"upload": UPLOAD, "download": DOWNLOAD}
Frames = Mapping[str, pd.DataFrame]
"""Table → rows as `reports.storage_combine` leaves them; a table that was not exported is missing."""
_HOUR_US = 3_600_000_000
_TIME = pa.timestamp("us", tz="UTC")
_HOUR = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True)
class Window:
    """The cut-off, and the full months before it."""

    before: pd.Timestamp
    months: tuple[str, ...]

    @property
    def first(self) -> pd.Timestamp:
        """Return the moment that the window begins at."""
        return pd.Timestamp(f"{self.months[0]}-01", tz="UTC")

    @property
    def end(self) -> pd.Timestamp:
        """Return the moment after the window."""
        return pd.Timestamp(f"{self.months[-1]}-01", tz="UTC") + pd.offsets.MonthBegin(1)


@dataclass(frozen=True)
class Traffic:
    """Uploads and downloads whose user is known, as arrays of equal length."""

    user: Ints
    """Place among the users."""
    direction: Ints
    """0 = upload, 1 = download."""
    month: Ints
    """Place in the window, −1 = before or after it."""
    hour: Ints
    """Hours since 1970."""
    settled: Ints
    inline: Ints


def window_before(before: pd.Timestamp, months: int = 6) -> Window:
    """Return the last *months* full months before the moment *before*.

    >>> window_before(pd.Timestamp("2021-05-15", tz="UTC"), 2).months
    ('2021-03', '2021-04')
    """
    last = before.tz_convert("UTC").tz_localize(None).to_period("M")
    return Window(before, tuple(str(last - back) for back in range(months, 0, -1)))


def user_features(frames: Frames, window: Window, free_bytes: int = FREE_BYTES) -> pa.Table:
    """Return one row for each user that is listed, owns a project or has traffic, ordered by id.

    Raises:
        StorageError: If bytes add up to more than 64 bits hold.
    """
    users = users_of(frames)
    columns: dict[str, Any] = {"user_id": pa.array(users, pa.string())}
    listed = frames.get("users", pd.DataFrame({"user_id": [], "email_hash": [], "created_at": []}))
    known = listed.set_index(pd.Index(listed["user_id"], dtype="str")).reindex(users)
    columns["email_hash"] = pa.array(known["email_hash"].astype("object"), pa.string(), from_pandas=True)
    columns["created_at"] = pa.array(pd.to_datetime(known["created_at"], utc=True), _TIME, from_pandas=True)
    columns |= _project_columns(frames["projects"], users, free_bytes)
    columns |= _traffic_columns(frames, users, window)
    columns |= _stored_columns(frames, users)
    return pa.table(columns)


def users_of(frames: Frames) -> pd.Index:
    """Return the ids of all users, in order."""
    ids: set[str] = set()
    for name in ("users", "projects", "bandwidth"):
        if name in frames:
            ids.update(frames[name]["user_id"].dropna().unique())
    return pd.Index(sorted(ids), dtype="str")


def tiers_of(projects: pd.DataFrame, free_bytes: int) -> pd.Series:
    """Return the tier of each project; nothing where no limit is known."""
    limit = projects["usage_limit"]
    known = limit.notna()
    found = pd.Series(None, projects.index, "object")
    found[known] = np.where(limit[known].to_numpy(np.int64) <= free_bytes, "free", "paid")
    return found


def _project_columns(projects: pd.DataFrame, users: pd.Index, free_bytes: int) -> dict[str, Any]:
    place = places_of(projects["user_id"], users)
    tiers = tiers_of(projects, free_bytes)
    counts = {name: _counted(place[(tiers == name).to_numpy()], len(users)) for name in ("free", "paid")}
    every = _counted(place, len(users))
    created = projects["created_at"].notna().to_numpy()
    tier = np.full(len(users), None, object)
    tier[counts["free"] > 0] = "free"
    tier[counts["paid"] > 0] = "paid"
    return {
        "tier": pa.array(tier, pa.string()),
        "projects": every,
        "free_projects": counts["free"],
        "paid_projects": counts["paid"],
        "projects_without_limit": every - counts["free"] - counts["paid"],
        "projects_created": lists_of(
            place[created], _micros(projects["created_at"][created]), len(users), _TIME, every_one=True
        ),
    }


def traffic_of(frames: Frames, users: pd.Index, window: Window) -> Traffic | None:
    """Return uploads and downloads whose user is known; None = no bandwidth was exported."""
    if "bandwidth" not in frames:
        return None
    rows = frames["bandwidth"]
    who = user_of_rows(rows, frames["projects"], users)
    direction = rows["action"].to_numpy(np.int64) - UPLOAD
    counts = (who >= 0) & ((direction == 0) | (direction == 1))
    micros = _micros(rows["interval_start"])[counts]
    month = micros.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    first = np.datetime64(window.months[0], "M").astype(np.int64)
    at = month - first
    return Traffic(
        who[counts], direction[counts], np.where((at >= 0) & (at < len(window.months)), at, -1),
        micros // _HOUR_US, rows["settled"].to_numpy(np.int64)[counts],
        rows["inline"].fillna(0).to_numpy(np.int64)[counts],
    )  # fmt: skip


def user_of_rows(rows: pd.DataFrame, projects: pd.DataFrame, users: pd.Index) -> Ints:
    """Return whose each row of bandwidth or tallies is: whom it names, else its project's owner, else −1."""
    owners = np.append(places_of(projects["user_id"], users), -1)
    found: Ints = owners[places_of(rows["project_id"], pd.Index(projects["project_id"], dtype="str"))]
    if "user_id" in rows:
        named = places_of(rows["user_id"], users)
        found = np.where(named >= 0, named, found)
    return found


def _traffic_columns(frames: Frames, users: pd.Index, window: Window) -> dict[str, Any]:
    months, size = window.months, len(users)
    traffic = traffic_of(frames, users, window)
    shape = (size, 2, len(months))
    found: dict[str, Any] = {}
    inside = None if traffic is None else traffic.month >= 0
    rows = byte_sums = inline = None
    if traffic is not None and inside is not None:
        cell = (traffic.user * 2 + traffic.direction) * len(months) + traffic.month
        rows = np.bincount(cell[inside], minlength=size * 2 * len(months)).reshape(shape)
        byte_sums = exact_sums(cell[inside], traffic.settled[inside], size * 2 * len(months)).reshape(shape)
        inline = exact_sums(traffic.user[inside], traffic.inline[inside], size)
    for at, direction in enumerate(DIRECTIONS):
        for month_at, month in enumerate(months):
            label = month.replace("-", "_")
            found[f"{direction}s_{label}"] = _or_nulls(None if rows is None else rows[:, at, month_at], size)
            found[f"{direction}_bytes_{label}"] = _or_nulls(
                None if byte_sums is None else byte_sums[:, at, month_at], size
            )
    last = f"last_{len(months)}_months"
    for at, direction in enumerate(DIRECTIONS):
        found[f"{direction}s_{last}"] = _or_nulls(None if rows is None else rows[:, at].sum(axis=1), size)
        found[f"{direction}_bytes_{last}"] = _or_nulls(None if byte_sums is None else added(byte_sums[:, at]), size)
    for month_at, month in enumerate(months):
        both = None if byte_sums is None else added(byte_sums[:, :, month_at])
        found[f"bandwidth_gb_{month.replace('-', '_')}"] = _gigabytes(both, size)
    found[f"bandwidth_gb_{last}"] = _gigabytes(
        None if byte_sums is None else added(byte_sums.reshape(size, 2 * len(months))), size
    )
    found[f"inline_bytes_{last}"] = _or_nulls(inline, size)
    found |= _all_time_columns(traffic, size)
    for at, direction in enumerate(DIRECTIONS):
        if traffic is None or inside is None:
            found[f"{direction}_hours"] = pa.nulls(size, pa.list_(_HOUR))
        else:
            here = inside & (traffic.direction == at)
            found[f"{direction}_hours"] = lists_of(traffic.user[here], traffic.hour[here] * 3_600_000, size, _HOUR)
    return found


def _all_time_columns(traffic: Traffic | None, size: int) -> dict[str, Any]:
    if traffic is None:
        empty = {f"{d}{what}_all_time": pa.nulls(size, pa.int64()) for d in DIRECTIONS for what in ("s", "_bytes")}
        return {**empty, "bandwidth_gb_all_time": pa.nulls(size, pa.float64())}
    cell = traffic.user * 2 + traffic.direction
    rows = np.bincount(cell, minlength=size * 2).reshape(size, 2)
    byte_sums = exact_sums(cell, traffic.settled, size * 2).reshape(size, 2)
    found: dict[str, Any] = {}
    for at, direction in enumerate(DIRECTIONS):
        found[f"{direction}s_all_time"] = rows[:, at]
        found[f"{direction}_bytes_all_time"] = byte_sums[:, at]
    found["bandwidth_gb_all_time"] = _gigabytes(added(byte_sums), size)
    return found


def latest_sizes(tallies: pd.DataFrame) -> pd.DataFrame:
    """Return `project_id`, `bucket`, `interval_start` and `remote` of the newest tally of each project and bucket."""
    order = tallies.sort_values(["interval_start", "remote"], kind="stable")
    keys = ["project_id", "bucket"] if "bucket" in tallies else ["project_id"]
    return order.drop_duplicates(keys, keep="last")[[*keys, "interval_start", "remote"]]


def _stored_columns(frames: Frames, users: pd.Index) -> dict[str, Any]:
    size = len(users)
    if "tallies" not in frames:
        return {
            "stored_bytes": pa.nulls(size, pa.int64()),
            "stored_gb": pa.nulls(size, pa.float64()),
            "stored_at": pa.nulls(size, _TIME),
        }
    newest = latest_sizes(frames["tallies"])
    place = user_of_rows(newest, frames["projects"], users)
    known = place >= 0
    place, newest = place[known], newest[known]
    sums = exact_sums(place, newest["remote"].to_numpy(np.int64), size)
    missing = _counted(place, size) == 0
    at = np.full(size, np.iinfo(np.int64).min)
    np.maximum.at(at, place, _micros(newest["interval_start"]))
    return {
        "stored_bytes": pa.array(sums, mask=missing),
        "stored_gb": pa.array(sums / GB, mask=missing),
        "stored_at": pa.array(at, mask=missing).cast(pa.int64()).cast(_TIME),
    }


def _counted(places: Any, size: int) -> Ints:
    found: Ints = np.bincount(places[places >= 0], minlength=size).astype(np.int64)
    return found


def _gigabytes(sums: Ints | None, size: int) -> Any:
    return pa.nulls(size, pa.float64()) if sums is None else sums / GB


def _or_nulls(values: Any, size: int) -> Any:
    return pa.nulls(size, pa.int64()) if values is None else np.ascontiguousarray(values)


def _micros(times: pd.Series) -> Ints:
    """Return times that are all known as microseconds since 1970."""
    found: Any = times.astype("datetime64[us, UTC]").astype("int64").to_numpy()
    return np.asarray(found, np.int64)
