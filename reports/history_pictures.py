"""Pictures of the reports' tables.

Invariant: only draws what its table says; without a figure to show it says so instead of drawing empty axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from reports.picture_inline import BLUE, INK, LINE, ORANGE, SOFT, document, headline, key, sheet
from reports.picture_parts import box, label_rows, scale_log, short_number, short_numbers, spoken, unless_empty
from reports.pictures import drawing
from reports.report_table import value_text

_MEAN_MEDIAN = (("mean", BLUE, "o"), ("median", ORANGE, "D"))


def totals_picture(frame: pd.DataFrame) -> str:
    """Draw how much there is, on a scale of powers of ten."""
    rows = frame[(frame["unit"] == "whole") & (frame["value"] > 0)]
    with drawing():
        figure, (axes,) = sheet(3.0)
        if unless_empty(axes, len(rows)):
            places = np.arange(len(rows))
            axes.barh(places, rows["value"], color=BLUE, height=0.6)
            for place, value in enumerate(rows["value"]):
                axes.annotate(
                    f"{value:,}", (value, place), (4, 0), textcoords="offset points", va="center", color=INK, fontsize=9
                )
            label_rows(axes, rows["figure"])
            scale_log(axes, "x")
    return document(figure, "Totals", spoken(rows["figure"], rows["value"]))


def averages_picture(frame: pd.DataFrame) -> str:
    """Draw each mean and its median on one line; volume in whole units."""
    scale = np.where(frame["unit"] == "cents", 100.0, 1.0)
    with drawing():
        figure, (axes,) = sheet(2.8)
        if unless_empty(axes, int(frame["mean"].notna().sum())):
            places = np.arange(len(frame))
            axes.hlines(places, frame["median"] / scale, frame["mean"] / scale, color=SOFT, linewidth=1)
            for name, colour, shape in _MEAN_MEDIAN:
                axes.plot(frame[name] / scale, places, shape, color=colour, label=name, markersize=7)
            label_rows(axes, frame["figure"])
            scale_log(axes, "x")
            key(axes, loc="best")
    return document(figure, "Means and medians", spoken(frame["figure"], frame["mean"] / scale, "mean "))


def weeks_picture(frame: pd.DataFrame) -> str:
    """Draw the weeks as four lines below each other would be: activities, active users, transactions, volume."""
    shown = (("active_users", "active users", 1), ("transactions_count", "transactions", 1),
             ("transactions_cents", "volume", 100))  # fmt: skip
    with drawing():
        figure, panels = sheet(2.5, 3)
        for axes, (name, title, divisor) in zip(panels, shown, strict=True):
            headline(axes, title)
            if unless_empty(axes, len(frame)):
                axes.plot(
                    np.arange(len(frame)), frame[name] / divisor, color=BLUE, linewidth=1.6, marker="o", markersize=2.5
                )
                axes.set_ylim(bottom=0)
                axes.yaxis.set_major_formatter(short_numbers())
                ticks = np.unique(np.linspace(0, len(frame) - 1, 3).round().astype(int))
                axes.set_xticks(ticks, [str(frame["week"].iloc[n]) for n in ticks], fontsize=8)
    return document(figure, "Week by week", f"{len(frame)} weeks: active users, transactions, and volume of each.")


def active_bands_picture(frame: pd.DataFrame) -> str:
    """Draw mean and median of count and volume by active users, for those with both."""
    rows = frame[frame["population"] == "both"]
    return _two_bars(rows, "active_users", "Transactions by active users of the week", (
        ("transactions of a week", "count_mean", "count_median", 1), ("volume of a week", "volume_cents_mean",
        "volume_cents_median", 100),
    ))  # fmt: skip


def lifetime_picture(frame: pd.DataFrame) -> str:
    """Draw mean and median of weeks, and how many users, by activities."""
    return _two_bars(frame, "activities", "Lifetime by activities", (
        ("weeks with an activity", "weeks_mean", "weeks_median", 1), ("users", "users", "", 1),
    ))  # fmt: skip


def users_by_band_picture(frame: pd.DataFrame) -> str:
    """Draw users per org by weekly mean."""
    rows = frame[frame["population"] == "both"]
    return _two_bars(rows, "weekly_mean", "Users per org by weekly mean", (("users per org", "users_mean", "", 1),))


def profiles_picture(frame: pd.DataFrame) -> str:
    """Draw users and transactions by quartile."""
    return _two_bars(frame, "quartile", "Quartiles of volume", (
        ("users of an org, mean", "users_mean", "", 1), ("transactions of an org", "count_mean", "count_median", 1),
    ))  # fmt: skip


def _two_bars(frame: pd.DataFrame, band: str, title: str, panels: Sequence[tuple[str, str, str, int]]) -> str:
    """Draw by band one or two panels of (what, column of the mean, column of the median or none, divisor)."""
    with drawing():
        figure, drawn = sheet(2.7, len(panels))
        for axes, (what, mean, median, divisor) in zip(drawn, panels, strict=True):
            headline(axes, what)
            if not unless_empty(axes, int((frame[mean].fillna(0) > 0).sum())):
                continue
            places, width = np.arange(len(frame)), 0.38 if median else 0.6
            for shift, name, label, colour, hatch in (
                (-1, mean, "mean", BLUE, ""),
                (1, median, "median", ORANGE, "//"),
            ):
                if not name:
                    continue
                at = places + (shift * width / 2 if median else 0)
                values = (frame[name] / divisor).to_numpy(np.float64)
                axes.bar(at, values, width, color=colour, label=label, hatch=hatch, edgecolor=LINE, linewidth=0.4)
                for x, value in zip(at, values, strict=True):
                    if np.isfinite(value):
                        axes.text(x, value, short_number(value), ha="center", va="bottom", fontsize=8, color=INK)
            axes.set_xticks(places, [str(name) for name in frame[band]])
            axes.yaxis.set_major_formatter(short_numbers())
            axes.margins(y=0.12)
            if median:
                key(axes, loc="best")
    described = "; ".join(spoken(frame[band], frame[mean] / divisor, f"{what} ") for what, mean, _, divisor in panels)
    return document(figure, title, described)


def quartiles_picture(frame: pd.DataFrame, volumes_cents: NDArray[np.int64]) -> str:
    """Draw the volumes in order, with the cut points."""
    positive = np.sort(volumes_cents[volumes_cents > 0]) / 100
    with drawing():
        figure, (axes,) = sheet(2.6)
        if unless_empty(axes, len(positive)):
            axes.plot(np.linspace(0, 100, len(positive)), positive, color=BLUE, linewidth=1.8)
            for share, value in zip((25, 50, 75), frame["volume_cents"] / 100, strict=True):
                if np.isfinite(value) and value > 0:
                    axes.plot([share], [value], "D", color=ORANGE, markersize=6)
                    axes.text(
                        share - 1, value, value_text(value, "number"), ha="right", va="bottom", fontsize=9, color=INK
                    )
            axes.set_xlabel("share of orgs, %")
            scale_log(axes, "y")
    return document(figure, "Quartiles of volume", spoken(frame["quartile"], frame["volume_cents"] / 100))


def orgs_picture(frame: pd.DataFrame) -> str:
    """Draw each org's mean activities against its volume, both on scales of powers of ten."""
    rows = frame[(frame["users"] > 0) & (frame["transactions_cents"] > 0)]
    return _cloud(
        rows["activities_mean"], rows["transactions_cents"] / 100, "mean activities of its users", "volume", "Orgs"
    )


