"""Turns what Redis holds into typed values.

Invariant: a document is decoded as a whole or not at all; an unknown field is no error, a newer schema is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from streams.published import (
    CELLS,
    Alert,
    Cell,
    GroupScore,
    GroupTotals,
    LatencyMap,
    Mover,
    OrgScore,
    Reason,
    Split,
    Totals,
    UserScore,
)
from streams.reader_errors import NewerSchemaError, UnreadableError

SCHEMA = 1  # the newest that this module reads
BANDS = ("healthy", "watch", "at_risk")

Fields = Mapping[str, str]


class Decoder:
    """Decodes with one idea of the present and of what is stale."""

    def __init__(self, now: float, stale_seconds: float, as_of: str | None = None) -> None:
        """Take the present (epoch seconds), the limit, and the `as_of` of the totals where it is known.

        Raises:
            UnreadableError: If *as_of* is no time.
        """
        self._now, self._stale_seconds = now, stale_seconds
        try:
            self._as_of = moment_of(as_of)
        except ValueError as error:
            raise UnreadableError(f"as_of of totals: {error}") from error

    def user(self, org: str, user: str, fields: Fields) -> UserScore | None:
        """Return a user's score, or None when there is none (a tombstone has no band).

        Raises:
            NewerSchemaError, UnreadableError: If it can't be read; so do the others.
        """
        if "band" not in fields:
            return None
        with Reading(f"user {org}/{user}", fields):
            return UserScore(
                org=org,
                user=user,
                score=decimal_of(fields.get("score")),
                first_week=fields.get("first_week") == "1",
                **self._common(fields),
            )

    def org(self, org: str, fields: Fields) -> OrgScore | None:
        """Return an org's score, or None when there is none."""
        if "band" not in fields:
            return None
        with Reading(f"org {org}", fields):
            return OrgScore(
                org=org,
                name=fields.get("name") or org,
                group_type=fields.get("group_type") or None,
                score_active=decimal_of(fields.get("score_active")),
                score_licensed=decimal_of(fields.get("score_licensed")),
                score_median=decimal_of(fields.get("score_median")),
                active_users=whole_of(fields.get("active_users")),
                licensed_users=whole_of(fields.get("licensed_users")),
                activities=whole_of(fields.get("activities")),
                transactions_count=whole_of(fields.get("transactions_count")),
                transactions_cents=whole_of(fields.get("transactions_cents")),
                movers=tuple(
                    Mover(mover["user"], Decimal(mover["change"])) for mover in json.loads(fields.get("movers") or "[]")
                ),
                why=fields.get("why", ""),
                alert_since=moment_of(fields.get("alert_since")),
                by_job_type=_by_job_type(json.loads(fields.get("by_job_type") or "{}")),
                **self._common(fields),
            )

    def totals(self, fields: Fields) -> Totals | None:
        """Return the totals, or None when there are none."""
        if "orgs" not in fields:
            return None
        with Reading("totals", fields):
            return Totals(
                whole_of(fields.get("orgs")),
                whole_of(fields.get("users_active")),
                {band: int(fields[band]) for band in BANDS if fields.get(band)},
                moment_of(fields.get("as_of")),
                fields.get("fence", ""),
                *self._age(moment_of(fields.get("as_of"))),
                _by_group_type(json.loads(fields.get("by_group_type") or "{}")),
            )

    def age(self, until: datetime | None) -> tuple[float | None, bool]:
        """Return how many seconds ago a document made as of *until* was known to hold, and whether that is stale."""
        return self._age(until, self._as_of)

    def _age(self, *moments: datetime | None) -> tuple[float | None, bool]:
        """Return seconds since the latest of *moments*, and whether that is stale."""
        known = [moment.timestamp() for moment in moments if moment is not None]
        if not known:
            return None, True
        age = max(0.0, self._now - max(known))
        return age, age > self._stale_seconds

    def _common(self, fields: Fields) -> dict[str, Any]:
        end, coverage = moment_of(fields.get("window_end")), fields.get("coverage")
        age, stale = self.age(end)
        return {
            "previous": decimal_of(fields.get("previous")),
            "band": fields["band"],
            "coverage": float(coverage) if coverage else None,
            "reasons": tuple(_reason(entry) for entry in json.loads(fields.get("reasons") or "[]")),
            "split": _split(json.loads(fields.get("change") or "{}")),
            "history": tuple(decimal_of(week) for week in json.loads(fields.get("history") or "[]")),
            "trend": decimal_of(fields.get("trend")),
            "peers": fields.get("peers") or None,
            "window_end": end,
            "calibration": whole_of(fields.get("calibration")),
            "fence": fields.get("fence", ""),
            "age_seconds": age,
            "stale": stale,
        }


