"""Messages that may still be answered, their replies, and replies whose parent is not here yet.

Owns the matching of replies with parents within one org, in either order of arrival, and what a deletion takes back.
Bounded twice: by the horizon (a message is forgotten that long after it was written) and by a number of entries (the
oldest go first). Invariant: what was reported adds up to what follows from the set of messages, whatever their order:
each pair once, a deleted message never, and one first reply to each answered message, the earliest.

    message m (09:00, ann) ──── open ────┐
                reply r to m (09:20, bob)┴──► latency 20 min, cell of 09:00
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from state.activity import Correction
from state.ring import Slots

Answer = tuple[int, int, int]
"""A reply: when it was written (ms), its id, who wrote it (slot)."""
WAITING, SELF, NEGATIVE = "", "self_reply", "negative_latency"


@dataclass(frozen=True, slots=True)
class Match:
    """A reply and its parent, or (*weight* −1) that they are none any more; slots are subjects, times in ms.

    Attributes:
        kind: WAITING = it measures waiting; else why it does not.
        first: It is the first reply to its parent.
        again: It was told before; only whether it is the first has changed.
    """

    parent_slot: int
    parent_ms: int
    place: str
    reply_slot: int
    reply_ms: int
    kind: str
    first: bool
    weight: int
    again: bool = False


@dataclass(slots=True)
class Message:
    """A message that may be answered."""

    slot: int
    time_ms: int
    place: str
    parent: int
    """Id of what it answers; 0 = nothing."""
    answers: list[Answer] = field(default_factory=list)
    first: Answer | None = None
    """The earliest answer that measures waiting."""

    def kind_of(self, answer: Answer) -> str:
        """Return whether *answer* measures waiting, or why it does not."""
        if answer[2] == self.slot:
            return SELF
        return NEGATIVE if answer[0] < self.time_ms else WAITING

    def settle(self) -> None:
        """Find the first answer anew."""
        self.first = min((each for each in self.answers if self.kind_of(each) == WAITING), default=None)


class Replies:
    """Open messages and waiting replies of one partition. Ids are hashes that include the org."""

    def __init__(self, horizon_ms: int, limit: int) -> None:
        self._horizon_ms, self._limit = horizon_ms, limit
        # In order of arrival, which is nearly that of time.
        self._open: OrderedDict[int, Message] = OrderedDict()
        self._waiting: OrderedDict[int, list[Answer]] = OrderedDict()
        self._deleted: OrderedDict[int, int] = OrderedDict()  # id → time of the deletion (ms)
        self._answers = 0  # of open messages, and waiting ones
        self.given_up = 0
        """Messages and replies forgotten because of the limit."""

    def __len__(self) -> int:
        return len(self._open) + self._answers + len(self._deleted)

    def message(self, id_: int, parent: int, slot: int, time_ms: int, place: str = "") -> list[Match] | None:
        """Take in a message (*parent* 0 = no reply); return what follows, None if it was there or deleted already."""
        if id_ in self._open or id_ in self._deleted:
            return None
        matches: list[Match] = []
        entry = self._open[id_] = Message(slot, time_ms, place, parent)
        if parent and parent not in self._deleted:
            known, answer = self._open.get(parent), (time_ms, id_, slot)
            self._answers += 1
            if known is None:
                self._waiting.setdefault(parent, []).append(answer)
            else:
                matches += _answered(known, answer)
        for answer in self._waiting.pop(id_, ()):
            matches += _answered(entry, answer)
        if len(self) > self._limit:
            self._bound()
        return matches

    def delete(self, id_: int, time_ms: int) -> tuple[Message | None, list[Match]]:
        """Take in that a message was deleted; return it, None if it is not there, and what that takes back."""
        if id_ in self._deleted:
            return None, []
        self._deleted[id_] = time_ms
        self._answers -= len(self._waiting.pop(id_, ()))
        entry, matches = self._open.pop(id_, None), []
        if entry is not None:
            self._answers -= len(entry.answers)
            for answer in list(entry.answers):
                matches += _unanswered(entry, answer)
            matches += self._withdraw(id_, entry)
        self._bound()
        return entry, matches

    def _withdraw(self, id_: int, entry: Message) -> list[Match]:
        """Take back the answer that *entry* was."""
        answer, known = (entry.time_ms, id_, entry.slot), self._open.get(entry.parent)
        waiting = self._waiting.get(entry.parent, [])
        if known is not None and answer in known.answers:
            self._answers -= 1
            return _unanswered(known, answer)
        if answer in waiting:
            waiting.remove(answer)
            self._answers -= 1
            if not waiting:
                del self._waiting[entry.parent]
        return []

    def advance(self, watermark_ms: int) -> None:
        """Forget what is older than the horizon."""
        edge = watermark_ms - self._horizon_ms
        for drop, oldest_ms in self._queues():
            while (oldest := oldest_ms()) is not None and oldest < edge:
                drop()

    def correct(self, record: Correction, slots: Slots, from_ms: int = 0) -> Counter[str]:
        """Set what *record* says of messages since *from_ms*; *slots* are those of its subjects.

        Returns:
            How many more replies measure no waiting, by why.
        """
        who = slots.tolist()

        def named(answers: list[tuple[int, int, int]]) -> list[Answer]:
            return [(at, id_, who[place]) for at, id_, place in answers if at >= from_ms]

        waiting = {id_: named(rest) for id_, rest in record.awaiting}
        entries: dict[int, Message | None] = {id_: None for id_, rest in waiting.items() if rest}
        entries |= {id_: None for id_, at in record.forgotten if at >= from_ms}
        for id_, place, at, where, parent, answers in record.opened:
            if at >= from_ms:
                entries[id_] = Message(who[place], at, record.places[where], parent, named(answers))
        apart: Counter[str] = Counter()
        for id_, entry in entries.items():
            apart.subtract(_apart(self._open.get(id_)))
            apart.update(_apart(entry))
            self.assign(id_, entry, waiting.get(id_, []))
        for id_, at in record.deleted:
            self._deleted.pop(id_, None)
            if at >= 0:
                self._deleted[id_] = at
        return apart

    def assign(self, id_: int, entry: Message | None, waiting: list[Answer]) -> None:
        """Set what is known of a message (None = nothing), and who waits for it."""
        former = self._open.pop(id_, None)
        self._answers -= len(former.answers) if former is not None else 0
        if entry is not None:
            entry.settle()
            self._open[id_] = entry
            self._answers += len(entry.answers)
        self._answers += len(waiting) - len(self._waiting.pop(id_, ()))
        if waiting:
            self._waiting[id_] = waiting

    def known(self, id_: int) -> tuple[Message | None, list[Answer]]:
        """Return what is known of a message, as `assign` takes it."""
        return self._open.get(id_), list(self._waiting.get(id_, ()))

    def ids(self) -> set[int]:
        """Return the ids of open messages and of parents that replies wait for."""
        return {*self._open, *self._waiting}

    @property
    def deleted(self) -> dict[int, int]:
        """Ids of deleted messages, and when they were deleted (ms)."""
        return dict(self._deleted)

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        return {
            "open": [[id_, e.slot, e.time_ms, e.place, e.parent, e.answers] for id_, e in self._open.items()],
            "waiting": [[id_, replies] for id_, replies in self._waiting.items()],
            "deleted": [[id_, at] for id_, at in self._deleted.items()],
            "given-up": self.given_up,
        }

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        places: dict[str, str] = {}
        for id_, slot, time_ms, place, parent, answers in segments.get("open", []):
            entry = Message(slot, time_ms, places.setdefault(place, place), parent, [(a, b, c) for a, b, c in answers])
            entry.settle()
            self._open[id_] = entry
        self._waiting = OrderedDict((e[0], [(a, b, c) for a, b, c in e[1]]) for e in segments.get("waiting", []))
        self._deleted = OrderedDict((id_, at) for id_, at in segments.get("deleted", []))
        self._answers = sum(map(len, self._waiting.values())) + sum(len(e.answers) for e in self._open.values())
        self.given_up = segments.get("given-up", 0)

    def _bound(self) -> None:
        queues = self._queues()
        while len(self) > self._limit:
            ages = [(oldest, at) for at, (_, oldest_ms) in enumerate(queues) if (oldest := oldest_ms()) is not None]
            self.given_up += queues[min(ages)[1]][0]()

    def _queues(self) -> tuple[tuple[Callable[[], int], Callable[[], int | None]], ...]:
        """Return of waiting replies, open messages and deletions how to drop the oldest, and when that was (ms)."""
        return (
            (self._drop_waiting, lambda: next(iter(self._waiting.values()))[0][0] if self._waiting else None),
            (self._drop_open, lambda: next(iter(self._open.values())).time_ms if self._open else None),
            (self._drop_deleted, lambda: next(iter(self._deleted.values())) if self._deleted else None),
        )

    def _drop_open(self) -> int:
        answers = len(self._open.popitem(last=False)[1].answers)
        self._answers -= answers
        return 1 + answers

    def _drop_waiting(self) -> int:
        """Forget the replies that have waited longest for one parent; return how many they were."""
        dropped = len(self._waiting.popitem(last=False)[1])
        self._answers -= dropped
        return dropped

    def _drop_deleted(self) -> int:
        self._deleted.popitem(last=False)
        return 1


def _apart(entry: Message | None) -> list[str]:
    """Return of each answer that measures no waiting why it does not."""
    return [] if entry is None else [kind for kind in map(entry.kind_of, entry.answers) if kind != WAITING]


def _match(entry: Message, answer: Answer, kind: str, first: bool, weight: int, again: bool = False) -> Match:
    return Match(entry.slot, entry.time_ms, entry.place, answer[2], answer[0], kind, first, weight, again)


def _answered(entry: Message, answer: Answer) -> list[Match]:
    """Add an answer to *entry*."""
    entry.answers.append(answer)
    kind, former = entry.kind_of(answer), entry.first
    if kind != WAITING or (former is not None and former <= answer):
        return [_match(entry, answer, kind, False, 1)]
    entry.first = answer
    found = [_match(entry, answer, kind, True, 1)]
    if former is not None:
        found += [_match(entry, former, kind, True, -1, True), _match(entry, former, kind, False, 1, True)]
    return found


def _unanswered(entry: Message, answer: Answer) -> list[Match]:
    """Take an answer to *entry* back."""
    entry.answers.remove(answer)
    kind = entry.kind_of(answer)
    if entry.first != answer:
        return [_match(entry, answer, kind, False, -1)]
    entry.settle()
    found, following = [_match(entry, answer, kind, True, -1)], entry.first
    if following is not None:
        found += [_match(entry, following, kind, False, -1, True), _match(entry, following, kind, True, 1, True)]
    return found
