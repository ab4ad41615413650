"""Which tables belong to which report.

Invariant: a table is declared once here; `all` has every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reports import history_bands, history_correlations, history_forward, history_quartiles, history_totals
from reports.history import History
from reports.history_frames import Frames, frames_of
from reports.report_table import Section, Table

Build = Callable[[Frames], Table]
KINDS = ("activity", "lifetime", "bands", "correlations", "quartiles")
"""Reports that stand on the history of weeks alone."""
ALL = "all"

_SECTIONS: tuple[tuple[str, str, str, tuple[tuple[Build, str], ...]], ...] = (
    ("totals", "Totals", "How much there is, and how it is spread.", (
        (history_totals.totals, "activity"),
        (history_totals.averages, "activity"),
        (history_totals.by_week, "activity"),
    )),
    ("performance", "Activity against performance", "Do orgs whose users do more have more transactions?", (
        (history_quartiles.orgs_table, "activity quartiles"),
        (history_correlations.org_matrix, "activity correlations"),
        (history_correlations.org_correlations, "activity correlations"),
        (history_correlations.org_week_correlations, "activity correlations"),
    )),
    ("active", "Active users against performance", "Do weeks with more active users have more transactions?", (
        (history_correlations.active_correlations, "bands correlations"),
        (history_bands.active_bands, "bands"),
    )),
    ("lifetime", "Lifetime", "For how long are users there, and what do those do who stay?", (
        (history_bands.lifetime_bands, "lifetime"),
        (history_bands.users_table, "lifetime"),
    )),
    ("users-by-band", "Users by how much they do in a week", "Which users go with transactions?", (
        (history_bands.users_by_band, "bands"),
        (history_correlations.band_correlations, "bands correlations"),
    )),
    ("quartiles", "Quartiles", "What do the orgs with the largest volume look like?", (
        (history_quartiles.quartiles, "quartiles"),
        (history_quartiles.profiles, "quartiles"),
    )),
    ("forward", "Forward look", "Is the score ahead of what happens?", ((history_forward.forward_look,
    "correlations"),)),
)  # fmt: skip


def sections_of(history: History, kind: str) -> Iterator[tuple[int, int, Section]]:
    """Yield (tables done, tables in all, section) of a report, one section after the other."""
    wanted = [
        (name, title, lead, [build for build, kinds in builds if kind == ALL or kind in kinds.split()])
        for name, title, lead, builds in _SECTIONS
    ]
    total, done = sum(len(builds) for *_, builds in wanted), 0
    frames = frames_of(history)
    for name, title, lead, builds in wanted:
        if builds:
            tables = tuple(build(frames) for build in builds)
            done += len(tables)
            yield done, total, Section(name, title, lead, tables)


def coverage_of(history: History) -> tuple[str, ...]:
    """Return in sentences what the history covers and what is left out."""
    found = []
    if history.known is None:
        found.append("The history has no closed week yet.")
    elif not history.weeks:
        from state.week import week_label

        first, last = map(week_label, history.known)
        found.append(f"No closed week lies in the period: the history has {first} to {last}.")
    else:
        rows = len(history.users) + len(history.orgs)
        found.append(
            f"{history.weeks:,} closed {'week' if history.weeks == 1 else 'weeks'}, {history.period}: {_rows(rows)}, "
            f"{history.restated:,} restated by what came late."
        )
    for count, what in (
        (history.provisional, "of weeks that are still open"),
        (history.system, "of org 0, the system itself"),
        (history.unreadable, "that can't be read"),
    ):
        if count:
            found.append(f"Left out: {_rows(count)} {what}.")
    return tuple(found)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