def latency_of(org: str, fields: Fields) -> LatencyMap | None:
    """Return a latency map, or None when there is none."""
    if "timezone" not in fields:
        return None
    with Reading(f"latency of {org}", fields):
        quantile = fields.get("quantile")
        return LatencyMap(
            org,
            tuple(_cell(name, fields) for name in CELLS),
            fields["timezone"],
            fields.get("period", ""),
            float(quantile) if quantile else None,
            fields.get("fence", ""),
            _cell("all", fields) if "all:n" in fields else None,
            whole_of(fields.get("target_seconds")),
            tuple(json.loads(fields.get("lines") or "[]")),
            tuple(json.loads(fields.get("months") or "[]")),
        )


def alert_of(org: str, fields: Fields) -> Alert | None:
    """Return the last alert of an org, or None when there is none."""
    if "fingerprint" not in fields:
        return None
    with Reading(f"alert of {org}", fields):
        return Alert(
            org,
            fields.get("name") or org,
            fields["kind"],
            fields.get("rule", ""),
            fields["fingerprint"],
            decimal_of(fields.get("score")),
            decimal_of(fields.get("from")),
            moment_of(fields.get("since")),
            moment_of(fields.get("until")),
            fields.get("acknowledged_by") or None,
            moment_of(fields.get("muted_until")),
        )


class Reading:
    """Refuses a newer schema on entering, and names the document when something in it can't be read."""

    def __init__(self, what: str, fields: Fields) -> None:
        self._what, self._schema = what, fields.get("schema", "1")

    def __enter__(self) -> None:
        if not self._schema.isdigit():
            raise UnreadableError(f'{self._what}: schema "{self._schema}"')
        if int(self._schema) > SCHEMA:
            raise NewerSchemaError(f"{self._what} has schema {self._schema}, this reader knows up to {SCHEMA}")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError | KeyError | TypeError | AttributeError | InvalidOperation):
            raise UnreadableError(f"{self._what}: {error!r}") from error


def _cell(name: str, fields: Fields) -> Cell:
    seconds = fields.get(name)
    return Cell(
        name,
        float(seconds) if seconds else None,
        whole_of(fields.get(f"{name}:n")),
        whole_of(fields.get(f"{name}:messages")),
        whole_of(fields.get(f"{name}:answered")),
        float(first) if (first := fields.get(f"{name}:first")) else None,
        whole_of(fields.get(f"{name}:within")),
    )


def moment_of(text: str | None) -> datetime | None:
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _reason(entry: Mapping[str, str]) -> Reason:
    return Reason(
        entry["attribute"], Decimal(entry["points"]), decimal_of(entry.get("of")), decimal_of(entry.get("change"))
    )


def _split(parts: Mapping[str, str]) -> Split | None:
    if not parts:
        return None
    return Split(*(Decimal(parts[cause]) for cause in ("own", "population", "membership", "configuration")))


def _by_job_type(found: Mapping[str, Mapping[str, Any]]) -> dict[str, GroupScore]:
    return {
        job: GroupScore(
            decimal_of(each["score_active"]),
            decimal_of(each["score_licensed"]),
            decimal_of(each["score_median"]),
            int(each["active_users"]),
            int(each["licensed_users"]),
        )
        for job, each in found.items()
    }


def _by_group_type(found: Mapping[str, Mapping[str, Any]]) -> dict[str, GroupTotals]:
    return {
        group: GroupTotals(
            int(each["orgs"]),
            int(each["active_users"]),
            int(each["licensed_users"]),
            decimal_of(each["score_active"]),
            decimal_of(each["score_licensed"]),
        )
        for group, each in found.items()
    }


def decimal_of(text: str | None) -> Decimal | None:
    """Return a figure; None where there is none."""
    return Decimal(text) if text else None


def whole_of(text: str | None) -> int | None:
    return int(text) if text else None
