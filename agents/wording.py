"""How scores, changes and their causes are worded and rounded, the same in the terminal and on the page.

Invariant: pure functions from plain data to text; none is a dash, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from reports.short_text import two_digits
from streams.published import OrgScore, Reason, Split, UserScore

NONE = "–"
BAND_NAMES = {"at_risk": "at risk"}
RULE_NAMES = {"fall": "fell", "below_threshold": "below threshold"}


class Ranked(Protocol):
    """Whatever can be ordered by what was lost."""

    @property
    def score_active(self) -> Decimal | None: ...
    @property
    def previous(self) -> Decimal | None: ...
    @property
    def active_users(self) -> int | None: ...
    @property
    def licensed_users(self) -> int | None: ...


def percent(score: Decimal | None) -> str:
    """Return a score as text; none is a dash, not zero.

    >>> percent(Decimal("63.41")), percent(None)
    ('63.41', '–')
    """
    return NONE if score is None else f"{score:.2f}"


def signed(points: Decimal | None) -> str:
    """Return points with their sign.

    >>> signed(Decimal("1.5")), signed(Decimal("-0.25")), signed(None)
    ('+1.50', '-0.25', '–')
    """
    return NONE if points is None else f"{points:+.2f}"


def number(value: int | None) -> str:
    """Return a count with separators of thousands."""
    return NONE if value is None else f"{value:,}"


def difference(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    """Return how far a figure went since last week; None = not known."""
    return None if now is None or before is None else now - before


def band_name(band: str) -> str:
    """Return a band in words."""
    return BAND_NAMES.get(band, band)


def rule_name(rule: str) -> str:
    """Return the rule of an alert in words."""
    return RULE_NAMES.get(rule, rule)


def causes(split: Split) -> list[tuple[str, Decimal]]:
    """Return the parts of a change that are not zero, each with its name in words."""
    parts = (
        ("own activity", split.own),
        ("others' activity", split.population),
        ("who is counted", split.membership),
        ("the model", split.configuration),
    )
    return [(name, part) for name, part in parts if part]


def main_moves(reasons: Sequence[Reason], count: int) -> list[Reason]:
    """Return the *count* biggest changes since last week."""
    return sorted((r for r in reasons if r.change), key=lambda r: -abs(r.change or Decimal(0)))[:count]


def main_gaps(reasons: Sequence[Reason], count: int) -> list[Reason]:
    """Return the *count* attributes that lack most to their full points."""
    return sorted((r for r in reasons if r.of is not None), key=lambda r: r.points - (r.of or Decimal(0)))[:count]


def cut_points(score: UserScore | OrgScore) -> str:
    """Return which cut points a score is by, and whose they are."""
    if score.calibration == 0 or score.peers == "default":
        return "shipped defaults"
    whose = {"all": " of everybody", None: ""}.get(score.peers, f" of {score.peers}")
    return f"generation {number(score.calibration)}{whose}"


def transactions(score: OrgScore) -> str:
    """Return how many transactions, and what they are worth."""
    if score.transactions_cents is None:
        return number(score.transactions_count)
    return f"{number(score.transactions_count)} worth {Decimal(score.transactions_cents) / 100:,.2f}"


def points_lost(org: Ranked) -> Decimal:
    """Return how much an org lost since last week: points, times users in use or licensed.

    By score alone a list of orgs at risk would begin with dozens of orgs of one user that has been silent for weeks.
    """
    seats = max(org.active_users or 0, org.licensed_users or 0)
    return ((org.previous or Decimal(0)) - (org.score_active or Decimal(0))) * seats


def minute(time: datetime | None) -> str:
    """Return a moment to the minute, in its own zone."""
    return NONE if time is None else f"{time:%Y-%m-%d %H:%M %Z}"


def age(seconds: float | None) -> str:
    """Return how long ago something was.

    >>> age(90), age(None)
    ('90s ago', 'at a time that is not known')
    """
    return "at a time that is not known" if seconds is None else f"{two_digits(seconds)} ago"
