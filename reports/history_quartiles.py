"""Orgs by volume: who they are, where the quartiles lie, and what the top quartile looks like.

A quartile's cut point is the linear interpolation between sorted volumes at (n - 1) · k / 4 (the usual definition,
type 7).
Invariant: cut points are compared in quarters of a cent, which are whole numbers; a volume that equals one belongs
below.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.bands import ACTIVITY
from reports.history_frames import BAND_COLUMNS, Frames
from reports.history_totals import mean_and_median
from reports.report_table import CENTS, NUMBER, WHOLE, Column, Table, drawn_by

FEWEST_ORGS = 4
NAMES = ("1 (least)", "2", "3", "4 (top)")


def quarter_cents(volumes_cents: NDArray[np.int64]) -> list[int]:
    """Return the three cut points of *volumes_cents* (shape n, n ≥ 1) in quarters of a cent.

    >>> quarter_cents(np.array([10, 20, 30, 41]))
    [70, 100, 131]
    """
    ordered = np.sort(volumes_cents).tolist()
    found = []
    for quarter in (1, 2, 3):
        at, rest = divmod((len(ordered) - 1) * quarter, 4)
        upper = ordered[min(at + 1, len(ordered) - 1)]
        found.append(4 * ordered[at] + rest * (upper - ordered[at]))
    return found


def quartile_of(volumes_cents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the quartile, 0 to 3, of each of *volumes_cents* (shape n)."""
    return np.searchsorted(np.array(quarter_cents(volumes_cents)), 4 * volumes_cents, side="left").astype(np.int64)


def quartiles(frames: Frames) -> Table:
    """Return the cut points."""
    traded = _traded(frames)
    volumes = np.asarray(traded["transactions_cents"], np.int64)
    enough = len(volumes) >= FEWEST_ORGS
    cuts = [cut / 4 for cut in quarter_cents(volumes)] if enough else [float("nan")] * 3
    frame = pd.DataFrame(
        {
            "quartile": pd.Series(["first", "second (median)", "third"], dtype="str"),
            "volume_cents": np.array(cuts, np.float64),
            "n": np.array([len(volumes)] * 3, np.int64),
        }
    )
    columns = (
        Column("quartile", "quartile"), Column("volume_cents", "volume of an org", CENTS), Column("n", "orgs", WHOLE)
    )  # fmt: skip
    return Table(
        "quartiles", "Quartiles of volume",
        "A quarter of the orgs with a transaction had no more than the first in the whole period, a quarter more "
        "than the third.",
        frame, columns, _notes(len(volumes)),
        pictures=(drawn_by("history_pictures.quartiles_picture", frame, volumes),),
    )  # fmt: skip


def profiles(frames: Frames) -> Table:
    """Return what the orgs of each quartile are like."""
    traded = _traded(frames)
    volumes = np.asarray(traded["transactions_cents"], np.int64)
    place = quartile_of(volumes) if len(volumes) >= FEWEST_ORGS else np.full(len(volumes), -1)
    rows = []
    for number, name in enumerate(NAMES):
        orgs = traded[place == number]
        row: dict[str, Any] = {"quartile": name, "orgs": len(orgs)}
        for column in ("users", *BAND_COLUMNS):
            row[f"{column}_mean"] = mean_and_median(orgs[column])[0]
        for column, label in (("transactions_count", "count"), ("transactions_cents", "volume_cents")):
            row[f"{label}_mean"], row[f"{label}_median"] = mean_and_median(orgs[column])
        row["active_share"] = float((orgs["users"] > 0).mean()) if len(orgs) else float("nan")
        rows.append(row)
    frame = pd.DataFrame(rows).astype({"orgs": np.int64})
    bands = [Column(f"{c}_mean", n, NUMBER) for c, n in zip(BAND_COLUMNS, ACTIVITY.names, strict=True)]
    columns = (
        Column("quartile", "quartile"), Column("orgs", "orgs", WHOLE), Column("active_share", "with activity", "share"),
        Column("users_mean", "users", NUMBER), *bands, Column("count_mean", "transactions, mean", NUMBER),
        Column("count_median", "median", NUMBER), Column("volume_cents_mean", "volume, mean", CENTS),
        Column("volume_cents_median", "median", CENTS),
    )  # fmt: skip
    return Table(
        "quartile-profiles", "What orgs of each quartile are like",
        "Means over the orgs with a transaction: users with an activity, and how many of them have a weekly mean of "
        "1–10, 11–20, … activities; transactions and volume in the whole period.",
        frame, columns, _notes(len(volumes)), pictures=(drawn_by("history_pictures.profiles_picture", frame),),
    )  # fmt: skip


def orgs_table(frames: Frames) -> Table:
    """Return the orgs one by one, the largest volume first."""
    frame = frames.orgs.sort_values(
        ["transactions_cents", "transactions_count", "org"], ascending=[False, False, True], ignore_index=True
    )
    bands = [Column(c, f"users {n}", WHOLE) for c, n in zip(BAND_COLUMNS, ACTIVITY.names, strict=True)]
    columns = (
        Column("org", "org"), Column("users", "users", WHOLE), Column("activities_mean", "activities, mean", NUMBER),
        Column("activities_median", "median", NUMBER), *bands, Column("transactions_weeks", "weeks", WHOLE),
        Column("transactions_count", "transactions", WHOLE), Column("transactions_cents", "volume", CENTS),
    )  # fmt: skip
    return Table(
        "orgs", "Orgs",
        "One row per org with an activity or a transaction: its users, mean and median of their activities over the "
        "period, how many users have a weekly mean in each band, weeks with a transaction, transactions, volume.",
        frame, columns, shown=20, pictures=(drawn_by("history_pictures.orgs_picture", frame),),
    )  # fmt: skip


def _traded(frames: Frames) -> pd.DataFrame:
    return frames.orgs[frames.orgs["transactions_count"] > 0]


def _notes(orgs: int) -> tuple[str, ...]:
    if orgs >= FEWEST_ORGS:
        return ()
    return (f"{orgs} orgs have a transaction in the period: at least {FEWEST_ORGS} are needed for quartiles.",)
