"""Owns the reading of `weeks` and `scores` for sinks: our own documents, checked all the same.

Invariant: what can't be stored whole is refused, with a reason; nobody else reads these topics, so the letter is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from state.health import BAND_NAMES, Model
from state.week import monday_of, week_number
from streams.reading import Rejected, decoded

_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Percent = Annotated[str, Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]{2}$")]
_SUBJECT = re.compile(r"(user:([^/]+)/(.+)|org:(.+))", re.DOTALL)


_LABEL = re.compile(r"[0-9]{4}-W[0-9]{2}")


class _Week(msgspec.Struct, gc=False):
    """A value of the topic `weeks`."""

    org: str
    week: str
    state: Literal["provisional", "final", "restated"]
    activities: _Whole
    counts: dict[str, _Whole]
    sums: dict[str, _Whole]
    user: str | None = None
    active_users: _Whole | None = None
    transactions_count: _Whole = 0
    transactions_cents: _Whole = 0
    replies: _Whole = 0
    reply_latency_seconds_sum: _Whole = 0
    score: _Percent | None = None
    score_licensed: _Percent | None = None
    score_median: _Percent | None = None
    contributions: dict[str, _Percent] | None = None
    calibration: _Whole | None = None
    attributes: dict[str, _Whole] | None = None


class _Score(msgspec.Struct, gc=False):
    """A value of the topic `scores`, a user's or an org's."""

    score: _Percent | Literal[""] = ""
    score_active: _Percent | Literal[""] = ""
    band: str = ""
    coverage: Annotated[str, Meta(pattern=r"^([01]\.[0-9]{4})?$")] = ""
    window_end: str = ""


class WeekRow(NamedTuple):
    """One calendar week of one subject; `user` empty = the org. Percentages are texts with two decimals."""

    org: str
    user: str
    week: str
    week_start: date
    status: str
    score: str | None
    score_licensed: str | None
    score_median: str | None
    band: str | None
    coverage: str | None
    contributions: dict[str, str] | None
    attributes: dict[str, int] | None
    calibration: int | None
    activities: int
    active_users: int
    transactions_count: int
    transactions_cents: int
    replies: int
    reply_latency_seconds_sum: int
    counts: dict[str, int]
    sums: dict[str, int]


class LiveRow(NamedTuple):
    """The last document of a subject; `user` empty = the org."""

    subject: str
    org: str
    user: str
    window_end: datetime | None
    score: str | None
    band: str | None
    coverage: str | None
    document: bytes


class Key(NamedTuple):
    """Whom and which week a record of `weeks` is about; `user` empty = the org."""

    org: str
    user: str
    week: str

    @property
    def subject(self) -> str:
        """The subject as documents name it."""
        return f"user:{self.org}/{self.user}" if self.user else f"org:{self.org}"


_week, _score = msgspec.json.Decoder(_Week), msgspec.json.Decoder(_Score)


def subject_of_key(key: str) -> tuple[str, str]:
    """Return (org, user) of a subject; user empty = the org itself.

    Raises:
        Rejected: bad_id.

    >>> subject_of_key("user:acme/ann/1"), subject_of_key("org:acme")
    (('acme', 'ann/1'), ('acme', ''))
    """
    match = _SUBJECT.fullmatch(key)
    if match is None:
        raise Rejected("bad_id", f"the key {key[:80]!r} is no subject")
    return (match[4], "") if match[4] is not None else (match[2], match[3])


def week_key(key: bytes | None) -> Key:
    """Return what the key of a record of `weeks` says.

    Raises:
        Rejected: bad_id or bad_time.
    """
    subject, _, week = _text(key).rpartition("|")
    _monday(week)
    return Key(*subject_of_key(subject), week)


class Judge:
    """Says what a week's score and data amount to, by one model."""

    def __init__(self, model: Model) -> None:
        self._bands = model.bands
        self._weights = {each.name: each.weight for each in model.attributes}
        self._whole = sum(self._weights.values())

    def band(self, score: str | None) -> str | None:
        """Return the band of a week's score: by the edges alone, since a closed week has no band to leave."""
        if score is None:
            return None
        points = int(score.replace(".", ""))
        return BAND_NAMES[(points >= self._bands.at_risk) + (points >= self._bands.healthy)]

    def coverage(self, attributes: Mapping[str, int] | None) -> str | None:
        """Return the share of the model's weight that had data; None where the week was scored by another model."""
        if attributes is None or not attributes.keys() <= self._weights.keys():
            return None
        share = sum([self._weights[name] for name in attributes]) * 10_000 // self._whole
        return f"{share / 10_000:.4f}"


def read_week(key: Key, value: bytes, judge: Judge) -> WeekRow:
    """Return the row in *value*; *judge* says its band and coverage.

    Raises:
        Rejected: If it can't be read, or is about something else than its key says.
    """
    found = decoded(_week, value)
    if Key(found.org, found.user or "", found.week) != key:
        raise Rejected("bad_id", "key and value are about different subjects or weeks")
    seats = None if key.user else _seats(found.score, found.score_licensed)
    coverage = judge.coverage(found.attributes) if key.user else seats
    return WeekRow(
        key.org, key.user, key.week, _monday(key.week), found.state, found.score, found.score_licensed,
        found.score_median, judge.band(found.score), coverage, found.contributions, found.attributes,
        found.calibration, found.activities, found.active_users or 0, found.transactions_count,
        found.transactions_cents, found.replies, found.reply_latency_seconds_sum, found.counts, found.sums,
    )  # fmt: skip


def read_score(key: bytes | None, value: bytes) -> LiveRow:
    """Return the row in *value*.

    Raises:
        Rejected: If it can't be read.
    """
    subject = _text(key)
    org, user = subject_of_key(subject)
    found = decoded(_score, value)
    try:
        moment = datetime.fromisoformat(found.window_end) if found.window_end else None
    except ValueError:
        raise Rejected("bad_time", f"`window_end` is no time: {found.window_end[:40]!r}") from None
    score = found.score if user else found.score_active
    return LiveRow(subject, org, user, moment, score or None, found.band or None, found.coverage or None, value)


def subject_key(key: bytes | None) -> str:
    """Return the subject that a record of `scores` is about.

    Raises:
        Rejected: bad_id.
    """
    subject = _text(key)
    subject_of_key(subject)
    return subject


def _seats(active: str | None, licensed: str | None) -> str | None:
    """Return the share of seats that were active: the means over both have the same sum above them."""
    if active is None or licensed is None or float(active) <= 0:
        return None
    return f"{min(float(licensed) / float(active), 1):.4f}"


def _monday(label: str) -> date:
    try:
        if not _LABEL.fullmatch(label):
            raise ValueError(label)
        return monday_of(week_number(label))
    except (ValueError, OverflowError):
        raise Rejected("bad_time", f"{label[:40]!r} is no week") from None


def _text(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        raise Rejected("bad_id", "the key is no text") from None
