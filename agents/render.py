"""Scores and reasons as things a terminal can show.

Invariant: pure functions from plain data to rich renderables. What has no data is drawn as ·, never as a number, and
every colour comes with its number, so that a terminal without colour loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.table import Table
from rich.text import Text

from agents import wording
from agents.wording import number, percent
from streams.published import GroupScore, GroupTotals, OrgScore, Reason, Split, UserScore

NO_DATA = "·"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BAND_STYLES = {"healthy": "green", "watch": "yellow", "at_risk": "bold red"}
BAR_CELLS = 20
# Cividis: one hue path from dark blue to yellow, even in lightness, readable with every kind of colour vision.
CIVIDIS = (
    (0, 34, 78),
    (18, 53, 112),
    (59, 73, 108),
    (87, 93, 109),
    (112, 113, 115),
    (138, 134, 120),
    (165, 156, 116),
    (195, 179, 105),
    (225, 204, 85),
    (253, 234, 69),
)


def colour(ratio: float) -> tuple[int, int, int]:
    """Return the scale's red, green and blue at *ratio*, 0-1.

    >>> colour(0.0), colour(1.0)
    ((0, 34, 78), (253, 234, 69))
    """
    place = min(max(ratio, 0.0), 1.0) * (len(CIVIDIS) - 1)
    low = min(int(place), len(CIVIDIS) - 2)
    red, green, blue = (round(a + (b - a) * (place - low)) for a, b in zip(CIVIDIS[low], CIVIDIS[low + 1], strict=True))
    return red, green, blue


def band_text(band: str) -> Text:
    """Return a band in its colour."""
    return Text(wording.band_name(band), style=BAND_STYLES.get(band, ""))


def change_text(now: Decimal | None, before: Decimal | None) -> Text:
    """Return how far a figure went since last week, with its sign, or nothing when that isn't known."""
    if now is None or before is None:
        return Text("–", style="dim")
    return signed(now - before)


def signed(points: Decimal | None) -> Text:
    """Return points with their sign: green up, red down."""
    if points is None:
        return Text("–", style="dim")
    return Text(wording.signed(points), style="green" if points > 0 else "red" if points < 0 else "dim")


def risk_table(orgs: Sequence[OrgScore], title: str = "Orgs, lowest score first") -> Table:
    """Return one row per org: its three scores, the change, seats in use, and the biggest loss."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("org", overflow="ellipsis", no_wrap=True, min_width=14, max_width=24)
    table.add_column("band", no_wrap=True, min_width=7)
    for heading in ("active", "change", "licensed", "median"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("users", justify="right", no_wrap=True, min_width=7)
    table.add_column("why", overflow="ellipsis", no_wrap=True, min_width=12)
    for org in orgs:
        table.add_row(
            Text(org.name),
            band_text(org.band),
            percent(org.score_active),
            change_text(org.score_active, org.previous),
            percent(org.score_licensed),
            percent(org.score_median),
            f"{number(org.active_users)}/{number(org.licensed_users)}",
            reasons_line(org.reasons),
        )
    return table


def reasons_line(reasons: Sequence[Reason], count: int = 2) -> Text:
    """Return the *count* biggest changes since last week; without any, the biggest gaps to the full points."""
    moved = wording.main_moves(reasons, count)
    if moved:
        return Text(", ").join(Text(f"{r.attribute} ").append_text(signed(r.change)) for r in moved)
    gaps = wording.main_gaps(reasons, count)
    return Text(", ".join(f"{r.attribute} {r.points}/{r.of}" for r in gaps), style="dim")


def reason_table(reasons: Sequence[Reason], count: int | None = None) -> Table:
    """Return one row per attribute, most points first, with a bar of what it gave of what it could have given."""
    table = Table(box=None, pad_edge=False, show_footer=True)
    total = sum((reason.points for reason in reasons), Decimal(0))
    table.add_column("attribute", footer=Text("sum", style="bold"), no_wrap=True, overflow="ellipsis")
    table.add_column("points", footer=Text(f"{total:.2f}", style="bold"), justify="right")
    table.add_column("of", justify="right")
    table.add_column("", width=BAR_CELLS)
    table.add_column("change", justify="right")
    ranked = sorted(reasons, key=lambda reason: (-reason.points, reason.attribute))
    for reason in ranked[:count]:
        of = "–" if reason.of is None else f"{reason.of:.2f}"
        table.add_row(Text(reason.attribute), f"{reason.points:.2f}", of, _bar(reason), signed(reason.change))
    return table


def _bar(reason: Reason) -> Text:
    if not reason.of:
        return Text("")
    filled = round(BAR_CELLS * min(1.0, float(reason.points / reason.of)))
    return Text("━" * filled, style="cyan").append("─" * (BAR_CELLS - filled), style="dim")


def score_table(score: UserScore | OrgScore) -> Table:
    """Return a subject's figures, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in _figures(score):
        table.add_row(name, value)
    return table


