"""A Redis that fits on a page, and the worker's way of writing to it.

Owns the meaning of the fenced script in plain Python (test_fakes holds it against the real one). Invariant: a key
never goes back, and each change of a band is in the stream once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Protocol

import msgspec

from streams.fenced_write import Entry, Queued, Told, Write
from streams.pending_writes import PendingWrites


class AwayError(ConnectionError):
    """Redis does not answer."""


class Redis(Protocol):
    """What a sink asks of a server."""

    @property
    def run_id(self) -> int:
        """Which server this is."""

    def ask_run_id(self) -> int:
        """Return which server this is."""

    def script(self, queued: Iterable[Queued]) -> None:
        """Apply writes, each wholly or not at all."""


class FakeRedis:
    """Hashes, rankings and the stream of changes of one server."""

    fences = True  # the mutations switch this off

    def __init__(self) -> None:
        self.run_id = 1
        self.away = False
        self.hashes: dict[str, dict[str, str]] = {}
        self.ranks: dict[str, dict[str, float]] = {}
        self.changes: list[tuple[str, dict[str, str]]] = []

    def replace(self) -> None:
        """Be another, empty server."""
        self.run_id += 1
        self.hashes, self.ranks, self.changes = {}, {}, []

    def ask_run_id(self) -> int:
        """Return which server this is.

        Raises:
            AwayError: When away.
        """
        if self.away:
            raise AwayError
        return self.run_id

    def script(self, queued: Iterable[Queued]) -> None:
        """Apply writes, each wholly or not at all."""
        self.ask_run_id()
        for write, earlier in queued:
            self._apply(write, earlier)

    def _apply(self, write: Write, earlier: Iterable[Told]) -> None:
        held = self.hashes.get(write.key, {})
        stored, band = held.get("fence"), held.get("band")
        if stored is not None and stored > write.fence and self.fences:
            return
        for fence, change, missed in (*earlier, Told(write.fence, write.change, write.missed)):
            band = self._changed(write.key, change if stored is None or fence > stored else None, band)
            if missed and (stored is None or fence >= stored):
                band = self._changed(write.key, missed.get(band or ""), band)
        self.hashes[write.key] = {**(write.fields or {"deleted": "1"}), "fence": write.fence}
        for ranking, member, score in write.ranks:
            if score is None:
                self.ranks.get(ranking, {}).pop(member, None)
            else:
                self.ranks.setdefault(ranking, {})[member] = score

    def _changed(self, key: str, entry: Entry | None, band: str | None) -> str | None:
        """Append *entry* unless the hash shows its outcome; return which band it shows then."""
        if entry is None or entry["to"] == band:
            return band
        self.changes.append((key, _leading_from(entry, band)))
        return entry["to"]

    def content(self) -> dict[str, dict[str, object]]:
        """Return hashes and rankings by key."""
        found: dict[str, dict[str, object]] = {key: dict(fields) for key, fields in self.hashes.items()}
        return found | {key: dict(members) for key, members in self.ranks.items() if members}


class Space:
    """A part of a server: everything is under a prefix, as the real sink puts it."""

    def __init__(self, redis: FakeRedis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix

    @property
    def run_id(self) -> int:
        """Which server this is."""
        return self._redis.run_id

    def ask_run_id(self) -> int:
        """Return which server this is."""
        return self._redis.ask_run_id()

    def script(self, queued: Iterable[Queued]) -> None:
        """Apply writes under the prefix."""
        self._redis.script([(self._under(write), earlier) for write, earlier in queued])

    def _under(self, write: Write) -> Write:
        ranks = tuple((self._prefix + ranking, member, score) for ranking, member, score in write.ranks)
        return msgspec.structs.replace(write, key=self._prefix + write.key, ranks=ranks)


_RANK = {"at_risk": 1, "watch": 2, "healthy": 3}


def _leading_from(entry: Mapping[str, str], band: str | None) -> dict[str, str]:
    """Return *entry* as a change from *band*, which readers saw last, if that is another one than it says."""
    found = dict(entry)
    if band is None or entry["from"] == band:
        return found
    found["from"] = band
    if "cause" in found and band in _RANK and found["to"] in _RANK:
        found["cause"] = "drop" if _RANK[found["to"]] < _RANK[band] else "rise"
    return found


class SimSink:
    """Stands in for `RedisSink`: the real `PendingWrites`, and steps instead of a background task."""

    def __init__(self, redis: Redis, most: int, resync: Callable[[], Iterable[Write]]) -> None:
        self._redis, self._resync = redis, resync
        self._pending = PendingWrites(most)
        self._run_id = 0
        self._resyncing: Iterator[Write] | None = None
        self._back: list[Iterator[Write]] = []
        self._shedding = False

    @property
    def busy(self) -> bool:
        """Whether something is left to write."""
        return (
            len(self._pending) > 0
            or self._shedding
            or self._resyncing is not None
            or bool(self._back)
            or self._run_id != self._redis.run_id
        )

    def put(self, writes: Iterable[Write]) -> None:
        """Take *writes* over; past the limit drop them for a resync."""
        for write in writes:
            if self._shedding and write.fields:
                continue
            if self._pending.add(write) and self._pending.full:
                self._pending.shed()
                self._shedding, self._resyncing, self._back = True, None, []

    def tell(self, writes: Iterator[Write], about: int) -> None:
        """Take what came back, to be told some at a time."""
        del about
        if not self._shedding:
            self._back.append(writes)

    def step(self, most: int) -> bool:
        """Write up to *most* entries; return whether Redis took them."""
        queued: list[Queued] = []
        try:
            run_id = self._redis.ask_run_id()
            if self._shedding or (self._run_id and run_id != self._run_id):
                self._shedding, self._resyncing, self._back = False, iter(self._resync()), []
            self._run_id = run_id
            queued = self._pending.take(most)
            again = list(islice(self._resyncing, most)) if self._resyncing is not None else []
            self._resyncing = self._resyncing if again else None
            while not again and self._back:
                again = list(islice(self._back[0], most))
                self._back = self._back if again else self._back[1:]
            queued += [(write, ()) for write in again if write.key not in self._pending]
            self._redis.script(queued)
        except AwayError:
            self._pending.give_back(queued)
            return False
        return True
