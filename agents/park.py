"""Keeps activities of unknown people until the directory learns them.

Owns the table `park`: known aliases, and activities that wait for one.
Invariant: an activity is either waiting or was sent on once, whichever came
first, it or its alias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from agents.ingest import ids_of
from agents.ledger import PARK, Ledger
from agents.routing import Router
from state.activity import subject_of
from state.forgotten import digest_of
from state.identity import via_of
from state.ledger import PARK_OUTCOMES
from state.limits import NO_LIMIT
from state.packing import Packer
from streams.chunks import Outcome
from streams.dead_letters import DeadLetters, Refused
from streams.parked import Alias, Forgotten, Parked, decode_parked, read_claims
from streams.reading import Rejected
from streams.source_bytes import Place
from streams.suppression import Suppression
from streams.tables import ChunkTable
from streams.transactions import Outgoing
from streams.transport import Chunk

MAX_WAITING = 1000
"""Most activities that wait for one alias; further ones are dead letters (`park_full`)."""
MAX_WAITING_BYTES = 256 * 1024
"""Most bytes of them: they are one record of the table, which must fit in a message."""
MAX_CLAIMS = 100
"""Most users remembered that claim one alias; further ones are heard again when the directory tells of them again."""


_HEAD_BYTES = 8  # of a list
_WAITING = PARK_OUTCOMES.index("waiting")
_encode = msgspec.msgpack.Encoder().encode
_waiting = msgspec.msgpack.Decoder(list[Parked])


class _Waiting:
    """Who waits for one alias."""

    def __init__(self, raw: bytes | None) -> None:
        self.parked: list[Parked] = [] if raw is None else _waiting.decode(raw)
        self.size_bytes = len(raw or b"") + _HEAD_BYTES

    def add(self, parked: Parked) -> bool:
        """Let *parked* wait too, or say that there is no room."""
        size = len(_encode(parked))
        if len(self.parked) >= MAX_WAITING or self.size_bytes + size > MAX_WAITING_BYTES:
            return False
        self.parked.append(parked)
        self.size_bytes += size
        return True

    def keep(self, parked: list[Parked]) -> None:
        """Let only these wait on."""
        self.parked = parked
        self.size_bytes = _HEAD_BYTES + sum(len(_encode(each)) for each in parked)


def _can_go(parked: Parked, claim: Alias) -> bool:
    """Say whether *parked* has a place now: a bot's has one apart, and nobody's is of no org."""
    return claim.bot or bool(claim.org_of(parked))


def _ends(found: Parked | Alias) -> bool:
    return isinstance(found, Alias) and found.gone


@dataclass(slots=True)
class _Work:
    """What one chunk has led to so far; who waits and which aliases are known is written at its end."""

    out: list[Outgoing] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    claims: dict[str, list[Alias]] = field(default_factory=dict)
    waited: int = 0
    """Activities that waited in the partition before the chunk."""
    more: int = 0
    """How many more wait now; negative = fewer."""


class Park:
    """The handler of `unresolved`."""

    def __init__(
        self,
        router: Router,
        table: ChunkTable,
        dead_letters: DeadLetters,
        ledger: Ledger,
        counted: Callable[[str, Counter[str]], None],
        suppressed: Suppression | None = None,
        *,
        max_waiting: int = NO_LIMIT,
    ) -> None:
        self._max_waiting = max_waiting
        self._suppressed = suppressed if suppressed is not None else Suppression(None)
        self._router, self._table, self._dead_letters = router, table, dead_letters
        self._ledger, self._counted = ledger, counted

    def handle(self, chunk: Chunk) -> Outcome:
        """Return what *chunk* leads to."""
        partition = chunk.tp.partition
        work = _Work(waited=sum(share[_WAITING] for share in self._ledger.shares(partition, PARK).values()))
        for record in chunk.records:
            assert record.value is not None, "only orgpulse writes to unresolved"
            found = decode_parked(record.value)
            if isinstance(found, Forgotten):
                self._forget(partition, found, work)
            elif self._suppressed and self._suppressed.has(via_of(found.alias)) and not _ends(found):
                if isinstance(found, Parked):
                    work.counts[f"{found.topic}/{found.partition}/suppressed"] += 1
            elif isinstance(found, Alias):
                self._take_alias(partition, found, work)
            else:
                self._take_parked(partition, found, work)
        work.out += self._kept(partition, work) + self._count(partition, work.counts)
        further = partial(self._dead_letters.of_refused, work.refused) if work.refused else None
        return Outcome(work.out, chunk.next_offset, lambda: self._tell(partition, work), further)

    def _take_parked(self, partition: int, parked: Parked, work: _Work) -> None:
        claims = self._claims(partition, parked.alias, work)
        if claims and _can_go(parked, claims[0]):
            self._send_on([parked], claims[0], work)
        elif work.waited + work.more >= self._max_waiting:
            said = f"{work.waited + work.more} activities wait in this partition already (`ingest.max_parked`)"
            self._refuse(parked, said, work, with_bytes=False)
        elif self._waiting(partition, parked.alias, work).add(parked):
            work.counts[f"{parked.topic}/{parked.partition}/waiting"] += 1
            work.more += 1
        else:
            number = len(self._waiting(partition, parked.alias, work).parked)
            self._refuse(parked, f"{number} activities wait for {parked.alias!r} already", work)

    def _refuse(self, parked: Parked, said: str, work: _Work, *, with_bytes: bool = True) -> None:
        work.counts[f"{parked.topic}/{parked.partition}/dropped"] += 1
        place = Place(parked.topic, parked.partition, parked.offset)
        work.refused.append(Refused(Rejected("park_full", said), place, parked.partition, with_bytes))

    def _forget(self, partition: int, forgotten: Forgotten, work: _Work) -> None:
        """Let go of what waits under the aliases that *forgotten* means, and of who claims them."""
        known = {key[2:].decode() for key, _ in self._table.items(partition)} | work.waiting.keys() | work.claims.keys()
        digests = set(forgotten.digests)
        for alias in sorted(known):
            if digest_of(forgotten.salt, via_of(alias)) not in digests:
                continue
            waiting = self._waiting(partition, alias, work)
            for parked in waiting.parked:
                work.counts[f"{parked.topic}/{parked.partition}/waiting"] -= 1
                work.counts[f"{parked.topic}/{parked.partition}/suppressed"] += 1
            work.more -= len(waiting.parked)
            waiting.keep([])
            work.claims[alias] = []

    def _take_alias(self, partition: int, alias: Alias, work: _Work) -> None:
        """Note a claim or its end; as in the directory, the earliest claim to an alias counts."""
        claims = self._claims(partition, alias.alias, work)
        place = next((at for at, claim in enumerate(claims) if claim.user == alias.user), None)
        if alias.gone:
            if place is not None:
                del claims[place]
        elif place is not None:  # said again, or by somebody else: what counts more still counts
            earliest_ms = min(claims[place].claimed_ms, alias.claimed_ms)
            claims[place] = msgspec.structs.replace(alias, claimed_ms=earliest_ms)
        elif len(claims) < MAX_CLAIMS:
            claims.append(alias)
        claims.sort(key=lambda claim: (claim.claimed_ms, claim.user))
        waiting = self._waiting(partition, alias.alias, work)
        going = [p for p in waiting.parked if _can_go(p, claims[0])] if claims else []
        if going:
            self._send_on(going, claims[0], work)
            work.counts.subtract(f"{p.topic}/{p.partition}/waiting" for p in going)
            work.more -= len(going)
            waiting.keep([p for p in waiting.parked if not _can_go(p, claims[0])])

    def _send_on(self, waiting: list[Parked], alias: Alias, work: _Work) -> None:
        """Pack activities, by source partition, now that it is known whose they are."""
        for source in sorted({(p.topic, p.partition) for p in waiting}):
            mine = [p for p in waiting if (p.topic, p.partition) == source]
            outcome = "bot" if alias.bot else "released"
            work.counts[f"{source[0]}/{source[1]}/{outcome}"] += len(mine)
            if alias.bot:
                continue
            first = min(p.offset for p in mine)
            by_org: dict[str, Packer] = {}
            for parked in mine:
                org = alias.org_of(parked)
                subject = subject_of(org, alias.user, via_of(parked.alias), named=bool(parked.org))
                packer = by_org.setdefault(org, Packer())
                packer.add(
                    subject, parked.measure, parked.time_ms, parked.amount, *ids_of(org, parked),
                    min(parked.offset - first, 2**32 - 1), parked.place,
                )  # fmt: skip
            for org, packer in by_org.items():
                work.out += self._router.packed(self._router.partition(org), packer.rows(*source, first))

    def _kept(self, partition: int, work: _Work) -> list[Outgoing]:
        """Return the rows of the table that the chunk changed, each once."""
        rows: dict[bytes, Sequence[Parked | Alias]] = {
            b"p:" + alias.encode(): found.parked for alias, found in work.waiting.items()
        }
        rows |= {b"k:" + alias.encode(): claims for alias, claims in work.claims.items()}
        spelled = {key: _encode(row) if row else None for key, row in rows.items()}
        changed = {key: raw for key, raw in spelled.items() if raw != self._table.read(partition, key)}
        return [self._table.stage(partition, key, raw) for key, raw in changed.items()]

    def _claims(self, partition: int, alias: str, work: _Work) -> list[Alias]:
        """Return who claims *alias*, who has it first."""
        if alias not in work.claims:
            raw = self._table.read(partition, b"k:" + alias.encode())
            work.claims[alias] = [] if raw is None else read_claims(raw)
        return work.claims[alias]

    def _waiting(self, partition: int, alias: str, work: _Work) -> _Waiting:
        if alias not in work.waiting:
            work.waiting[alias] = _Waiting(self._table.read(partition, b"p:" + alias.encode()))
        return work.waiting[alias]

    def _count(self, partition: int, counts: Counter[str]) -> list[Outgoing]:
        """Keep, by source partition, what became of the parked: they wait, were released, a bot's or dropped."""
        shares = self._ledger.shares(partition, PARK)
        for name, number in counts.items():
            topic, source, outcome = name.split("/")
            share = shares.setdefault((topic, int(source)), [0] * len(PARK_OUTCOMES))
            share[PARK_OUTCOMES.index(outcome)] += number
        return self._ledger.keep_shares(partition, PARK, shares)

    def _tell(self, partition: int, work: _Work) -> None:
        """Tell what was committed; how many wait is a level, not a sum."""
        told = Counter({name: number for name, number in work.counts.items() if not name.endswith("/waiting")})
        self._counted("unresolved", told)
        dead = Counter((refused.place.topic, refused.error.reason) for refused in work.refused)
        for (topic, reason), number in dead.items():
            self._counted(topic, Counter({f"dead:{reason}": number}))
        self._ledger.show(partition, PARK)
