"""One org's messages and replies, matched once more from the log.

Owns what replies count as when their authors are known by name. Invariant: matches as `fold` does, by the same code.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from state.activity import SEPARATOR, Correction, Org
from state.fold import Folder, Spoken
from state.history import History
from state.latency import Latency
from state.limits import Limits
from state.measures import Catalogue
from state.replies import Answer, Replies
from state.ring import RollingWeek
from state.subjects import Subjects
from state.week import HOUR_MS

Named = list[tuple[int, int, str]]
"""Replies: when (ms), id, author."""
Known = tuple[str, int, str, int, Named]
"""A message: author, time (ms), place, id of what it answers, its replies."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be known otherwise: messages, replies that wait, ids of which nothing is known any more, deletions."""

    opened: list[tuple[int, Known]]
    awaiting: list[tuple[int, Named]]
    forgotten: list[tuple[int, int]]
    deleted: list[tuple[int, int]]

    def __bool__(self) -> bool:
        return bool(self.opened or self.awaiting or self.forgotten or self.deleted)

    def authors(self) -> set[str]:
        """Return everybody named."""
        answers = [rest for _, rest in self.awaiting] + [known[4] for _, known in self.opened]
        return {known[0] for _, known in self.opened} | {user for rest in answers for _, _, user in rest}

    def places(self) -> set[str]:
        """Return the places named."""
        return {known[2] for _, known in self.opened}


class _Heard(Latency):
    """Counts what it is told instead of keeping lines."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: Counter[tuple[int, str]] = Counter()
        self.replies: Counter[tuple[int, int, bool, str]] = Counter()

    def add_message(self, org: str, place: str, time_ms: int, weight: int = 1) -> None:
        self.messages[time_ms, place] += weight

    def add_reply(self, org: str, place: str, parent_ms: int, latency_ms: int, *, first: bool, weight: int = 1) -> None:
        self.replies[parent_ms, latency_ms, first, place] += weight


class Conversation:
    """Messages of one org, by author, from *from_ms* on.

    `acts` are replies given and received: (user, measure, time, amount, time of the parent) → number.
    """

    def __init__(self, org: str, zone: str, catalogue: Catalogue, limits: Limits, from_ms: int = 0) -> None:
        self.acts: Counter[tuple[str, str, int, int, int]] = Counter()
        self._from_ms = from_ms
        self._org, self._names, self._heard, self._subjects = org, catalogue.names, _Heard(), Subjects()
        self._subjects.learn_org(Org(org, "", zone, ""))
        self._replies = Replies(limits.reply_horizon_hours * HOUR_MS, limits.max_open_messages)
        nothing = np.zeros(0, bool)
        week, history = RollingWeek(()), History(nothing, nothing)
        self._folder = Folder(catalogue, self._subjects, week, history, self._heard, self._replies)

    @property
    def messages(self) -> Counter[tuple[int, str]]:
        """Times (ms) and places of messages."""
        return self._heard.messages

    @property
    def latencies(self) -> Counter[tuple[int, int, bool, str]]:
        """Replies: time of the parent (ms), latency (ms), whether it was the first, place of the parent."""
        return self._heard.replies

    def hear(self, user: str, said: Spoken, floor_ms: int) -> None:
        """Take in what *user* said or deleted; who that is here follows from the name, not from the slot in *said*."""
        slot = int(self._subjects.slots([self._org + SEPARATOR + user])[0])
        for who, measure, at, weight, amount, parent_ms in self._folder.take_message(
            replace(said, slot=slot), floor_ms
        ):
            self.acts[self._subjects.user(who), self._names[measure], at, weight * amount, parent_ms] += weight

    def correct(self, record: Correction) -> None:
        """Take in what was corrected of messages and replies, and of what they count as."""
        self._replies.correct(record, self._subjects.slots(record.subjects), self._from_ms)
        for time_ms, place, times in record.messages:
            self.messages[time_ms, record.places[place]] += times if time_ms >= self._from_ms else 0
        for parent_ms, latency_ms, first, place, times in record.latencies:
            act = parent_ms, latency_ms, first, record.places[place]
            self.latencies[act] += times if parent_ms >= self._from_ms else 0

    def advance(self, watermark_ms: int) -> None:
        """Forget what is older than the horizon."""
        self._replies.advance(watermark_ms)

    def changes(self, former: Conversation) -> Changes:
        """Return what is to be known otherwise than *former* does."""
        found = Changes([], [], [], [])
        for id_ in sorted(self._replies.ids() | former._replies.ids()):
            (entry, rest), (old, old_rest) = self._known(id_), former._known(id_)
            if (entry, rest) == (old, old_rest):
                continue
            if self._from_ms and entry is None and old is None:
                continue  # the parent may be older than what the log still tells, and the reply matched long ago
            if entry is None and not rest:
                found.forgotten.append((id_, old[1] if old is not None else old_rest[0][0]))
            if entry is not None:
                found.opened.append((id_, entry))
            if rest:
                found.awaiting.append((id_, rest))
        deleted, were = self._replies.deleted, former._replies.deleted
        found.deleted.extend((id_, deleted.get(id_, -1)) for id_ in sorted(deleted.keys() ^ were.keys()))
        return found

    def _known(self, id_: int) -> tuple[Known | None, Named]:
        entry, waiting = self._replies.known(id_)
        return None if entry is None else (
            self._subjects.user(entry.slot), entry.time_ms, entry.place, entry.parent, self._named(entry.answers)
        ), self._named(waiting)  # fmt: skip

    def _named(self, answers: list[Answer]) -> Named:
        return sorted((at, id_, self._subjects.user(slot)) for at, id_, slot in answers)
