"""The table of the forward look: the score of a week against transactions 0 to 8 weeks later."""

from __future__ import annotations

import pandas as pd

from reports.history_frames import Frames
from reports.history_lead import LAGS, TURNINGS, lead_lag
from reports.report_table import RATIO, SHARE, WHOLE, Column, Table, drawn_by

_DEFINITION = (
    "An org's score of a week (mean over its active users) against its transactions of the same week and of those "
    "that follow: as changes from week to week and as levels. r is the correlation of ranks among all orgs of the "
    "same week, so a season that moves everybody does not count; above 0: where the score fell more than elsewhere, "
    "transactions fell more than elsewhere so many weeks later. The interval holds 95 % (one org left out after the "
    f"other). p: how often chance does as much, by {TURNINGS:,} turnings of each org's own scores in time; “p, nine "
    "looks” is corrected for the nine lags (Holm) and is the one to go by. Beside it, for the same lag: of the weeks "
    "in which a score fell (rose), in which share there were fewer transactions so many weeks later than in the week "
    "before the change."
)


def forward_look(frames: Frames) -> Table:
    """Return the table, with what it says in words."""
    history = frames.history
    frame = lead_lag(frames.org_weeks, history.first, history.last)
    columns = (
        Column("form", "form"), Column("outcome", "of"), Column("lag_weeks", "weeks later", WHOLE),
        Column("n", "n", WHOLE), Column("orgs", "orgs", WHOLE), Column("r", "r", RATIO),
        Column("r_low", "95 %", RATIO, "r_high"), Column("p", "p", RATIO), Column("p_holm", "p, nine looks", RATIO),
        Column("falls", "falls", WHOLE), Column("fewer_after_fall", "fewer after", SHARE),
        Column("rises", "rises", WHOLE), Column("fewer_after_rise", "fewer after", SHARE),
        *([Column("note", "note")] if frame["note"].any() else []),
    )  # fmt: skip
    return Table(
        "lead-lag", "Does a falling score precede falling transactions?", _DEFINITION, frame, columns, (said(frame),),
        pictures=(drawn_by("correlation_pictures.lead_picture", frame),),
    )  # fmt: skip


def said(frame: pd.DataFrame) -> str:
    """Return what the table says of changes of score and of the count of transactions."""
    rows = frame[(frame["form"] == "change") & (frame["outcome"] == "transactions")]
    known = rows[rows["p_holm"].notna()]
    if known.empty:
        why = next((note for note in rows["note"] if note), "no pairs")
        return f"It can't be said for this period: {why}."
    ahead = known[(known["lag_weeks"] > 0) & (known["p_holm"] < 0.05) & (known["r"] > 0)]
    if ahead.empty:
        return (
            f"In this period no: at none of 1 to {max(LAGS)} weeks ahead do transactions follow changes of the score "
            "more closely than chance would have it, after correction for nine looks."
        )
    best = ahead.iloc[int(ahead["r"].to_numpy().argmax())]
    weeks = ", ".join(str(lag) for lag in ahead["lag_weeks"])
    return (
        f"In this period yes: transactions follow changes of the score {weeks} weeks later more closely than chance "
        f"would have it, most so {best['lag_weeks']} weeks later (r {best['r']:.3f}, p {best['p_holm']:.3f} after "
        "correction for nine looks). That something precedes does not say that it causes."
    )
