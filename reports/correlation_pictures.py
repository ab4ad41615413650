"""Pictures of correlations: coefficients with their intervals, matrices, and the forward look."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports.picture_inline import BLUE, INK, ORANGE, SOFT, document, headline, key, sheet
from reports.picture_parts import box, label_rows, spoken, unless_empty
from reports.pictures import drawing
from reports.report_table import value_text


def coefficients_picture(frame: pd.DataFrame) -> str:
    """Draw each coefficient with its interval: by org where there is one."""
    with drawing():
        figure, panels = sheet(0.7 + 0.23 * max(len(frame), 4), 2)
        names = [f"{row.x}, {row.y} ({row.population})" for row in frame.itertuples()]
        for axes, (method, title, colour, shape) in zip(
            panels, (("pearson", "Pearson r", BLUE, "o"), ("spearman", "Spearman ρ", ORANGE, "D")), strict=True
        ):  # fmt: skip
            headline(axes, title)
            if not unless_empty(axes, int(frame[method].notna().sum())):
                continue
            middle = frame[method].to_numpy()
            low, high = _ends(frame, method)
            places = np.arange(len(frame))
            axes.axvline(0, color=SOFT, linewidth=0.8)
            axes.hlines(
                places,
                np.where(np.isnan(low), middle, low),
                np.where(np.isnan(high), middle, high),
                color=colour,
                linewidth=2,
            )
            axes.plot(middle, places, shape, color=colour, markersize=5)
            label_rows(axes, names if axes is panels[0] else [""] * len(names))
    return document(figure, "Correlations", spoken(names, frame["pearson"], "Pearson "))


def _ends(frame: pd.DataFrame, method: str) -> tuple[Any, Any]:
    name = f"{method}_by_org" if f"{method}_by_org_low" in frame else method
    return frame[f"{name}_low"].to_numpy(), frame[f"{name}_high"].to_numpy()


def matrix_picture(frame: pd.DataFrame) -> str:
    """Draw both matrices: the number in each square, its strength as the depth of colour, its sign in the number."""
    names = [name for name in frame.columns if name not in ("method", "figure", "n")]
    with drawing():
        figure, panels = sheet(3.1, 2)
        for axes, method in zip(panels, ("Pearson", "Spearman"), strict=True):
            headline(axes, method)
            values = frame.loc[frame["method"] == method, names].to_numpy(np.float64)
            axes.grid(visible=False)
            for (row, column), value in np.ndenumerate(values):
                known = np.isfinite(value)
                if known:
                    colour = BLUE if value >= 0 else ORANGE
                    axes.add_patch(_square(column, row, colour, 0.5 * abs(float(value))))
                axes.text(
                    column, row, value_text(float(value), "number"), ha="center", va="center", color=INK, fontsize=9
                )
            axes.set_xlim(-0.5, len(names) - 0.5)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=8)
            axes.set_yticks(range(len(names)), names if axes is panels[0] else [""] * len(names), fontsize=8)
    return document(figure, "Correlation matrix", "Each figure with each; all numbers are in the table.")


def lead_picture(frame: pd.DataFrame) -> str:
    """Draw r by lag with its interval, changes and levels; a filled mark is more than chance after correction."""
    rows = frame[frame["outcome"] == "transactions"]
    with drawing():
        figure, panels = sheet(2.7, 2)
        for axes, form in zip(panels, ("change", "level"), strict=True):
            headline(
                axes,
                f"{form} of score and of transactions" if form == "change" else "score and transactions as they are",
            )
            block = rows[rows["form"] == form]
            if not unless_empty(axes, int(block["r"].notna().sum())):
                continue
            axes.axhline(0, color=SOFT, linewidth=0.8)
            axes.vlines(block["lag_weeks"], block["r_low"], block["r_high"], color=BLUE, linewidth=2)
            sure = block["p_holm"] < 0.05
            axes.plot(
                block["lag_weeks"][~sure],
                block["r"][~sure],
                "o",
                color=BLUE,
                markerfacecolor="none",
                label="may be chance",
            )
            axes.plot(block["lag_weeks"][sure], block["r"][sure], "D", color=ORANGE, label="more than chance")
            axes.set_xticks(block["lag_weeks"])
            axes.set_xlabel("weeks later")
            key(axes, loc="best")
    return document(figure, "Score against later transactions", spoken(rows["lag_weeks"], rows["r"], "weeks later: r "))


def _square(column: int, row: int, colour: str, alpha: float) -> Any:
    return box((column - 0.5, row - 0.5), (1.0, 1.0), colour, alpha)
