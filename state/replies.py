"""Messages that may still be answered, and replies whose parent is not here yet.

Owns the matching of replies with parents within one org, in either order of
arrival. Bounded twice: by the horizon (a message is forgotten that long after
it was written) and by a number of messages (the oldest go first). Invariant: a
pair is reported once, whichever of the two comes first.

    message m (09:00, ann) ──── open ────┐
                reply r to m (09:20, bob)┴──► latency 20 min, cell of 09:00
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from state.activity import Correction
from state.ring import Slots


@dataclass(frozen=True, slots=True)
class Match:
    """A reply and its parent; slots are subjects, times in ms."""

    parent_slot: int
    parent_ms: int
    reply_slot: int
    reply_ms: int
    first: bool


class Replies:
    """Open messages and waiting replies of one partition. Ids are hashes that include the org."""

    def __init__(self, horizon_ms: int, limit: int) -> None:
        self._horizon_ms, self._limit = horizon_ms, limit
        # id → (slot, time, answered); in order of arrival, which is nearly that of time.
        self._open: OrderedDict[int, tuple[int, int, bool]] = OrderedDict()
        self._waiting: OrderedDict[int, list[tuple[int, int]]] = OrderedDict()
        self._waiting_replies = 0
        self.given_up = 0
        """Messages and replies forgotten because of the limit."""

    def __len__(self) -> int:
        return len(self._open) + self._waiting_replies

    def message(self, id_: int, parent: int, slot: int, time_ms: int) -> list[Match]:
        """Take in a message (*parent* 0 = no reply); return the pairs that it completes."""
        matches = []
        if parent:
            known = self._open.get(parent)
            if known is None:
                self._waiting.setdefault(parent, []).append((slot, time_ms))
                self._waiting_replies += 1
            else:
                matches.append(self._match(parent, known, slot, time_ms))
        if id_ not in self._open:
            self._open[id_] = (slot, time_ms, False)
        arrived = self._waiting.pop(id_, [])
        self._waiting_replies -= len(arrived)
        for reply_slot, reply_ms in arrived:
            matches.append(self._match(id_, self._open[id_], reply_slot, reply_ms))
        self._bound()
        return matches

    def advance(self, watermark_ms: int) -> None:
        """Forget what is older than the horizon."""
        edge = watermark_ms - self._horizon_ms
        while self._open and self._oldest_open() < edge:
            self._open.popitem(last=False)
        while self._waiting and self._oldest_waiting() < edge:
            self._drop_waiting()

    def correct(self, record: Correction, slots: Slots, from_ms: int = 0) -> None:
        """Set what *record* says of messages since *from_ms*; *slots* are those of its subjects."""
        who = slots.tolist()
        waiting = {id_: [(who[place], at) for place, at in rest if at >= from_ms] for id_, rest in record.awaiting}
        entries: dict[int, tuple[int, int, bool] | None] = {id_: None for id_, rest in waiting.items() if rest}
        entries |= {id_: None for id_, at in record.forgotten if at >= from_ms}
        entries |= {id_: (who[place], at, said) for id_, place, at, said in record.opened if at >= from_ms}
        for id_, entry in entries.items():
            self.assign(id_, entry, waiting.get(id_, []))

    def assign(self, id_: int, entry: tuple[int, int, bool] | None, waiting: list[tuple[int, int]]) -> None:
        """Set what is known of a message: author, time and whether it was answered (None = nothing), and who waits."""
        self._open.pop(id_, None)
        if entry is not None:
            self._open[id_] = entry
        self._waiting_replies -= len(self._waiting.pop(id_, []))
        if waiting:
            self._waiting[id_] = waiting
            self._waiting_replies += len(waiting)

    def known(self, id_: int) -> tuple[tuple[int, int, bool] | None, list[tuple[int, int]]]:
        """Return what is known of a message, as `assign` takes it."""
        return self._open.get(id_), list(self._waiting.get(id_, ()))

    def ids(self) -> set[int]:
        """Return the ids of open messages and of parents that replies wait for."""
        return {*self._open, *self._waiting}

    def segments(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        return {
            "open": [[id_, *entry] for id_, entry in self._open.items()],
            "waiting": [[id_, replies] for id_, replies in self._waiting.items()],
            "given-up": self.given_up,
        }

    def restore(self, segments: dict[str, Any]) -> None:
        """Take over what `segments` returned."""
        self._open = OrderedDict((e[0], (e[1], e[2], e[3])) for e in segments.get("open", []))
        self._waiting = OrderedDict((e[0], [(r[0], r[1]) for r in e[1]]) for e in segments.get("waiting", []))
        self._waiting_replies = sum(map(len, self._waiting.values()))
        self.given_up = segments.get("given-up", 0)

    def _match(self, id_: int, parent: tuple[int, int, bool], slot: int, time_ms: int) -> Match:
        parent_slot, parent_ms, answered = parent
        counts = slot != parent_slot and time_ms >= parent_ms
        if counts and not answered:
            self._open[id_] = (parent_slot, parent_ms, True)
        return Match(parent_slot, parent_ms, slot, time_ms, first=counts and not answered)

    def _bound(self) -> None:
        while len(self) > self._limit:
            if self._waiting and (not self._open or self._oldest_waiting() <= self._oldest_open()):
                self.given_up += self._drop_waiting()
            else:
                self._open.popitem(last=False)
                self.given_up += 1

    def _oldest_open(self) -> int:
        return next(iter(self._open.values()))[1]

    def _oldest_waiting(self) -> int:
        return next(iter(self._waiting.values()))[0][1]

    def _drop_waiting(self) -> int:
        """Forget the replies that have waited longest for one parent; return how many they were."""
        dropped = len(self._waiting.popitem(last=False)[1])
        self._waiting_replies -= dropped
        return dropped
