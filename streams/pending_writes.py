"""What waits for Redis: one write per key, within a limit.

Invariant: `len(pending)` never exceeds the limit, and the write held for a key is the newest one put. Beyond the
limit everything goes but deletions (a resync can emit what exists, not what is gone), and the caller resyncs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from msgspec import structs

from streams.fenced_write import Queued, Told, Write


class PendingWrites:
    """Coalesces writes by key; the changes of the writes it replaced stay, in fence order."""

    def __init__(self, limit: int) -> None:
        """Hold at most *limit* writes and replaced changes together."""
        self.limit = limit
        self._held: OrderedDict[str, Write] = OrderedDict()
        self._earlier: dict[str, list[Told]] = {}
        self._earlier_count = 0

    def __len__(self) -> int:
        return len(self._held) + self._earlier_count

    def __contains__(self, key: str) -> bool:
        return key in self._held

    @property
    def full(self) -> bool:
        """Whether the limit is passed and `shed` is due."""
        return len(self._held) + self._earlier_count > self.limit

    def add(self, write: Write) -> bool:
        """Hold *write*, or refuse it (False) because a newer one of its key is held."""
        held = self._held.get(write.key)
        if held is None:
            self._held[write.key] = write
            return True
        if write.fence < held.fence:
            return False
        self._held[write.key] = self._replace(held, write)
        return True

    def take(self, count: int) -> list[Queued]:
        """Remove and return up to *count* writes, oldest key first."""
        taken: list[Queued] = []
        held, earlier = self._held, self._earlier
        for _ in range(min(count, len(held))):
            key, write = held.popitem(last=False)
            changes = earlier.pop(key, ()) if earlier else ()
            self._earlier_count -= len(changes)
            taken.append((write, tuple(changes)))
        return taken

    def give_back(self, queued: Sequence[Queued]) -> None:
        """Hold again, at the front, what could not be sent; what was put since then wins by its fence."""
        for write, changes in reversed(queued):
            if changes:
                self._remember(write.key, changes)
            since = self._held.get(write.key)
            if since is None:
                self._held[write.key] = write
            elif since.fence < write.fence:
                self._held[write.key] = self._replace(since, write)
            else:
                self._held[write.key] = self._replace(write, since)
            self._held.move_to_end(write.key, last=False)

    def shed(self) -> int:
        """Drop everything but deletions, and those too where they alone fill half the limit; return how many."""
        before = len(self)
        gone = OrderedDict((key, write) for key, write in self._held.items() if not write.fields)
        self._held = gone if len(gone) <= self.limit // 2 else OrderedDict()
        self._earlier.clear()
        self._earlier_count = 0
        return before - len(self)

    def _replace(self, old: Write, new: Write) -> Write:
        """Return *new* with the ranks of *old* it does not name; an older change is remembered on the side."""
        change, missed = new.change, new.missed
        if old.fence == new.fence:
            change, missed = change or old.change, missed or old.missed
        elif old.change is not None or old.missed is not None:
            self._remember(old.key, (Told(old.fence, old.change, old.missed),))
        if change is new.change and missed is new.missed and (not old.ranks or _names(old) <= _names(new)):
            return new
        ranks = {(key, member): score for key, member, score in (*old.ranks, *new.ranks)}
        merged = tuple((key, member, score) for (key, member), score in ranks.items())
        return structs.replace(new, ranks=merged, change=change, missed=missed)

    def _remember(self, key: str, told: Iterable[Told]) -> None:
        """Keep *told* by its fence; of what may be missed twice without a change in between, the later says enough."""
        kept = self._earlier.get(key, [])
        found = list[Told]()
        for each in sorted((*kept, *told), key=lambda each: each.fence):
            if found and not each.change and not found[-1].change:
                found.pop()
            found.append(each)
        self._earlier[key] = found
        self._earlier_count += len(found) - len(kept)


def _names(write: Write) -> set[tuple[str, str]]:
    return {(key, member) for key, member, _ in write.ranks}