def _figures(score: UserScore | OrgScore) -> list[tuple[str, Text]]:
    if isinstance(score, UserScore):
        figures = _headline("score", score.score, score)
        if score.first_week:
            figures.append(("note", Text("first week: nothing to compare with yet")))
    else:
        figures = _headline("active users", score.score_active, score)
        figures += [
            ("licensed users", Text(percent(score.score_licensed))),
            ("median user", Text(percent(score.score_median))),
            ("seats in use", Text(f"{number(score.active_users)} of {number(score.licensed_users)}")),
            ("activities", Text(number(score.activities))),
            ("transactions", Text(wording.transactions(score))),
        ]
    if score.split is not None and score.split.total:
        figures.insert(2, ("because of", _causes(score.split)))
    if any(week is not None for week in score.history):
        figures.append(("weeks before", _weeks(score)))
    if isinstance(score, OrgScore) and score.alert_since is not None:
        figures.insert(1, ("alert since", Text(f"{score.alert_since:%Y-%m-%d %H:%M} UTC", style="bold red")))
    if isinstance(score, OrgScore) and score.why:
        figures.insert(1, ("because", Text(score.why)))
    if isinstance(score, OrgScore) and score.movers:
        movers = [Text(f"{mover.user} ").append_text(signed(mover.change)) for mover in score.movers]
        figures.append(("moved by", Text(", ").join(movers)))
    if score.coverage is not None:
        figures.append(("coverage", Text(f"{score.coverage:.0%}")))
    end = "–" if score.window_end is None else score.window_end.strftime("%Y-%m-%d %H:%M UTC")
    figures.append(("week until", Text(end).append(" (stale)" if score.stale else "", style="bold yellow")))
    figures.append(("cut points", Text(wording.cut_points(score))))
    return figures


def job_table(by_job_type: Mapping[str, GroupScore]) -> Table:
    """Return one row per job type: its three scores, and seats in use."""
    table = Table(box=None, pad_edge=False)
    table.add_column("job type", overflow="ellipsis", no_wrap=True, max_width=32)
    for heading in ("active", "licensed", "median", "users"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job, each in by_job_type.items():
        scores = (percent(score) for score in (each.score_active, each.score_licensed, each.score_median))
        table.add_row(Text(job), *scores, f"{number(each.active_users)}/{number(each.licensed_users)}")
    return table


def group_line(name: str, group: GroupTotals) -> Text:
    """Return what all orgs of a group type score together, to compare one of them with."""
    scores = f"{percent(group.score_active)} over active users, {percent(group.score_licensed)} over licensed ones"
    plural = "" if group.orgs == 1 else "s"
    return Text(f"{name}: {number(group.orgs)} org{plural}, {scores}", style="dim")


def _causes(split: Split) -> Text:
    """Return the parts of a change that are not zero, in words."""
    return Text(", ").join(Text(f"{name} ").append_text(signed(part)) for name, part in wording.causes(split))


def _weeks(score: UserScore | OrgScore) -> Text:
    """Return the closing scores of the last weeks, oldest first, and where they lead."""
    shown = Text(" ".join(NO_DATA if week is None else f"{week:.0f}" for week in score.history))
    return shown if score.trend is None else shown.append("  trend ").append_text(signed(score.trend)).append(" a week")


def _headline(name: str, value: Decimal | None, score: UserScore | OrgScore) -> list[tuple[str, Text]]:
    shown = Text(percent(value), style="bold").append(" of 100  ").append_text(band_text(score.band))
    return [(name, shown), ("since last week", change_text(value, score.previous))]
