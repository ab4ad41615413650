"""What a downstream service reads of orgpulse, as typed values.

Invariant: missing is None, never zero; every score says as of when it holds and how old that is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CELLS = tuple(f"{day}-{hour:02}" for day in WEEKDAYS for hour in range(24))  # index = hour of week


@dataclass(frozen=True, slots=True)
class Reason:
    """One attribute's share of a score, in points of a hundred."""

    attribute: str
    points: Decimal
    of: Decimal | None  # the most it could have given
    change: Decimal | None  # since the week before; None = not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What user and org scores have in common. Scores are percentages with two decimals."""

    previous: Decimal | None
    band: str
    coverage: float | None
    reasons: tuple[Reason, ...]
    window_end: datetime | None
    calibration: int | None  # generation of the cut points; 0 = the shipped ones
    fence: str
    age_seconds: float | None
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserScore(Score):
    """A user's health. `coverage` is the share of the model's weight that had data."""

    org: str
    user: str
    score: Decimal | None
    first_week: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgScore(Score):
    """An org's health, three ways. `coverage` is active over licensed users."""

    org: str
    name: str
    score_active: Decimal | None
    score_licensed: Decimal | None
    score_median: Decimal | None
    active_users: int | None
    licensed_users: int | None
    activities: int | None
    transactions_count: int | None
    transactions_cents: int | None


@dataclass(frozen=True, slots=True)
class LatencyMap:
    """Reply latency by hour of week (0 = Monday 00:00 in `timezone`): ``(seconds, replies)``; absent = no data."""

    org: str
    cells: Mapping[int, tuple[float, int]]
    timezone: str
    period: str
    quantile: float | None
    fence: str


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the stream of changes; `fields` holds what the entry holds (subject, from, to, band, cause)."""

    id: str
    fields: Mapping[str, str]


Fields = Mapping[str, str]


def user_of(org: str, user: str, fields: Fields, now: float, stale_seconds: float) -> UserScore | None:
    """Return a user's score, or None when there is none (a tombstone has no band)."""
    if "band" not in fields:
        return None
    return UserScore(
        org=org,
        user=user,
        score=_decimal(fields.get("score")),
        first_week=fields.get("first_week") == "1",
        **_common(fields, now, stale_seconds),
    )


def org_of(org: str, fields: Fields, now: float, stale_seconds: float) -> OrgScore | None:
    """Return an org's score, or None when there is none."""
    if "band" not in fields:
        return None
    return OrgScore(
        org=org,
        name=fields.get("name") or org,
        score_active=_decimal(fields.get("score_active")),
        score_licensed=_decimal(fields.get("score_licensed")),
        score_median=_decimal(fields.get("score_median")),
        active_users=_whole(fields.get("active_users")),
        licensed_users=_whole(fields.get("licensed_users")),
        activities=_whole(fields.get("activities")),
        transactions_count=_whole(fields.get("transactions_count")),
        transactions_cents=_whole(fields.get("transactions_cents")),
        **_common(fields, now, stale_seconds),
    )


def latency_of(org: str, fields: Fields) -> LatencyMap | None:
    """Return a latency map, or None when there is none."""
    if "timezone" not in fields:
        return None
    cells = {
        hour: (float(fields[name]), _whole(fields.get(f"{name}:n")) or 0)
        for hour, name in enumerate(CELLS)
        if fields.get(name)
    }
    quantile = fields.get("quantile")
    return LatencyMap(
        org,
        cells,
        fields["timezone"],
        fields.get("period", ""),
        float(quantile) if quantile else None,
        fields.get("fence", ""),
    )


def _common(fields: Fields, now: float, stale_seconds: float) -> dict[str, Any]:
    end = datetime.fromisoformat(fields["window_end"]) if fields.get("window_end") else None
    if end is not None and end.tzinfo is None:
        end = end.replace(tzinfo=UTC)
    age = None if end is None else max(0.0, now - end.timestamp())
    coverage = fields.get("coverage")
    return {
        "previous": _decimal(fields.get("previous")),
        "band": fields["band"],
        "coverage": float(coverage) if coverage else None,
        "reasons": tuple(_reason(entry) for entry in json.loads(fields.get("reasons") or "[]")),
        "window_end": end,
        "calibration": _whole(fields.get("calibration")),
        "fence": fields.get("fence", ""),
        "age_seconds": age,
        "stale": age is None or age > stale_seconds,
    }


def _reason(entry: Mapping[str, str]) -> Reason:
    return Reason(
        entry["attribute"],
        _decimal(entry.get("points")) or Decimal(0),
        _decimal(entry.get("of")),
        _decimal(entry.get("change")),
    )


def _decimal(text: str | None) -> Decimal | None:
    return Decimal(text) if text else None


def _whole(text: str | None) -> int | None:
    return int(text) if text else None
