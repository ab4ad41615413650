"""Everything told to Redis again, piece by piece; then what nobody knows is removed.

Invariant: a resync that began ends by having offered every write of `everything`, or begins anew; how far it is
stands in the log and in `orgpulse_redis_resync_ratio`. Only keys that the owner of their org disowns are removed,
by a write fenced like any other, so a worker that owns them no longer can't remove what came after it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog
from redis.asyncio import Redis

from streams.fenced_write import Write
from streams.metrics import Metrics
from streams.redis_rights import escaped

PROGRESS_SECONDS = 2.0  # how often a resync says how far it is
SCAN_KEYS = 500  # keys looked at per round trip
_ALMOST = 0.99
RANKS_END = ":by-score"  # of a sorted set's key

_log = structlog.get_logger(__name__)


def _text(raw: object) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)


def _nothing(_: Sequence[str]) -> Iterable[Write]:
    return ()


@dataclass(frozen=True)
class Source:
    """Where everything comes from.

    Attributes:
        everything: Gives everything that should be in Redis now. It is read piece by piece, so it must bear changes
            of the state between two items, and fence each value with the position it was taken at.
        total: About how many writes that will be.
        unknown: Given keys (and members of sorted sets as ``set\\0member``), gives the deletions of those
            that lie in this worker's part and that it does not know.
    """

    everything: Callable[[], Iterable[Write]]
    total: Callable[[], int] = lambda: 0
    unknown: Callable[[Sequence[str]], Iterable[Write]] = _nothing


class Resync:
    """One telling of everything after the other, each begun for a reason."""

    def __init__(self, source: Source, prefix: str, metrics: Metrics) -> None:
        """Begin with nothing to do."""
        self.wanted = ""  # the reason, or nothing
        self.done_at = time.monotonic()  # when Redis was last known to have been told everything
        self._source, self._prefix, self._metrics = source, prefix, metrics
        self._telling: Iterator[Write] | None = None
        self._back: deque[Iterator[Write]] = deque()  # of partitions that came back; told after everything else
        self._sweep: Sweep | None = None
        self._told, self._total, self._began, self._said_at = 0, 0, 0.0, 0.0
        metrics.redis_resync_ratio.set(1)

    @property
    def telling(self) -> bool:
        """Whether there is more to tell."""
        return self._telling is not None or bool(self._back)

    @property
    def progress(self) -> str:
        """How far it is, for people; empty when nothing is under way."""
        if self.wanted:
            return f"everything will be told again: {self.wanted}"
        return f"{self._told} of about {max(self._total, self._told)} told again" if self.telling else ""

    def request(self, reason: str) -> None:
        """Have everything told again, from the beginning."""
        self.wanted, self._telling, self._sweep = reason, None, None
        self._back.clear()  # a part of everything
        self._metrics.redis_resync_ratio.set(0)

    def add(self, writes: Iterator[Write], about: int) -> None:
        """Have *writes* told too, *about* so many: those of a partition that came back."""
        if self.wanted:
            return  # they are a part of everything, which has not begun
        if not self.telling:
            self._told, self._total, self._began = 0, 0, time.monotonic()
            self._said_at = self._began
        self._back.append(writes)
        self._total += about
        self._metrics.redis_resync_ratio.set(self._ratio())

    def begin(self) -> None:
        """Begin what was requested."""
        _log.warning("redis resync begins", reason=self.wanted)
        self._metrics.redis_resyncs.add(1)
        self.wanted, self._told, self._began = "", 0, time.monotonic()
        self._said_at, self._total = self._began, self._source.total()
        self._telling = iter(self._source.everything())

    def take(self, count: int) -> list[Write]:
        """Return the next *count* writes; fewer at the end."""
        found = self._of_everything(count) if self._telling is not None else []
        while not found and self._back:
            found = list(islice(self._back[0], count))
            if not found:
                self._back.popleft()
        self._told += len(found)
        now = time.monotonic()
        seconds = round(now - self._began, 3)
        if not self.telling:
            self._metrics.redis_resync_ratio.set(1)
            _log.info("redis was told again", writes=self._told, seconds=seconds)
            return found
        self._metrics.redis_resync_ratio.set(self._ratio())
        if now - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
            _log.info("redis is told again", writes=self._told, of_about=self._total, seconds=seconds)
        return found

    def _ratio(self) -> float:
        """Return how far it is; below 1 until the end, for the total is a guess."""
        return min(_ALMOST, self._told / max(1, self._total))

    def _of_everything(self, count: int) -> list[Write]:
        """Return the next writes of everything; at its end none, and keys that nobody knows are looked for."""
        assert self._telling is not None
        found = list(islice(self._telling, count))
        if not found:
            self._telling, self._sweep = None, Sweep(self._source.unknown, self._prefix)
            self.done_at = time.monotonic()
        return found

    async def sweep(self, client: Redis) -> list[Write] | None:
        """After everything was told: look at some more keys and return deletions of unknown ones; None = all seen."""
        if self._sweep is None:
            return None
        found = await self._sweep.step(client)
        if found is None:
            if self._sweep.removed:
                _log.warning("redis held keys that nobody knows; they were removed", keys=self._sweep.removed)
            self._sweep = None
        return found


class Sweep:
    """One look at all keys under the prefix, a page at a time."""

    def __init__(self, unknown: Callable[[Sequence[str]], Iterable[Write]], prefix: str) -> None:
        self._unknown, self._prefix = unknown, prefix
        self._pattern = escaped(prefix) + "*"
        self._cursor, self._seen_all = 0, False
        self._ranks: list[tuple[str, int]] = []  # sorted sets still to be looked at, from a cursor on
        self.removed = 0

    async def step(self, client: Redis) -> list[Write] | None:
        """Look at one page; return the deletions it leads to, None when there is none left."""
        if self._ranks:
            names = await self._members(client, *self._ranks.pop())
        elif not self._seen_all:
            self._cursor, raw = await client.scan(self._cursor, match=self._pattern, count=SCAN_KEYS)
            self._seen_all = not self._cursor
            names = [_text(key).removeprefix(self._prefix) for key in raw]
            self._ranks += [(name, 0) for name in names if name.endswith(RANKS_END)]
        else:
            return None
        found = await self._ours(client, list(self._unknown(names)))
        self.removed += len(found)
        return found

    async def _members(self, client: Redis, name: str, cursor: int) -> list[str]:
        after, members = await client.zscan(self._prefix + name, cursor, count=SCAN_KEYS)
        if after:
            self._ranks.append((name, after))
        return [f"{name}\0{_text(member)}" for member, _ in members]

    async def _ours(self, client: Redis, writes: list[Write]) -> list[Write]:
        """Leave out what is no hash with a fence (somebody else's), and what is a tombstone already."""
        async with client.pipeline(transaction=False) as pipe:
            for write in writes:
                pipe.type(self._prefix + write.key)
            kinds = await pipe.execute()
            for write, kind in zip(writes, kinds, strict=True):
                if kind == b"hash":
                    pipe.hmget(self._prefix + write.key, "fence", "deleted")
            fields = iter(await pipe.execute())
        found = []
        for write, kind in zip(writes, kinds, strict=True):
            fence, deleted = next(fields) if kind == b"hash" else (b"", None)
            if kind == b"none" or (kind == b"hash" and fence is not None and deleted is None):
                found.append(write)
        return found
