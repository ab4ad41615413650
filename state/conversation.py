"""One org's messages and replies, matched once more from the log.

Owns what replies count as when their authors are known by name. Invariant: matches as `fold` does, by the same code.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from state.activity import SEPARATOR, Columns, Correction, Org
from state.fold import Folder
from state.history import History
from state.latency import Latency
from state.limits import Limits
from state.measures import Catalogue
from state.replies import Replies
from state.ring import RollingWeek
from state.subjects import Subjects
from state.week import HOUR_MS

Changes = tuple[list[tuple[int, str, int, bool]], list[tuple[int, list[tuple[str, int]]]], list[tuple[int, int]]]
"""Messages by id, author, time (ms), whether they were answered; ids with replies that wait; ids of which nothing is
known any more."""


class _Heard(Latency):
    """Counts what it is told instead of keeping grids."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: Counter[int] = Counter()
        self.replies: Counter[tuple[int, int, bool]] = Counter()

    def add_message(self, org: str, zone: str, time_ms: int) -> None:
        self.messages[time_ms] += 1

    def add_reply(self, org: str, zone: str, parent_ms: int, latency_ms: int, *, first: bool) -> None:
        self.replies[parent_ms, latency_ms, first] += 1


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
    def messages(self) -> Counter[int]:
        """Times (ms) of messages."""
        return self._heard.messages

    @property
    def latencies(self) -> Counter[tuple[int, int, bool]]:
        """Replies: time of the parent (ms), latency (ms), whether it was the first."""
        return self._heard.replies

    def hear(self, user: str, id_: int, ref: int, time_ms: int, floor_ms: int) -> None:
        """Take in a message."""
        slot = int(self._subjects.slots([self._org + SEPARATOR + user])[0])
        none = np.zeros(1, np.int64)
        one = Columns(
            none + slot, none, none + time_ms, none, np.array([id_], np.uint64), np.array([ref], np.uint64), none
        )
        for who, measure, at, weight, amount, parent_ms in self._folder.take_message(one, 0, floor_ms):
            self.acts[self._subjects.user(who), self._names[measure], at, amount, parent_ms] += weight

    def correct(self, record: Correction) -> None:
        """Take in what was corrected of messages and replies, and of what they count as."""
        self._replies.correct(record, self._subjects.slots(record.subjects), self._from_ms)
        for time_ms, times in record.messages:
            self.messages[time_ms] += times if time_ms >= self._from_ms else 0
        for parent_ms, latency_ms, first, times in record.latencies:
            self.latencies[parent_ms, latency_ms, first] += times if parent_ms >= self._from_ms else 0

    def advance(self, watermark_ms: int) -> None:
        """Forget what is older than the horizon."""
        self._replies.advance(watermark_ms)

    def changes(self, former: Conversation) -> Changes:
        """Return what is to be known otherwise than *former* does."""
        opened, awaiting, forgotten = [], [], []
        for id_ in sorted(self._replies.ids() | former._replies.ids()):
            (entry, rest), (old, old_rest) = self._known(id_), former._known(id_)
            if (entry, rest) == (old, old_rest):
                continue
            if self._from_ms and entry is None and old is None:
                continue  # the parent may be older than what the log still tells, and the reply matched long ago
            if entry is None and not rest:
                forgotten.append((id_, old[1] if old is not None else old_rest[0][1]))
            if entry is not None:
                opened.append((id_, *entry))
            if rest:
                awaiting.append((id_, rest))
        return opened, awaiting, forgotten

    def _known(self, id_: int) -> tuple[tuple[str, int, bool] | None, list[tuple[str, int]]]:
        entry, rest = self._replies.known(id_)
        user = self._subjects.user
        named = None if entry is None else (user(entry[0]), entry[1], entry[2])
        return named, sorted((user(slot), at) for slot, at in rest)
