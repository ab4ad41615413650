"""Documents of the topics `weeks`, `scores` and `alerts` as typed rows.

Invariant: nothing is rounded or filled: cents, seconds and counts are whole numbers as they were told, scores the two
decimals they were told with, and what was not told is null.

    weeks     one row per subject and calendar week, its last word: state is provisional, final or restated
    scores    one row per subject, as of `window_end`
    alerts    one row per record: an episode that began or ended, or what somebody noted of it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec
import pyarrow as pa

from state.week import monday_of, week_label, week_number, week_of_day

Row = dict[str, Any]

_TIME = pa.timestamp("ms", tz="UTC")
_COUNTS, _POINTS = pa.map_(pa.string(), pa.int64()), pa.map_(pa.string(), pa.float64())
_REASONS = pa.list_(
    pa.struct([("attribute", pa.string()), ("points", pa.float64()), ("of", pa.float64()), ("change", pa.float64())])
)
_MOVERS = pa.list_(pa.struct([("user", pa.string()), ("change", pa.float64())]))
_HISTORY = pa.list_(pa.float64())

WEEKS: Final = pa.schema([
    ("subject", pa.string()), ("org", pa.string()), ("user", pa.string()), ("week", pa.string()),
    ("week_start", pa.date32()), ("state", pa.string()), ("activities", pa.int64()), ("active_users", pa.int64()),
    ("transactions_count", pa.int64()), ("transactions_cents", pa.int64()), ("replies", pa.int64()),
    ("reply_latency_seconds_sum", pa.int64()), ("score", pa.float64()), ("score_licensed", pa.float64()),
    ("score_median", pa.float64()), ("calibration", pa.int64()), ("counts", _COUNTS), ("sums", _COUNTS),
    ("contributions", _POINTS), ("attributes", _COUNTS),
])  # fmt: skip
SCORES: Final = pa.schema([
    ("subject", pa.string()), ("org", pa.string()), ("user", pa.string()), ("week", pa.string()),
    ("window_end", _TIME), ("name", pa.string()), ("group_type", pa.string()), ("band", pa.string()),
    ("score", pa.float64()), ("score_licensed", pa.float64()), ("score_median", pa.float64()),
    ("previous", pa.float64()), ("trend", pa.float64()), ("coverage", pa.float64()), ("first_week", pa.bool_()),
    ("active_users", pa.int64()), ("licensed_users", pa.int64()), ("activities", pa.int64()),
    ("transactions_count", pa.int64()), ("transactions_cents", pa.int64()), ("calibration", pa.int64()),
    ("peers", pa.string()), ("why", pa.string()), ("alert_since", _TIME), ("fence", pa.string()),
    ("change", _POINTS), ("history", _HISTORY), ("reasons", _REASONS), ("movers", _MOVERS),
    ("by_job_type", pa.string()),
])  # fmt: skip
ALERTS: Final = pa.schema([
    ("org", pa.string()), ("name", pa.string()), ("week", pa.string()), ("kind", pa.string()), ("rule", pa.string()),
    ("fingerprint", pa.string()), ("since", _TIME), ("until", _TIME), ("from", pa.float64()), ("score", pa.float64()),
    ("needed", pa.float64()), ("acknowledged_by", pa.string()), ("muted_until", _TIME), ("causes", _REASONS),
    ("change", _POINTS), ("history", _HISTORY), ("movers", _MOVERS), ("partition", pa.int32()),
    ("offset", pa.int64()),
])  # fmt: skip

WIDE: Final = {"counts": "count_", "sums": "sum_", "contributions": "contribution_", "attributes": "attribute_"}
"""Columns that `--wide` spreads, and what the names of their parts begin with."""


class NotReadableError(ValueError):
    """A record is no document of its topic."""


@dataclass(frozen=True)
class Span:
    """Calendar weeks, first and last ones included; None = without an end."""

    first: int | None = None
    last: int | None = None

    def holds(self, week: int) -> bool:
        """Say whether a week is in it."""
        return (self.first is None or week >= self.first) and (self.last is None or week <= self.last)


def parse_week(text: str) -> int:
    """Return the number of an ISO week, or of the week that a day belongs to.

    Raises:
        ValueError: If it is neither.

    >>> parse_week("2024-W02") == parse_week("2024-01-14")
    True
    """
    return week_number(text.upper()) if "W" in text.upper() else week_of_day(date.fromisoformat(text))


def subject_of(key: bytes) -> tuple[str, str]:
    """Return org and user (empty = the org itself) of a subject.

    >>> subject_of(b"user:acme/ann/x"), subject_of(b"org:acme")
    (('acme', 'ann/x'), ('acme', ''))
    """
    kind, _, rest = key.decode("utf-8", "replace").partition(":")
    org, _, user = rest.partition("/")
    return (org, user) if kind == "user" else (rest, "")


def week_in_key(key: bytes) -> int | None:
    """Return the week of a key of the topic `weeks`; None = it names none."""
    try:
        return week_number(key.rpartition(b"|")[2].decode())
    except ValueError:
        return None


def week_row(value: bytes) -> Row:
    """Return a week's row.

    Raises:
        NotReadableError: If it is none.
    """
    return _read(value, lambda told: {
        **{name: told.get(name) for name in WEEKS.names},
        "week_start": monday_of(week_number(told["week"])),
        **{name: _number(told.get(name)) for name in ("score", "score_licensed", "score_median")},
        "contributions": _points(told.get("contributions")),
    })  # fmt: skip


def score_row(value: bytes) -> Row:
    """Return a score's row; an org's `score` is the mean over its active users.

    Raises:
        NotReadableError: If it is none.
    """
    return _read(value, _score)


def _score(told: Row) -> Row:
    org, user = subject_of(told["subject"].encode())
    end = _time(told["window_end"])
    if end is None:
        raise ValueError("no window_end")
    found: Row = {name: _text(told.get(name)) for name in SCORES.names if SCORES.field(name).type == pa.string()}
    found |= {
        name: _number(told.get(name)) for name in ("score_licensed", "score_median", "previous", "trend", "coverage")
    }
    found |= {
        name: _whole(told.get(name))
        for name in ("active_users", "licensed_users", "activities", "transactions_count", "transactions_cents",
                     "calibration")
    }  # fmt: skip
    return found | {
        "org": org, "user": user or None, "window_end": end, "week": week_label(_week_of(end)),
        "score": _number(told.get("score") if user else told.get("score_active")),
        "first_week": told["first_week"] == "1" if "first_week" in told else None,
        "alert_since": _time(told.get("alert_since")),
        "change": _points(_json(told.get("change"))),
        "history": _scores(_json(told.get("history"))),
        "reasons": _reasons(_json(told.get("reasons"))),
        "movers": _movers(_json(told.get("movers"))),
    }  # fmt: skip


def alert_row(value: bytes, partition: int, offset: int) -> Row:
    """Return an alert's row; `week` is the one in which the episode began.

    Raises:
        NotReadableError: If it is none.
    """

    def read(told: Row) -> Row:
        since = _time(told["since"])
        if since is None:
            raise ValueError("no since")
        return {
            **{name: _text(told.get(name)) for name in ALERTS.names if ALERTS.field(name).type == pa.string()},
            "week": week_label(_week_of(since)), "since": since, "until": _time(told.get("until")),
            **{name: _number(told.get(name)) for name in ("from", "score", "needed")},
            "muted_until": _time(told.get("muted_until")),
            "causes": _reasons(told.get("causes")), "change": _points(told.get("change")),
            "history": _scores(told.get("history")), "movers": _movers(told.get("movers")),
            "partition": partition, "offset": offset,
        }  # fmt: skip

    return _read(value, read)


def widened(schema: pa.Schema, names: Mapping[str, set[str]]) -> pa.Schema:
    """Return a schema with a column for each of *names* (by column) in the place of the maps of `WIDE`."""
    fields = []
    for field in schema:
        if field.name in names:
            fields += [(WIDE[field.name] + name, field.type.item_type) for name in sorted(names[field.name])]
        else:
            fields.append((field.name, field.type))
    return pa.schema(fields)


def wide_row(row: Row) -> Row:
    """Return a row with its maps spread over columns."""
    found = {name: value for name, value in row.items() if name not in WIDE}
    for column, prefix in WIDE.items():
        found |= {prefix + name: value for name, value in (row[column] or {}).items()}
    return found


def _read(value: bytes, read: Callable[[Row], Row]) -> Row:
    try:
        told = msgspec.json.decode(value)
        if not isinstance(told, dict):
            raise NotReadableError("it is no object")
        return read(told)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotReadableError(f"{type(error).__name__}: {error}") from None


def _week_of(moment: datetime) -> int:
    return week_of_day(moment.astimezone(UTC).date())


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


def _whole(value: Any) -> int | None:
    return None if value in (None, "") else int(value)


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _json(value: str | None) -> Any:
    return msgspec.json.decode(value.encode()) if value else None


def _points(value: Mapping[str, Any] | None) -> dict[str, float] | None:
    return None if value is None else {name: float(points) for name, points in value.items()}


def _scores(value: list[Any] | None) -> list[float | None] | None:
    return None if value is None else [_number(score) for score in value]


def _reasons(value: list[Row] | None) -> list[Row] | None:
    return None if value is None else [
        {"attribute": each["attribute"], **{name: _number(each.get(name)) for name in ("points", "of", "change")}}
        for each in value
    ]  # fmt: skip


def _movers(value: list[Row] | None) -> list[Row] | None:
    return None if value is None else [{"user": each["user"], "change": _number(each["change"])} for each in value]
