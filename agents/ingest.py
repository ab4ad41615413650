"""Reads a chunk of raw messages and writes packed activities: gather, resolve, pack.

Owns the way of one source topic. Invariant: of every message exactly one thing
becomes: an activity, a parked activity, a dead letter, or it is counted apart;
all of it leaves in one transaction with the source's offset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import xxhash

from agents.ledger import Ledger
from agents.routing import Router
from state.activity import SEPARATOR, subject_of
from state.identity import EVENT, Directory, Link, org_alias, spelled
from state.packing import Packer
from streams.chunks import Outcome
from streams.dead_letters import ChunkLetters, DeadLetters, FloodGuard
from streams.parked import Parked, encode_parked
from streams.reading import Reader, Reading, Rejected, check_unpacked
from streams.settings_work import IngestSettings
from streams.suppression import Suppression
from streams.transactions import Outgoing
from streams.transport import Chunk

CREATE, PARK = "create", "park"
_hash = xxhash.xxh3_64_intdigest
_ORG_SEED = 0x6F7267  # another one than ids have, or org and id could change places


def policies(ingest: IngestSettings) -> dict[str, str]:
    """Return by source (without prefix) what is done about unknown people: CREATE or PARK."""
    return {
        "product-events": ingest.unknown_product_events,
        "syslog-activities": ingest.unknown_syslog,
        "chat-messages": ingest.unknown_chat,
        "transactions": ingest.unknown_transactions,
    }


@dataclass(frozen=True, slots=True)
class Source:
    """One raw topic: how to read it, and what to do about unknown people."""

    topic: str  # with prefix
    name: str  # without
    read: Reader
    unknown: str  # CREATE or PARK


@dataclass(slots=True)
class _Work:
    """What one chunk has led to so far."""

    letters: ChunkLetters
    counts: Counter[str]
    packer: Packer = field(default_factory=Packer)
    out: list[Outgoing] = field(default_factory=list)


class Ingest:
    """The handler of one source topic."""

    def __init__(
        self,
        source: Source,
        router: Router,
        directory: Directory,
        ledger: Ledger,
        dead_letters: DeadLetters,
        flood: FloodGuard,
        *,
        now: Callable[[], float],
        max_value_bytes: int,
        max_ahead_ms: int,
        lateness_ms: int,
        max_aliases: int,
        counted: Callable[[str, Counter[str]], None],
        suppressed: Suppression | None = None,
    ) -> None:
        self._suppressed = suppressed if suppressed is not None else Suppression(None)
        self._source, self._router, self._directory = source, router, directory
        self._ledger, self._dead_letters, self._flood = ledger, dead_letters, flood
        self._now, self._counted, self._max_aliases = now, counted, max_aliases
        self._max_value_bytes, self._max_ahead_ms, self._lateness_ms = max_value_bytes, max_ahead_ms, lateness_ms

    def handle(self, chunk: Chunk) -> Outcome:
        """Return what *chunk* leads to."""
        partition = chunk.tp.partition
        ledger = self._ledger.source(partition, self._source.name)
        counts: Counter[str] = Counter()
        work = _Work(ChunkLetters(self._dead_letters, self._source.name, partition, counts), counts)
        newest = self._read_all(chunk, work, ledger.watermark_ms)
        arrived = chunk.records[0].timestamp / 1000
        split = work.packer.split(
            self._router.partition_of_subject, self._source.name, partition, chunk.first_offset, arrived
        )
        for target, rows in split.items():
            counted = msgspec.structs.replace(rows, before=ledger.sent.get(target, 0))
            work.out += self._router.packed(target, counted)
        work.counts["forwarded"] = len(work.packer.at)
        # A batch that was skipped is one mistake, however many messages it claims to hold.
        self._flood.watch(partition, len(chunk.records), work.counts["dead_lettered"] - work.letters.skipped)
        sent = {target: len(rows.measure) for target, rows in split.items()}
        ledger = ledger.after(len(chunk.records) + work.letters.skipped, work.counts, newest, sent)
        work.out.append(self._ledger.keep_source(partition, self._source.name, ledger))
        return Outcome(work.out, chunk.next_offset, lambda: self._tell(partition, work.counts))

    def _tell(self, partition: int, counts: Counter[str]) -> None:
        """Tell what was committed."""
        self._counted(self._source.name, counts)
        self._ledger.show(partition, self._source.name)

    def _read_all(self, chunk: Chunk, work: _Work, watermark_ms: int) -> int:
        """Read every record of *chunk* into *work*; return the newest event time (ms).

        Whose an activity of a known person is, the usual case, is found out here without a call.
        """
        read, first, suppressed = self._source.read, chunk.first_offset, self._suppressed
        ceiling = int(self._now() * 1000) + self._max_ahead_ms
        floor, newest = watermark_ms - self._lateness_ms, watermark_ms
        watching, person_of, add = bool(suppressed), self._directory.people.get, work.packer.add
        for record in chunk.records:
            value = record.value
            try:
                if value is None:
                    check_unpacked(record)
                    if watching and suppressed.is_named_in(record.key):
                        work.counts["suppressed"] += 1  # the end of what a compacted topic held of them
                        continue
                    raise Rejected("not_json", "no value")
                if len(value) > self._max_value_bytes:
                    raise Rejected("too_big", f"{len(value)} bytes, at most {self._max_value_bytes}")
                found = read(value)
                if watching and (suppressed.has(found.who) or suppressed.has(found.link)):
                    work.counts["suppressed"] += 1
                    continue
                time_ms = found.time_ms
                if time_ms > ceiling:
                    raise Rejected("bad_time", f"{(time_ms - ceiling) // 1000} s too far ahead of now")
                if time_ms < floor:
                    raise Rejected("too_late", f"{(floor - time_ms) // 1000} s beyond the allowed lateness")
            except Rejected as error:
                work.out.append(work.letters.of(error, record))
                continue
            if time_ms > newest:
                newest = time_ms
                floor = newest - self._lateness_ms
            at, org, person = record.offset - first, found.org, person_of(found.who)
            if person is None or person.bot or found.apart or found.link or (org and org != person.org):
                subject = self._subject_of(found, at, chunk, work)
            else:
                subject = person.named_subject if org else person.subject or self._subject_of(found, at, chunk, work)
                org = person.org
            if not subject:
                continue
            id_, ref = ids_of(org or subject.partition(SEPARATOR)[0], found)
            add(subject, found.measure, time_ms, found.amount, id_, ref, at, found.place)
        return newest

    def _subject_of(self, found: Reading, at: int, chunk: Chunk, work: _Work) -> str:
        """Find out whose activity it is; park it or set it apart if it is to count for nobody now (empty)."""
        org = found.org
        if found.apart:
            work.counts[found.apart] += 1
            return ""
        if found.link:
            work.counts["identity"] += 1
            self._link(found.who, found.link, work)
            return ""
        if not found.who:
            if self._source.unknown == PARK and org not in self._directory.orgs:
                self._park(found, org_alias(org), at, chunk, work)
                return ""
            return org + SEPARATOR
        person = self._directory.find(found.who)
        if person is None:
            if not org or self._source.unknown == PARK:
                self._park(found, self._directory.waiting_alias(found.who), at, chunk, work)
                return ""
            return subject_of(org, spelled(found.who), named=True)
        if person.bot:
            work.counts["bot"] += 1
            return ""
        if org:
            return person.subject_in(org)
        subject = person.subject_at(found.time_ms)
        if not subject:  # of no org at that time
            self._park(found, spelled(found.who), at, chunk, work)
        return subject

    def _link(self, who: str, alias: str, work: _Work) -> None:
        """Link two aliases that an event says are one person, if just one of them is known.

        Two known users are never merged by an event; and what an operator said of an alias stands.
        """
        directory = self._directory
        known, other = directory.find(who), directory.find(alias)
        if known is None:
            known, other, alias = other, known, who
        if known is None or other is not None:
            same = known is not None and other is not None and known.user == other.user
            work.counts["link:" + ("unknown" if known is None else "known" if same else "merge")] += 1
        elif directory.link_of(alias) is not None:
            work.counts["link:unlinked"] += 1
        elif len(directory.aliases_of(known.user)) >= self._max_aliases:
            work.counts["link:too_many"] += 1
        else:
            work.counts["link:made"] += 1
            work.out += self._router.link(Link(alias, known.user, EVENT), directory.users[known.user])

    def _park(self, found: Reading, alias: str, at: int, chunk: Chunk, work: _Work) -> None:
        work.counts["parked"] += 1
        parked = Parked(
            alias, found.org, found.measure, found.time_ms, found.amount, found.id, found.ref,
            self._source.name, chunk.tp.partition, chunk.first_offset + at, found.place,
        )  # fmt: skip
        work.out.append(self._router.unresolved(alias, encode_parked(parked)))


@lru_cache(maxsize=1 << 16)
def salt_of(org: str) -> int:
    """Return what makes ids of *org* its own: they are told apart from other orgs', and can be made another org's."""
    return _hash(org.encode(), seed=_ORG_SEED)


def ids_of(org: str, found: Any) -> tuple[int, int]:
    """Return the 64-bit hashes of a reading's id and of what it refers to (0 = nothing), within its org."""
    ref, salt = found.ref, salt_of(org)
    return _hash(found.id.encode()) ^ salt, _hash(ref.encode()) ^ salt if ref else 0