def users_picture(frame: pd.DataFrame) -> str:
    """Draw each user's weeks against all activities."""
    return _cloud(frame["activities"], frame["weeks"], "activities in all", "weeks with an activity", "Users")


def _cloud(xs: Any, ys: Any, x_label: str, y_label: str, title: str) -> str:
    """Draw how many lie where: squares of a grid, the more the deeper; thousands of points would be thousands of
    shapes."""
    with drawing():
        figure, (axes,) = sheet(3.0)
        if unless_empty(axes, len(xs)):
            x, y = (np.log10(np.asarray(v, np.float64)) for v in (xs, ys))
            counts, x_edges, y_edges = np.histogram2d(x, y, bins=(48, 20))
            most = np.log1p(counts.max())
            for (column, row), count in np.ndenumerate(counts):
                if count:
                    corner = float(x_edges[column]), float(y_edges[row])
                    size = float(x_edges[column + 1]) - corner[0], float(y_edges[row + 1]) - corner[1]
                    axes.add_patch(box(corner, size, BLUE, 0.15 + 0.85 * float(np.log1p(count) / most)))
            axes.set_xlim(x_edges[0], x_edges[-1])
            axes.set_ylim(y_edges[0], y_edges[-1])
            powers = FuncFormatter(lambda value, _: short_number(10**value))
            for axis, label in ((axes.xaxis, x_label), (axes.yaxis, y_label)):
                axis.set_major_formatter(powers)
                axis.set_major_locator(MaxNLocator(integer=True))
                axis.set_label_text(label)
    return document(figure, title, f"{len(xs):,} points: {x_label} against {y_label}, both by powers of ten.")
