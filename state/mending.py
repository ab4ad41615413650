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
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from msgspec.structs import replace as replace_

from state.activity import SEPARATOR, Answers, Correction, Row, origin_of
from state.conversation import Changes, Conversation, Named
from state.fold import Spoken, spoken
from state.limits import Limits
from state.measures import Catalogue
from state.org_log import Batch, OrgLog
from state.week import HOUR_MS

MAX_ITEMS = 10_000
"""Rows, latencies and the like that one record holds; more take more records."""

_LISTS = ("rows", "ids", "messages", "latencies", "opened", "awaiting", "forgotten", "deleted")  # of a record
_DELETED = "message_deleted"
_SPOKEN = ("message", _DELETED)

Right = Callable[[str, int, str], tuple[str, str] | None]
"""Of a subject as `Rows` spell it, a time (ms) and a source: the org and user it is today; None = nobody."""
Act = tuple[str, str, int, int, int]
"""What is counted of an org: user, measure, time (ms), amount, time (ms) of the oldest event that it depends on."""


@dataclass(slots=True)
class _Moves:
    """What becomes of one org's activities: for each batch the places of rows that change, and whose they are."""

    known: set[int] | None = None
    """Ids of what is its own, once something comes from elsewhere."""
    leaving: list[dict[int, tuple[str, str] | None]] = field(default_factory=list)
    acts: Counter[Act] = field(default_factory=Counter)
    ids: list[tuple[int, int]] = field(default_factory=list)
    arriving: list[tuple[str, Spoken]] = field(default_factory=list)
    """Messages and deletions from elsewhere: user, and what."""


