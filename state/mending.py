"""What has to be corrected when it turns out that activities are somebody else's: a replay of the retained log.

Owns the comparison of what an org's activities were counted as with what they should be. Both are worked out from the
log alone, with the corrections that are in it already; so doing it again gives nothing, and whatever came in
between is seen the next time. Invariant: a correction is *should be* less *is*, row by row.

    log of a partition ─► Scan ─► accepted activities of the orgs concerned, and former corrections
                                       │ as they came           │ as they should have come
                                       ▼                        ▼
                                   replies matched          replies matched
                                       └──────── difference ────┘──► Correction, one or more for each org
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from state.activity import SEPARATOR, Columns, Correction, Org, Record, Row, Rows, Tick, origin_of, unpack
from state.conversation import Conversation
from state.dedupe import Dedupe
from state.limits import Limits
from state.measures import Catalogue
from state.week import HOUR_MS

MAX_ITEMS = 10_000
"""Rows, latencies and the like that one record holds; more take more records."""

Right = Callable[[str, int, str], tuple[str, str] | None]
"""Of a subject as `Rows` spell it, a time (ms) and a source: the org and user it is today; None = nobody."""
Act = tuple[str, str, int, int]
"""User, measure, time (ms), amount: what is counted of an org."""


@dataclass(slots=True)
class Batch:
    """Accepted activities of one org from one record; `columns.subject` is a place in `origins`."""

    source: str
    origins: list[str]
    measures: list[str]
    columns: Columns
    floor_ms: int
    watermark_ms: int


@dataclass(slots=True)
class OrgLog:
    """What a partition's log tells of one org, in its order."""

    org: str
    zone: str = "UTC"
    known_from_ms: int = 0
    entries: list[Batch | Correction] = field(default_factory=list)

    @property
    def batches(self) -> list[Batch]:
        """The activities."""
        return [entry for entry in self.entries if isinstance(entry, Batch)]

    @property
    def corrections(self) -> list[Correction]:
        """What was corrected already."""
        return [entry for entry in self.entries if isinstance(entry, Correction)]


class Scan:
    """Reads one partition's log and keeps what was accepted of *orgs*, as their shard did."""

    def __init__(self, orgs: Iterable[str], limits: Limits, *, complete: bool) -> None:
        """Begin; *complete* = the log reaches back to its first record."""
        self.logs = {org: OrgLog(org) for org in orgs}
        self._dedupe = Dedupe(limits.allowed_lateness_hours, limits.max_ids)
        self._watermark_ms, self._complete = 0, complete

    def take(self, record: Record) -> None:
        """Take in the next record."""
        match record:
            case Rows():
                self._take_rows(record)
            case Tick():
                if record.time_ms and self._watermark_ms:
                    self._advance(record.time_ms)
            case Org() if record.org in self.logs and not record.gone:
                self.logs[record.org].zone = record.timezone or "UTC"
            case Correction():
                self._dedupe.learn(
                    np.array([id_ for id_, _ in record.ids], np.uint64),
                    np.array([at for _, at in record.ids], np.int64),
                )
                if record.org in self.logs:
                    self.logs[record.org].entries.append(record)

    def _advance(self, time_ms: int) -> None:
        self._watermark_ms = max(self._watermark_ms, time_ms)
        self._dedupe.advance(self._watermark_ms)

    def _take_rows(self, rows: Rows) -> None:
        columns = unpack(rows)
        columns = columns.take(columns.time_ms >= self._dedupe.floor_ms)
        columns = columns.take(self._dedupe.learn(columns.id, columns.time_ms))
        if not len(columns.at):
            return
        self._advance(int(columns.time_ms.max()))
        orgs = [subject.partition(SEPARATOR)[0] for subject in rows.subjects]
        for org in self.logs.keys() & set(orgs):
            mine = np.array([each == org for each in orgs], bool)[columns.subject]
            if mine.any():
                log, taken = self.logs[org], columns.take(mine)
                log.entries.append(
                    Batch(rows.topic, rows.subjects, rows.measures, taken, self._dedupe.floor_ms, self._watermark_ms)
                )
                if not self._complete and not log.known_from_ms:
                    log.known_from_ms = int(taken.time_ms.min())


