"""Reads the chunks of each topic for PostgreSQL: records become changes of tables.

Owns which topic leads to which tables, and what becomes of what can't be read: what the workers refuse is skipped (it
is in their dead letters), anything else is a letter of ours. Invariant: a change carries the fence of its record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from agents.sinks.pg_store import Change
from agents.sinks.pg_tables import (
    APP_USER,
    COMPANY_SCORE,
    IDENTITY_LINK,
    LIVE_SCORE,
    ORG,
    PRODUCT_EVENT,
    USER_SCORE,
    Table,
)
from agents.sinks.place import fence_of
from agents.sinks.read_event import read_event
from agents.sinks.read_people import UserRow, claims_after, read_link, read_org, read_user
from agents.sinks.read_week import Judge, WeekRow, read_score, read_week, subject_key, week_key
from agents.sinks.safe_text import fit_json
from state.health import Model
from streams.read_directory import DirectoryLimits
from streams.reading import Reader, Rejected
from streams.suppression import Suppression


@dataclass
class Taken:
    """What the records of a chunk lead to: changes in their order, letters, messages by outcome."""

    changes: list[Change] = field(default_factory=list)
    letters: list[tuple[Any, Rejected]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Intake(Protocol):
    """Reads one topic; `tables` are all that it leads to."""

    @property
    def tables(self) -> Sequence[Table]: ...

    def take(self, records: Sequence[Any], partition: int, epoch: int) -> Taken:
        """Return what *records* lead to."""


class Weeks:
    """History: `weeks`."""

    tables = (USER_SCORE, COMPANY_SCORE)

    def __init__(self, model: Model) -> None:
        self._judge = Judge(model)

    def take(self, records: Sequence[Any], partition: int, epoch: int) -> Taken:
        """Return what *records* lead to."""
        taken = Taken()
        for record in records:
            fence = fence_of(epoch, record.offset)
            try:
                key = week_key(record.key)
                row = None if record.value is None else read_week(key, record.value, self._judge)
            except Rejected as error:
                taken.letters.append((record, error))
                continue
            table = USER_SCORE if key.user else COMPANY_SCORE
            place = tuple(key) if key.user else (key.org, key.week)
            taken.changes.append(Change(table, place, None if row is None else week_columns(row, fence), fence))
        taken.counts["taken"] = len(taken.changes)
        return taken


def week_columns(row: WeekRow, fence: int) -> tuple[Any, ...]:
    """Return a week as its table has it."""
    points = None if row.contributions is None else _points(row.contributions)
    rest = (
        row.status, row.score, row.band, row.coverage, points, row.calibration, row.activities,
        row.transactions_count, row.transactions_cents, row.replies, row.reply_latency_seconds_sum,
        orjson.dumps(row.counts).decode(), orjson.dumps(row.sums).decode(), fence,
    )  # fmt: skip
    if row.user:
        attributes = None if row.attributes is None else orjson.dumps(row.attributes).decode()
        return (row.org, row.user, row.week, row.week_start, attributes, *rest)
    return (
        row.org, row.week, row.week_start, row.score_licensed, row.score_median, row.active_users, *rest
    )  # fmt: skip


def _points(contributions: dict[str, str]) -> str:
    """Return contributions as JSON with exact numbers."""
    return orjson.dumps({name: orjson.Fragment(points.encode()) for name, points in contributions.items()}).decode()


class Scores:
    """What is shown live: `scores`."""

    tables = (LIVE_SCORE,)

    def take(self, records: Sequence[Any], partition: int, epoch: int) -> Taken:
        """Return what *records* lead to."""
        taken = Taken()
        for record in records:
            fence, row = fence_of(epoch, record.offset), None
            try:
                subject = subject_key(record.key)
                if record.value is not None:
                    found = read_score(record.key, record.value)
                    row = (
                        subject, found.org, found.user or None, found.window_end, found.score, found.band,
                        found.coverage, fit_json(found.document)[0], fence,
                    )  # fmt: skip
            except Rejected as error:
                taken.letters.append((record, error))
                continue
            taken.changes.append(Change(LIVE_SCORE, (subject,), row, fence))
        taken.counts["taken"] = len(taken.changes)
        return taken


class Events:
    """What people did: `product-events`."""

    tables = (PRODUCT_EVENT,)

    def __init__(
        self, reader: Reader, max_value_bytes: int, max_ahead_ms: int, suppressed: Suppression | None = None,
        *, covered: bool = False,
    ) -> None:  # fmt: skip
        """Prepare; *covered* leaves out the properties of events, which may name people."""
        self._reader, self._max_value_bytes, self._max_ahead_ms = reader, max_value_bytes, max_ahead_ms
        self._suppressed, self._covered = suppressed if suppressed is not None else Suppression(None), covered

    def take(self, records: Sequence[Any], partition: int, epoch: int) -> Taken:
        """Return what *records* lead to."""
        taken = Taken()
        for record in records:
            try:
                row = read_event(record, self._reader, self._max_value_bytes, self._max_ahead_ms)
            except Rejected:
                row = None  # the workers have a letter of it
            if row is None or (self._suppressed and self._suppressed.has(row.alias)):
                taken.counts["skipped"] += 1
                continue
            if self._covered:
                row = row._replace(properties=None)
            fence = fence_of(epoch, record.offset)
            taken.counts["mended" if row.mended else "taken"] += 1
            taken.changes.append(Change(PRODUCT_EVENT, (row.event_id,), (*row[:-1], partition, fence), fence))
        return taken


class Users:
    """The directory of users."""

    tables = (APP_USER,)

    def __init__(self, limits: DirectoryLimits, suppressed: Suppression | None = None) -> None:
        self._limits = limits
        self._suppressed = suppressed if suppressed is not None else Suppression(None)

    def take(self, records: Sequence[Any], partition: int, epoch: int) -> Taken:
        """Return what *records* lead to."""
        taken = Taken()
        known: dict[str, UserRow | None] = {}
        gone: set[str] = set()
        for record in records:
            fence = fence_of(epoch, record.offset)
            try:
                user, row, aliases = read_user(record, self._limits)
            except Rejected:
                taken.counts["skipped"] += 1
                continue
            if row is not None and self._suppressed.has_any([user, *aliases]):
                taken.counts["skipped"] += 1  # its end follows: the workers write it
                continue
            if row is None:
                gone.add(user)
            else:
                row = row._replace(claims=claims_after(aliases, known.get(user), user in gone, record.timestamp))
            known[user] = row
            claims = [(user, *claim) for claim in row.claims] if row else []
            columns = None if row is None else (*row[:-1], fence)
            taken.changes.append(Change(APP_USER, (user,), columns, fence, claims))
        taken.counts["taken"] = len(taken.changes)
        return taken


class Orgs:
    """The directory of orgs."""

    tables = (ORG,)

    def __init__(self, limits: DirectoryLimits) -> None:
        self._limits = limits

    def take(self, records: Sequence[Any], partition: int, epoch: int) -> Taken:
        """Return what *records* lead to."""
        return _plainly(ORG, records, epoch, lambda record: read_org(record, self._limits))


class Links:
    """What operators and events said of aliases: `identities`."""

    tables = (IDENTITY_LINK,)

    def __init__(self, limits: DirectoryLimits) -> None:
        self._limits = limits

    def take(self, records: Sequence[Any], partition: int, epoch: int) -> Taken:
        """Return what *records* lead to."""
        return _plainly(IDENTITY_LINK, records, epoch, lambda record: read_link(record, self._limits))


def _plainly(table: Table, records: Sequence[Any], epoch: int, read: Any) -> Taken:
    """Return what *records* lead to whose columns are what *read* makes of them."""
    taken = Taken()
    for record in records:
        fence = fence_of(epoch, record.offset)
        try:
            name, row = read(record)
        except Rejected:
            taken.counts["skipped"] += 1
            continue
        taken.changes.append(Change(table, (name,), None if row is None else (*row, fence), fence))
    taken.counts["taken"] = len(taken.changes)
    return taken