class Mending:
    """The comparison of the orgs of *logs*, which are all that an activity may leave or come to."""

    def __init__(
        self, logs: dict[str, OrgLog], right: Right, salt: Callable[[str], int], catalogue: Catalogue, limits: Limits,
        from_ms: int = 0,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            logs: Without the events before *from_ms*, which are left as they were.
            right: Whose an activity is.
            salt: What the ids of an org are mixed with.
            catalogue: The measures.
            limits: Those of the shards.
            from_ms: 0 = the logs tell everything.
        """
        self._logs, self._right, self._salt, self._catalogue, self._limits = logs, right, salt, catalogue, limits
        self._from_ms = from_ms
        self._moves = {org: _Moves() for org in logs}

    def corrections(self, about: Set[str]) -> list[Correction]:
        """Return what has to be corrected of activities that came under the aliases *about*.

        Those of former corrections must be among them, or these would be taken back.
        """
        for log in self._logs.values():
            for batch in log.batches:
                self._moves[log.org].leaving.append(self._leave(log.org, batch, about))
        found: list[Correction] = []
        for log in self._logs.values():
            was, wanted = (
                Conversation(log.org, log.zone, self._catalogue, self._limits, self._from_ms) for _ in range(2)
            )
            record = _correction(log, self._moves[log.org], was, wanted, self._from_ms)
            found += _split(None if record is None else replace_(record, about=sorted(about)))
        return found

    def _leave(self, org: str, batch: Batch, about: Set[str]) -> dict[int, tuple[str, str] | None]:
        """Note which rows of *batch* are somebody else's; return them by their place in it."""
        asked = np.array([bool(user) and via in about for _, user, via, _ in map(origin_of, batch.origins)], bool)
        leaving: dict[int, tuple[str, str] | None] = {}
        columns = batch.columns
        for row in np.flatnonzero(asked[columns.subject]).tolist():
            origin, time_ms = batch.origins[columns.subject[row]], int(columns.time_ms[row])
            user, to = origin_of(origin)[1], self._right(origin, time_ms, batch.source)
            if to == (org, user):
                continue
            leaving[row] = to
            measure, amount = batch.measures[columns.measure[row]], int(columns.amount[row])
            self._moves[org].acts[user, measure, time_ms, amount, time_ms] -= 1
            if to is not None:
                self._arrive(to, org, measure, amount, spoken(columns, row, measure == _DELETED))
        return leaving

    def _arrive(self, to: tuple[str, str], former: str, measure: str, amount: int, said: Spoken) -> None:
        """Note that an activity of the org *former* is that of *to*, unless it came there too."""
        org, user = to
        moves = self._moves[org]
        if org != former:
            mixed = self._salt(former) ^ self._salt(org)
            said = replace(said, id=said.id ^ mixed, ref=said.ref ^ mixed if said.ref else 0)
            if moves.known is None:
                moves.known = self._logs[org].ids
            if said.id in moves.known:
                return
            moves.known.add(said.id)
            moves.ids.append((said.id, said.time_ms))
            if measure in _SPOKEN:
                moves.arriving.append((user, said))
        moves.acts[user, measure, said.time_ms, amount, said.time_ms] += 1


def _correction(log: OrgLog, moves: _Moves, was: Conversation, wanted: Conversation, from_ms: int) -> Correction | None:
    """Return what has to be corrected in one org, None = nothing; the conversations have heard nothing yet."""
    acts = Counter(moves.acts)
    for record in log.corrections:
        for who, what, time_ms, weight, amount, cause_ms in record.rows:
            if cause_ms >= from_ms:
                sign = 1 if weight > 0 else -1
                acts[_user(record, who), record.measures[what], time_ms, amount * sign, cause_ms] -= weight
    if _is_about_messages(log, moves):
        _converse(log, moves, was, wanted)
    for said, weight in ((wanted, 1), (was, -1)):
        for act, number in said.acts.items():
            acts[act] += weight * number
    messages, latencies = wanted.messages - was.messages, wanted.latencies - was.latencies
    messages.update({time_ms: -n for time_ms, n in (was.messages - wanted.messages).items()})
    latencies.update({each: -n for each, n in (was.latencies - wanted.latencies).items()})
    return _record(log, moves, acts, messages, latencies, wanted.changes(was), from_ms)


def _is_about_messages(log: OrgLog, moves: _Moves) -> bool:
    """Say whether replies may have to be matched otherwise, or were before."""
    if moves.arriving:
        return True
    if any(r.messages or r.latencies or r.opened or r.awaiting or r.forgotten or r.deleted for r in log.corrections):
        return True
    for batch, leaving in zip(log.batches, moves.leaving, strict=True):
        places = [at for at, name in enumerate(batch.measures) if name in _SPOKEN]
        if leaving and np.isin(batch.columns.measure[list(leaving)], places).any():
            return True
    return False


def _converse(log: OrgLog, moves: _Moves, was: Conversation, wanted: Conversation) -> None:
    """Match replies as their shard did, and as it should have."""
    at = 0
    for entry in log.entries:
        if isinstance(entry, Correction):
            was.correct(entry)
            continue
        leaving, columns = moves.leaving[at], entry.columns
        at += 1
        is_spoken = np.array([name in _SPOKEN for name in entry.measures], bool)[columns.measure]
        for row in np.flatnonzero(is_spoken).tolist():
            user = origin_of(entry.origins[columns.subject[row]])[1]
            said = spoken(columns, row, entry.measures[columns.measure[row]] == _DELETED)
            was.hear(user, said, entry.floor_ms)
            to = leaving.get(row, (log.org, user))
            if to is not None and to[0] == log.org:
                wanted.hear(to[1], said, entry.floor_ms)
        for each in (was, wanted):
            each.advance(entry.watermark_ms)
    floor_ms = log.batches[-1].floor_ms if log.batches else 0
    for user, said in moves.arriving:
        wanted.hear(user, said, floor_ms)


def _user(record: Correction, place: int) -> str:
    return record.subjects[place].split(SEPARATOR)[1]


def _record(
    log: OrgLog, moves: _Moves, acts: Counter[Act], messages: Counter[tuple[int, str]],
    latencies: Counter[tuple[int, int, bool, str]], changes: Changes, from_ms: int,
) -> Correction | None:  # fmt: skip
    """Put a correction together; None = there is nothing to correct."""
    acts = Counter({act: number for act, number in acts.items() if number})
    if not (acts or messages or latencies or changes):
        return None
    affected, names = sorted({act[0] for act in acts}), sorted({act[1] for act in acts})
    users = sorted({*affected, *changes.authors()})
    places = sorted({p for _, p in messages} | {p for *_, p in latencies} | changes.places())
    who, where = {user: at for at, user in enumerate(users)}, {place: at for at, place in enumerate(places)}
    rows: list[Row] = []
    for (user, measure, time_ms, amount, cause_ms), number in sorted(acts.items()):
        weight = 1 if number > 0 else -1
        rows += [(who[user], names.index(measure), time_ms, weight, amount * weight, cause_ms)] * abs(number)

    def numbered(answers: Named) -> Answers:
        return [(at, id_, who[user]) for at, id_, user in answers]

    return Correction(
        log.org,
        [log.org + SEPARATOR + user for user in users],
        names,
        rows,
        sorted(moves.ids),
        places,
        [(at, where[place], _sign(n)) for (at, place), n in sorted(messages.items()) for _ in range(abs(n))],
        [(*each, where[place], _sign(n)) for (*each, place), n in sorted(latencies.items()) for _ in range(abs(n))],  # type: ignore[misc]
        [
            (id_, who[user], at, where[place], parent, numbered(answers))
            for id_, (user, at, place, parent, answers) in changes.opened
        ],
        [(id_, numbered(answers)) for id_, answers in changes.awaiting],
        changes.forgotten,
        changes.deleted,
        [(who[user], hour) for user, hour in _beginnings(log, moves, affected).items()],
        from_ms,
    )


def _sign(number: int) -> int:
    return 1 if number > 0 else -1


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
    for (user, _, time_ms, _, _), number in moves.acts.items():
        if number > 0 and user in wanted:
            note(user, time_ms)
    return {user: first[user] // HOUR_MS if user in first else -1 for user in users if user}


def _split(record: Correction | None) -> list[Correction]:
    """Return a correction as records that hold MAX_ITEMS of each kind at most; the last one tells the beginnings."""
    if record is None:
        return []
    kinds: list[list[Any]] = [getattr(record, name) for name in _LISTS]
    pieces = zip_longest(
        *([kind[i : i + MAX_ITEMS] for i in range(0, len(kind), MAX_ITEMS)] for kind in kinds), fillvalue=[]
    )
    empty = Correction(record.org, record.subjects, record.measures, [], places=record.places)
    found = [replace_(empty, **dict(zip(_LISTS, piece, strict=True))) for piece in pieces]
    if not found:
        return []
    found[-1] = replace_(found[-1], since=record.since)
    return [replace_(each, known_from_ms=record.known_from_ms, about=record.about) for each in found]