@dataclass(slots=True)
class _Moves:
    """What becomes of one org's activities: for each batch the place of rows that change, and whose they are."""

    leaving: list[dict[int, tuple[str, str] | None]] = field(default_factory=list)
    acts: Counter[Act] = field(default_factory=Counter)
    ids: list[tuple[int, int]] = field(default_factory=list)
    arriving: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Messages from elsewhere: user, id, id of the parent, time (ms)."""


def corrections(
    logs: dict[str, OrgLog], right: Right, touched: Callable[[str], bool], salt: Callable[[str], int],
    catalogue: Catalogue, limits: Limits,
) -> list[Correction]:  # fmt: skip
    """Return what has to be corrected in the orgs of *logs*.

    Args:
        logs: Of every org that an activity may leave or come to.
        right: Whose an activity is.
        touched: Of which subjects, as `Rows` spell them, this is to be asked.
        salt: What ids of an org are mixed with.
        catalogue: The measures.
        limits: Those of the shards.
    """
    moves = {org: _Moves() for org in logs}
    for log in logs.values():
        for batch in log.batches:
            moves[log.org].leaving.append(_leave(log, batch, right, touched, salt, logs, moves))
    found = []
    for log in logs.values():
        found += _split(_correction(log, moves[log.org], catalogue, limits))
    return found


def _leave(
    log: OrgLog, batch: Batch, right: Right, touched: Callable[[str], bool], salt: Callable[[str], int],
    logs: dict[str, OrgLog], moves: dict[str, _Moves],
) -> dict[int, tuple[str, str] | None]:  # fmt: skip
    """Note which rows of *batch* are somebody else's; return them by their place in it."""
    asked = np.array([touched(origin) for origin in batch.origins], bool)
    leaving: dict[int, tuple[str, str] | None] = {}
    columns = batch.columns
    for row in np.flatnonzero(asked[columns.subject]).tolist():
        origin, time_ms = batch.origins[columns.subject[row]], int(columns.time_ms[row])
        user, to = origin_of(origin)[1], right(origin, time_ms, batch.source)
        if to == (log.org, user):
            continue
        leaving[row] = to
        measure, amount = batch.measures[columns.measure[row]], int(columns.amount[row])
        moves[log.org].acts[user, measure, time_ms, amount] -= 1
        if to is None:
            continue
        org, there = to
        mixed = salt(log.org) ^ salt(org)
        id_, ref = int(columns.id[row]) ^ mixed, int(columns.ref[row])
        if org != log.org:
            if _has(logs[org], id_):
                continue  # it came there too
            moves[org].ids.append((id_, time_ms))
            if measure == "message":
                moves[org].arriving.append((there, id_, ref ^ mixed if ref else 0, time_ms))
        moves[org].acts[there, measure, time_ms, amount] += 1
    return leaving


def _has(log: OrgLog, id_: int) -> bool:
    return any(bool((batch.columns.id == np.uint64(id_)).any()) for batch in log.batches)


def _correction(log: OrgLog, moves: _Moves, catalogue: Catalogue, limits: Limits) -> Correction | None:
    """Return what has to be corrected in one org, None = nothing."""
    acts = Counter(moves.acts)
    for record in log.corrections:
        for who, what, time_ms, weight, amount in record.rows:
            sign = 1 if weight > 0 else -1
            acts[_user(record, who), record.measures[what], time_ms, amount * sign] -= weight
    was, wanted = Conversation(log.org, log.zone, catalogue, limits), Conversation(log.org, log.zone, catalogue, limits)
    if (
        moves.arriving
        or any(_messages(batch, set(rows)) for batch, rows in zip(log.batches, moves.leaving, strict=True))
        or any(record.opened or record.latencies or record.forgotten for record in log.corrections)
    ):
        _converse(log, moves, was, wanted)
    for said, weight in ((wanted, 1), (was, -1)):
        for (user, measure, time_ms, amount), number in said.acts.items():
            acts[user, measure, time_ms, amount] += weight * number
    messages, latencies = wanted.messages - was.messages, wanted.latencies - was.latencies
    messages.update({time_ms: -n for time_ms, n in (was.messages - wanted.messages).items()})
    latencies.update({each: -n for each, n in (was.latencies - wanted.latencies).items()})
    return _record(log, moves, acts, messages, latencies, was, wanted)


def _messages(batch: Batch, rows: set[int]) -> bool:
    names = np.array([name == "message" for name in batch.measures], bool)
    return any(names[batch.columns.measure[row]] for row in rows)


