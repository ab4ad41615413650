"""Turns effects into documents: for the topics `scores`, `weeks` and for Redis.

Owns the spelling of everything that leaves orgpulse. Scores are percentages
with two decimals; a basis point is exactly 0.01. Invariant: the document in
Kafka and the hash in Redis say the same.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from state.change import CAUSES
from state.effects import (
    CellFigures,
    Gone,
    GroupScore,
    GroupTotal,
    LatencyMap,
    LatencyMonth,
    OrgScore,
    UserScore,
    WeekRow,
)
from state.health import Model
from state.week import cell_name, iso_time
from streams.fenced_write import Write
from streams.topic_specs import TopicNames
from streams.transactions import Outgoing

SCHEMA = "1"
TOTALS_KEY = "totals"
_BAND_RANK = {"at_risk": 0, "watch": 1, "healthy": 2}


@lru_cache(maxsize=1 << 16)
def percent(basis_points: int | None) -> str:
    """Return basis points as a percentage with two decimals; None as the empty string.

    >>> percent(6341), percent(-5), percent(None)
    ('63.41', '-0.05', '')
    """
    if basis_points is None:
        return ""
    sign, size = ("-", -basis_points) if basis_points < 0 else ("", basis_points)
    return f"{sign}{size // 100}.{size % 100:02d}"


def fence_of(generation: int, position: int) -> str:
    """Return the fence of a log position; as text it sorts like the position.

    >>> fence_of(0, 123)
    '0000.000000000000123'
    """
    return f"{generation:04d}.{position:015d}"


class _Reasons(dict[tuple[int, int | None], str]):
    """What one attribute gave and how that changed (basis points, None = not known) → its entry, as JSON.

    There are thousands a second, few different ones, and the names need no escaping but once.
    """

    MOST = 3_000

    def __init__(self, name: str, most: str) -> None:
        self._head = f'{{"attribute":{orjson.dumps(name).decode()},"points":"'
        self._tail = f'","of":"{most}'

    def __missing__(self, moved: tuple[int, int | None]) -> str:
        if len(self) >= self.MOST:
            self.clear()
        points, change = moved
        text = f"{self._head}{percent(points)}{self._tail}"
        self[moved] = text = text + ('"}' if change is None else f'","change":"{percent(change)}"}}')
        return text


class Documents:
    """Spells effects of one model."""

    def __init__(self, model: Model, topics: TopicNames, generation: int, min_count: int) -> None:
        self.topics, self._generation, self._min_count = topics, generation, min_count
        weights = sum(a.weight for a in model.attributes)
        self._attributes = [a.name for a in model.attributes]
        self._reason = [_Reasons(a.name, percent(a.weight * 10_000 // weights)) for a in model.attributes]
        self._fence = (-1, "")

    def user(self, found: UserScore, position: int, partition: int) -> tuple[Outgoing, Write]:
        """Return a user's document for Kafka and for Redis."""
        fields = {
            "score": percent(found.score),
            "previous": percent(found.previous),
            "band": found.band,
            "coverage": f"{found.coverage / 10_000:.4f}",
            "reasons": self._reasons(found.contributions, found.changes),
            "window_end": iso_time(found.window_end_ms),
            "calibration": str(found.calibration),
            "first_week": "1" if found.first_week else "0",
            "peers": found.peers,
            **_past(found),
            "schema": SCHEMA,
        }
        subject = f"user:{found.org}/{found.user}"
        change = _change(subject, found.former_band, found.band, found.score, found.previous)
        ranks = ((f"org:{{{found.org}}}:users:by-score", found.user, found.score / 100),)
        return self._both(subject, f"user:{{{found.org}}}:{found.user}", fields, ranks, change, position, partition)

    def org(self, found: OrgScore, position: int, partition: int) -> tuple[Outgoing, Write]:
        """Return an org's document for Kafka and for Redis."""
        seats = found.licensed_users
        fields = {
            "name": found.name,
            "group_type": found.group_type,
            "score_active": percent(found.score_active),
            "score_licensed": percent(found.score_licensed),
            "score_median": percent(found.score_median),
            "previous": percent(found.previous),
            "band": found.band,
            "active_users": str(found.active_users),
            "licensed_users": str(seats),
            "coverage": f"{min(found.active_users / seats, 1):.4f}" if seats else "",
            "activities": str(found.activities),
            "transactions_count": str(found.transactions_count),
            "transactions_cents": str(found.transactions_cents),
            "reasons": self._reasons(found.contributions, found.changes),
            "window_end": iso_time(found.window_end_ms),
            "calibration": str(found.calibration),
            **_past(found),
            "movers": _movers(found),
            "why": _why(found),
            "alert_since": iso_time(found.alert_since_ms) if found.alert_since_ms else "",
            "schema": SCHEMA,
        }
        if found.peers:
            fields["peers"] = found.peers
        if found.by_job_type:
            fields["by_job_type"] = _by_job_type(found.by_job_type)
        subject = f"org:{found.org}"
        score = found.score_active
        change = None if score is None else _change(subject, found.former_band, found.band, score, found.previous)
        ranks = (("orgs:by-score", found.org, None if score is None else score / 100),)
        return self._both(subject, f"org:{{{found.org}}}", fields, ranks, change, position, partition)

    def gone(self, found: Gone, position: int, partition: int) -> tuple[Outgoing, Write]:
        """Return the end of the document of a user of whom nothing is left."""
        ranks = ((f"org:{{{found.org}}}:users:by-score", found.user, None),)
        write = Write(f"user:{{{found.org}}}:{found.user}", {}, self.fence(position), ranks, None, partition)
        return Outgoing(self.topics.scores, partition, f"user:{found.org}/{found.user}".encode(), None), write

    def again(self, found: UserScore | OrgScore, position: int, partition: int) -> Write:
        """Return the write of a document that was said before: no change of its own, but the ones that Redis may lack.

        Whether it lacks one is seen there only: a worker that died may have told it or not.
        """
        if isinstance(found, UserScore):
            write = self.user(found, position, partition)[1]
        else:
            write = self.org(found, position, partition)[1]
        return msgspec.structs.replace(write, change=None, missed=self.missed(found))

    def missed(self, found: UserScore | OrgScore) -> dict[str, dict[str, str]] | None:
        """Return, by the band that Redis may show still, the entry for `changes` that it then lacks."""
        if isinstance(found, UserScore):
            subject, score = f"user:{found.org}/{found.user}", found.score
        else:
            subject, score = f"org:{found.org}", found.score_active or 0
        formers = [former for former in _BAND_RANK if found.band and former != found.band]
        return {former: _change(subject, former, found.band, score, found.previous) or {} for former in formers} or None

    def fence(self, position: int) -> str:
        """Return the fence of a log position in this generation."""
        if self._fence[0] != position:  # a tick's documents all have the same
            self._fence = (position, fence_of(self._generation, position))
        return self._fence[1]

    def latency(self, found: LatencyMap, position: int, partition: int) -> Write:
        """Return an org's hour-of-week map for Redis; cells below the minimum count have no figure."""
        fields = {
            "timezone": found.timezone,
            "period": found.period,
            "quantile": str(found.quantile),
            "target_seconds": str(found.target_ms // 1000),
            "lines": orjson.dumps(found.lines).decode(),
            "months": orjson.dumps(found.months).decode(),
            **self._cell("all", found.whole),
        }
        for hour, cell in found.cells.items():
            fields |= self._cell(cell_name(hour), cell)
        return self._write(f"latency:{{{found.org}}}", fields, (), None, position, partition)

    def _cell(self, name: str, cell: CellFigures) -> dict[str, str]:
        """Return the fields of an hour of the week."""
        latency_ms, replies, messages, answered, first_ms, within = cell
        fields = {
            f"{name}:n": str(replies),
            f"{name}:messages": str(messages),
            f"{name}:answered": str(answered),
            f"{name}:within": str(within),
        }
        if latency_ms is not None and replies >= self._min_count:
            fields[name] = f"{latency_ms / 1000:.3f}"
        if first_ms is not None and replies >= self._min_count:
            fields[f"{name}:first"] = f"{first_ms / 1000:.3f}"
        return fields

    def latency_month(self, found: LatencyMonth, position: int, partition: int) -> Write:
        """Return one month of an org's lines for Redis; without any line it is the document's end."""
        fields = {line: b64encode(raw).decode() for line, raw in found.lines.items()}
        key = f"latency:{{{found.org}}}:{found.month}"
        if not fields:
            return Write(key, {}, self.fence(position), (), None, partition)
        return self._write(key, fields, (), None, position, partition)

    def totals(
        self,
        found: Mapping[str, int],
        as_of_ms: int | None,
        position: int,
        by_group_type: Mapping[str, GroupTotal] | None = None,
    ) -> Write:
        """Return the totals over all partitions for Redis; they had counted up to *as_of_ms* (None = not known)."""
        fields = {k: str(v) for k, v in found.items()}
        if as_of_ms is not None:
            fields["as_of"] = iso_time(as_of_ms)
        if by_group_type:
            fields["by_group_type"] = _by_group_type(by_group_type)
        return self._write(TOTALS_KEY, fields, (), None, position, -1)

    def week(self, found: WeekRow, partition: int) -> Outgoing:
        """Return one calendar week of one subject for Kafka."""
        subject = f"user:{found.org}/{found.user}" if found.user else f"org:{found.org}"
        row: dict[str, Any] = {
            "subject": subject,
            "org": found.org,
            "user": found.user or None,
            "week": found.week,
            "state": found.state,
            "activities": found.activities,
            "active_users": found.active_users,
            "transactions_count": found.counts.get("transaction", 0),
            "transactions_cents": found.sums.get("transaction", 0),
            "replies": found.counts.get("reply_given", 0),
            "reply_latency_seconds_sum": found.sums.get("reply_given", 0),
            "counts": found.counts,
            "sums": found.sums,
            "score": _percent_or_null(found.score),
            "score_licensed": _percent_or_null(found.score_licensed),
            "score_median": _percent_or_null(found.score_median),
            "contributions": None
            if found.contributions is None
            else {name: percent(points) for name, points in found.contributions.items()},
            "calibration": found.calibration,
            "attributes": None
            if found.attributes is None
            else {n: v for n, v in zip(self._attributes, found.attributes, strict=False) if v is not None},
        }
        return Outgoing(self.topics.weeks, partition, f"{subject}|{found.week}".encode(), orjson.dumps(row))

    def _reasons(self, contributions: list[int], changes: list[int] | None) -> str:
        """Return the attributes that gave points or changed, as JSON; points add up to the score."""
        moves = [None] * len(contributions) if changes is None else changes
        rows = zip(self._reason, zip(contributions, moves, strict=True), strict=True)
        return "[" + ",".join([reasons[moved] for reasons, moved in rows if moved[0] or moved[1]]) + "]"

    def _both(
        self,
        subject: str,
        key: str,
        fields: dict[str, str],
        ranks: tuple[tuple[str, str, float | None], ...],
        change: dict[str, str] | None,
        position: int,
        partition: int,
    ) -> tuple[Outgoing, Write]:
        write = self._write(key, fields, ranks, change, position, partition)
        document = b'{"subject":' + orjson.dumps(subject) + b"," + orjson.dumps(write.fields)[1:]
        return Outgoing(self.topics.scores, partition, subject.encode(), document), write

    def _write(
        self,
        key: str,
        fields: dict[str, str],
        ranks: tuple[tuple[str, str, float | None], ...],
        change: dict[str, str] | None,
        position: int,
        partition: int,
    ) -> Write:
        fields["fence"] = fence = self.fence(position)
        return Write(key, fields, fence, ranks, change, partition)


def _past(found: UserScore | OrgScore) -> dict[str, str]:
    """Return what a score has come from: its change by cause, its last weeks (oldest first, null = none), its trend.

    Put together as text, like the reasons.
    """
    return {
        "change": _split(tuple(found.split or ())),
        "history": _weeks(tuple(found.recent)),
        "trend": percent(found.trend),
    }


@lru_cache(maxsize=1 << 13)
def _split(parts: tuple[int, ...]) -> str:
    """Return the parts of a change as JSON; most users have one part, and few different ones."""
    causes = zip(CAUSES, parts, strict=False)
    return "{" + ",".join([f'"{cause}":"{percent(part)}"' for cause, part in causes]) + "}"


@lru_cache(maxsize=1 << 14)
def _weeks(scores: tuple[int, ...]) -> str:
    """Return closing scores as JSON; a subject's are the same for a week."""
    return "[" + ",".join(["null" if score < 0 else f'"{percent(score)}"' for score in scores]) + "]"


def _why(found: OrgScore) -> str:
    """Return why an org scores nothing or has no score; empty when somebody is active."""
    if found.active_users:
        return ""
    return "only idle seats" if found.licensed_users else "nobody licensed or active"


def _movers(found: OrgScore) -> str:
    return orjson.dumps([{"user": user, "change": percent(effect)} for user, effect in found.movers]).decode()


def _by_job_type(found: Mapping[str, GroupScore]) -> str:
    """Return scores by job type as JSON; null = no such score."""
    return orjson.dumps(
        {
            job: {
                "score_active": _percent_or_null(each.score_active),
                "score_licensed": _percent_or_null(each.score_licensed),
                "score_median": _percent_or_null(each.score_median),
                "active_users": each.active_users,
                "licensed_users": each.licensed_users,
            }
            for job, each in found.items()
        }
    ).decode()


def _by_group_type(found: Mapping[str, GroupTotal]) -> str:
    """Return figures by group type as JSON; means are rounded down, null = nobody to take one of."""
    return orjson.dumps(
        {
            group: {
                "orgs": each.orgs,
                "active_users": each.active_users,
                "licensed_users": each.licensed_users,
                "score_active": _percent_or_null(_mean(each.active_points, each.active_users)),
                "score_licensed": _percent_or_null(_mean(each.licensed_points, each.licensed_users)),
            }
            for group, each in found.items()
        }
    ).decode()


def _mean(points: int, users: int) -> int | None:
    return points // users if users else None


def _percent_or_null(basis_points: int | None) -> str | None:
    return None if basis_points is None else percent(basis_points)


def _change(subject: str, former: str, band: str, score: int, previous: int | None) -> dict[str, str] | None:
    """Return the entry for the `changes` stream when the band changed."""
    if not former or former == band:
        return None
    cause = "drop" if _BAND_RANK[band] < _BAND_RANK[former] else "rise"
    return {
        "subject": subject,
        "from": former,
        "to": band,
        "score": percent(score),
        "previous": percent(previous),
        "cause": cause,
    }
