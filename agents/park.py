"""Keeps activities of unknown people until the directory learns them.

Owns the table `park`: known aliases, and activities that wait for one.
Invariant: an activity is either waiting or was sent on once, whichever came
first, it or its alias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from agents.ingest import ids_of
from agents.ledger import PARK, Ledger
from agents.routing import Router
from state.activity import SEPARATOR, Packer
from state.ledger import PARK_OUTCOMES
from streams.chunks import Outcome
from streams.dead_letters import DeadLetters
from streams.parked import Alias, Parked, decode_parked
from streams.reading import Rejected
from streams.tables import ChunkTable
from streams.transactions import Outgoing
from streams.transport import Chunk

MAX_WAITING = 1000
"""Most activities that wait for one alias; further ones are dead letters (`park_full`)."""
MAX_WAITING_BYTES = 256 * 1024
"""Most bytes of them: they are one record of the table, which must fit in a message."""


class _Place:
    """Stands in for the source record of a parked activity, whose bytes are in its source topic."""

    key = None
    value = None

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Park:
    """The handler of `unresolved`."""

    def __init__(
        self,
        router: Router,
        table: ChunkTable,
        dead_letters: DeadLetters,
        ledger: Ledger,
        counted: Callable[[str, Counter[str]], None],
    ) -> None:
        self._router, self._table, self._dead_letters = router, table, dead_letters
        self._ledger, self._counted = ledger, counted

    def handle(self, chunk: Chunk) -> Outcome:
        """Return what *chunk* leads to."""
        partition = chunk.tp.partition
        out: list[Outgoing] = []
        counts: Counter[str] = Counter()
        for record in chunk.records:
            assert record.value is not None, "only orgpulse writes to unresolved"
            found = decode_parked(record.value)
            out += (
                self._take_alias(partition, found, counts)
                if isinstance(found, Alias)
                else self._take_parked(partition, found, counts)
            )
        out += self._count(partition, counts)
        return Outcome(self._settled(out), chunk.next_offset, lambda: self._tell(partition, counts))

    def _take_parked(self, partition: int, parked: Parked, counts: Counter[str]) -> list[Outgoing]:
        alias = self._known(partition, parked.alias)
        if alias is not None:
            return self._send_on([parked], alias, counts)
        key = b"p:" + parked.alias.encode()
        waiting = self._waiting(partition, key)
        raw = msgspec.msgpack.encode([*waiting, parked])
        if len(waiting) >= MAX_WAITING or len(raw) > MAX_WAITING_BYTES:
            counts[f"{parked.topic}/{parked.partition}/dropped"] += 1
            counts["dead:park_full"] += 1
            error = Rejected("park_full", f"{len(waiting)} activities wait for {parked.alias!r} already")
            return [self._dead_letters.letter(error, parked.topic, parked.partition, _Place(parked.offset))]
        counts[f"{parked.topic}/{parked.partition}/waiting"] += 1
        return [self._table.stage(partition, key, raw)]

    def _take_alias(self, partition: int, alias: Alias, counts: Counter[str]) -> list[Outgoing]:
        known_key, key = b"k:" + alias.alias.encode(), b"p:" + alias.alias.encode()
        if alias.gone:
            known = self._known(partition, alias.alias)
            if known is None or known.user != alias.user:
                return []  # another user has claimed it since
            return [self._table.stage(partition, known_key, None)]
        out = [self._table.stage(partition, known_key, msgspec.msgpack.encode(alias))]
        waiting = self._waiting(partition, key)
        if waiting:
            out += self._send_on(waiting, alias, counts)
            counts.subtract(f"{p.topic}/{p.partition}/waiting" for p in waiting)
            out.append(self._table.stage(partition, key, None))
        return out

    def _send_on(self, waiting: list[Parked], alias: Alias, counts: Counter[str]) -> list[Outgoing]:
        """Return packed activities, by source partition, now that it is known whose they are."""
        out = []
        for source in sorted({(p.topic, p.partition) for p in waiting}):
            mine = [p for p in waiting if (p.topic, p.partition) == source]
            outcome = "bot" if alias.bot else "released"
            counts[f"{source[0]}/{source[1]}/{outcome}"] += len(mine)
            if alias.bot:
                continue
            first = min(p.offset for p in mine)
            by_org: dict[str, Packer] = {}
            for parked in mine:
                org = parked.org or alias.org
                subject = org + SEPARATOR + alias.user
                by_org.setdefault(org, Packer()).add(
                    subject, parked.measure, parked.time_ms, parked.amount, *ids_of(org, parked),
                    min(parked.offset - first, 2**32 - 1),
                )  # fmt: skip
            for org, packer in by_org.items():
                out += self._router.packed(self._router.partition(org), packer.rows(source[0], source[1], first))
        return out

    def _settled(self, out: list[Outgoing]) -> list[Outgoing]:
        """Leave out writes to the table that a later one replaces: a transaction shows only its end."""
        changelog = self._table.changelog
        last = {record.key: n for n, record in enumerate(out) if record.topic == changelog}
        return [record for n, record in enumerate(out) if record.topic != changelog or last[record.key] == n]

    def _known(self, partition: int, alias: str) -> Alias | None:
        raw = self._table.read(partition, b"k:" + alias.encode())
        return None if raw is None else msgspec.msgpack.decode(raw, type=Alias)

    def _waiting(self, partition: int, key: bytes) -> list[Parked]:
        raw = self._table.read(partition, key)
        return [] if raw is None else msgspec.msgpack.decode(raw, type=list[Parked])

    def _count(self, partition: int, counts: Counter[str]) -> list[Outgoing]:
        """Keep, by source partition, what became of the parked: they wait, were released, a bot's or dropped."""
        shares = self._ledger.shares(partition, PARK)
        for name, number in counts.items():
            topic, _, rest = name.partition("/")
            if rest:
                source, _, outcome = rest.partition("/")
                share = shares.setdefault((topic, int(source)), [0] * len(PARK_OUTCOMES))
                share[PARK_OUTCOMES.index(outcome)] += number
        return self._ledger.keep_shares(partition, PARK, shares)

    def _tell(self, partition: int, counts: Counter[str]) -> None:
        """Tell what was committed; how many wait is a level, not a sum."""
        told = Counter({name: number for name, number in counts.items() if not name.endswith("/waiting")})
        self._counted("unresolved", told)
        self._ledger.show(partition, PARK)