def _converse(log: OrgLog, moves: _Moves, was: Conversation, wanted: Conversation) -> None:
    """Match replies as their shard did, and as it should have."""
    at = 0
    for entry in log.entries:
        if isinstance(entry, Correction):
            was.correct(entry)
            continue
        leaving, columns = moves.leaving[at], entry.columns
        at += 1
        is_message = np.array([name == "message" for name in entry.measures], bool)[columns.measure]
        for row in np.flatnonzero(is_message).tolist():
            user = origin_of(entry.origins[columns.subject[row]])[1]
            said = (int(columns.id[row]), int(columns.ref[row]), int(columns.time_ms[row]), entry.floor_ms)
            was.hear(user, *said)
            to = leaving.get(row, (log.org, user))
            if to is not None and to[0] == log.org:
                wanted.hear(to[1], *said)
        for each in (was, wanted):
            each.advance(entry.watermark_ms)
    floor_ms = log.batches[-1].floor_ms if log.batches else 0
    for user, id_, ref, time_ms in moves.arriving:
        wanted.hear(user, id_, ref, time_ms, floor_ms)


def _user(record: Correction, place: int) -> str:
    return record.subjects[place].split(SEPARATOR)[1]


def _record(
    log: OrgLog, moves: _Moves, acts: Counter[Act], messages: Counter[int],
    latencies: Counter[tuple[int, int, bool]], was: Conversation, wanted: Conversation,
) -> Correction | None:  # fmt: skip
    """Put a correction together; None = there is nothing to correct."""
    opened, awaiting, forgotten = wanted.changes(was)
    acts = Counter({act: number for act, number in acts.items() if number})
    if not (acts or messages or latencies or opened or awaiting or forgotten):
        return None
    affected = sorted({act[0] for act in acts})
    users = sorted({*affected, *(user for _, user, _, _ in opened), *(u for _, rest in awaiting for u, _ in rest)})
    place, names = {user: at for at, user in enumerate(users)}, sorted({act[1] for act in acts})
    rows: list[Row] = []
    for (user, measure, time_ms, amount), number in sorted(acts.items()):
        weight = 1 if number > 0 else -1
        rows += [(place[user], names.index(measure), time_ms, weight, amount * weight)] * abs(number)
    return Correction(
        log.org,
        [log.org + SEPARATOR + user for user in users],
        names,
        rows,
        sorted(moves.ids),
        [(at, 1 if n > 0 else -1) for at, n in sorted(messages.items()) for _ in range(abs(n))],
        [(*each, 1 if n > 0 else -1) for each, n in sorted(latencies.items()) for _ in range(abs(n))],
        [(id_, place[user], at, answered) for id_, user, at, answered in opened],
        [(id_, [(place[user], at) for user, at in rest]) for id_, rest in awaiting],
        forgotten,
        [(place[user], hour) for user, hour in _beginnings(log, moves, affected).items()],
        log.known_from_ms,
    )


def _beginnings(log: OrgLog, moves: _Moves, users: list[str]) -> dict[str, int]:
    """Return the hour of each user's first activity, as it should be; −1 = there is none."""
    first: dict[str, int] = {}
    wanted = set(users)

    def note(user: str, time_ms: int) -> None:
        first[user] = min(first.get(user, time_ms), time_ms)

    for batch, leaving in zip(log.batches, moves.leaving, strict=True):
        stays = np.ones(len(batch.columns.at), bool)
        stays[list(leaving)] = False
        for at, origin in enumerate(batch.origins):
            org, user, _, _ = origin_of(origin)
            times = batch.columns.time_ms[stays & (batch.columns.subject == at)] if user in wanted else []
            if org == log.org and len(times):
                note(user, int(min(times)))
    for (user, _, time_ms, _), number in moves.acts.items():
        if number > 0 and user in wanted:
            note(user, time_ms)
    return {user: first[user] // HOUR_MS if user in first else -1 for user in users if user}


def _split(record: Correction | None) -> list[Correction]:
    """Return a correction as records that hold MAX_ITEMS of each kind at most; the last one tells the beginnings."""
    if record is None:
        return []
    kinds = (
        record.rows,
        record.ids,
        record.messages,
        record.latencies,
        record.opened,
        record.awaiting,
        record.forgotten,
    )
    pieces = zip_longest(
        *([kind[i : i + MAX_ITEMS] for i in range(0, len(kind), MAX_ITEMS)] for kind in kinds), fillvalue=[]
    )
    found = [Correction(record.org, record.subjects, record.measures, *piece) for piece in pieces]  # type: ignore[arg-type]
    if not found:
        return []
    last = found[-1]
    found[-1] = Correction(
        last.org, last.subjects, last.measures, last.rows, last.ids, last.messages, last.latencies, last.opened,
        last.awaiting, last.forgotten, record.since, record.known_from_ms,
    )  # fmt: skip
    return found
