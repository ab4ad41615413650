"""Reads the directory topics and tells the shards and the waiting about it.

Owns the table `members`: each user's and org's last entry, to know what a new
one changes. Invariant: when a user's org or an alias changes, both the former
and the new place hear of it, in one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from agents.ledger import Ledger
from agents.routing import Router
from state.activity import Member, Org
from state.identity import OrgRecord, UserRecord, org_alias, with_claims
from state.membership import ALWAYS_MS, FOREVER_MS, Membership, joined, last_stints
from state.records import record_of
from streams.chunks import Outcome
from streams.dead_letters import ChunkLetters, DeadLetters
from streams.parked import Alias, encode_parked
from streams.read_directory import DirectoryLimits, org_entry, user_entry
from streams.reading import Rejected, check_unpacked
from streams.suppression import Suppression
from streams.tables import ChunkTable
from streams.transactions import Outgoing
from streams.transport import Chunk

CARRIED = -2
"""Offset in a row that was carried over from a former generation."""
ROW_OF_USER = b"u:"
"""Keys of the table `members` begin with it."""
_user = msgspec.msgpack.Decoder(UserRecord)


def decode_user(raw: bytes) -> UserRecord:
    """Return the row of a user in the table `members`.

    Raises:
        msgspec.DecodeError: If *raw* is none.
    """
    return record_of(_user, raw)


def with_past(found: UserRecord, former: UserRecord | None, at_ms: int, offset: int) -> UserRecord:
    """Return an entry of the directory, said at *at_ms* at *offset* of its log, with all memberships and claims."""
    found = with_claims(found, former, at_ms)
    before = former.memberships or [(ALWAYS_MS, FOREVER_MS, former.org)] if former else []
    known = joined(before, found.org, found.since_ms, found.until_ms, at_ms)
    return msgspec.structs.replace(found, memberships=known, offset=offset)


def members_of(user: str, former: UserRecord | None, found: UserRecord | None) -> list[Member]:
    """Return what the shards of the orgs that a user belongs to, or belonged to, have to know now.

    A bot's seat is no customer's: it counts as no member. So does who is gone from the directory.
    """
    stints = last_stints(found.memberships) if found else {}
    known = last_stints(former.memberships or [(ALWAYS_MS, FOREVER_MS, former.org)]) if former else {}
    if former is not None and former.offset == CARRIED:
        known = {}  # the shards of this generation were told nothing yet
    told = [Member(org, user, False, "", gone=True) for org in known if org not in stints]
    for org, (since, until) in stints.items():
        assert found is not None
        if org == found.org or known.get(org) != (since, until):
            end = 0 if until == FOREVER_MS else until
            told.append(Member(org, user, found.licensed, found.job_type, found.bot, since, end, found.display_name))
    return told


def _told(found: UserRecord) -> list[Membership]:
    """Return memberships as those that wait are told of them: none when the org never changes."""
    return [] if found.memberships == [(ALWAYS_MS, FOREVER_MS, found.org)] else found.memberships


class Members:
    """The handler of `users` (*kind* "users") or `orgs` (*kind* "orgs")."""

    def __init__(
        self,
        kind: str,
        router: Router,
        table: ChunkTable,
        dead_letters: DeadLetters,
        ledger: Ledger,
        *,
        limits: DirectoryLimits,
        counted: Callable[[str, Counter[str]], None],
        suppressed: Suppression | None = None,
        ends_entries: bool = True,
    ) -> None:
        """Prepare; *ends_entries* says whether the end of a refused entry is written (not by who computes aside)."""
        self._ends_entries = ends_entries
        self._suppressed = suppressed if suppressed is not None else Suppression(None)
        self._kind, self._router, self._table, self._dead_letters = kind, router, table, dead_letters
        self._ledger, self._limits, self._counted = ledger, limits, counted

    def handle(self, chunk: Chunk) -> Outcome:
        """Return what *chunk* leads to."""
        partition = chunk.tp.partition
        out: list[Outgoing] = []
        counts: Counter[str] = Counter()
        take = self._take_user if self._kind == "users" else self._take_org
        suppressed = self._suppressed if self._kind == "users" else None
        letters = ChunkLetters(self._dead_letters, self._kind, partition, counts)
        for record in chunk.records:
            try:
                check_unpacked(record)
                if suppressed and (gone := self._refused(partition, record)) is not None:
                    out += gone
                    counts["suppressed"] += 1
                    continue
                out += take(partition, record)
                counts["directory"] += 1
            except Rejected as error:
                out.append(letters.of(error, record))
        ledger = self._ledger.source(partition, self._kind).after(len(chunk.records) + letters.skipped, counts, 0)
        out.append(self._ledger.keep_source(partition, self._kind, ledger))
        return Outcome(out, chunk.next_offset, lambda: self._tell(partition, counts))

    def _tell(self, partition: int, counts: Counter[str]) -> None:
        """Tell what was committed."""
        self._counted(self._kind, counts)
        self._ledger.show(partition, self._kind)

    def _refused(self, partition: int, record: Any) -> list[Outgoing] | None:
        """Return what is said of an entry of somebody who was forgotten: its end; None = of nobody such."""
        if record.value is None:
            return None  # it ends what is known, of whoever it is
        user, found = user_entry(record.key, record.value, self._limits)
        if not self._suppressed.has_any([user, *found.aliases]):
            return None
        return [Outgoing(self._router.users_topic, partition, record.key, None)] if self._ends_entries else []

    def _take_user(self, partition: int, record: Any) -> list[Outgoing]:
        user, found = user_entry(record.key, record.value, self._limits)
        key = ROW_OF_USER + user.encode()
        former_raw = self._table.read(partition, key)
        former = None if former_raw is None else decode_user(former_raw)
        if found is not None:
            found = with_past(found, former, record.timestamp, record.offset)
        out = [self._router.activity(member.org, member) for member in members_of(user, former, found)]
        for alias in former.aliases if former else ():
            if found is None or alias not in found.aliases:
                out.append(self._router.unresolved(alias, encode_parked(Alias(alias, "", user, gone=True))))
        for alias, since_ms in zip(found.aliases, found.claimed_ms, strict=True) if found else ():
            assert found is not None
            known = Alias(alias, found.org, user, bot=found.bot, claimed_ms=since_ms, memberships=_told(found))
            out.append(self._router.unresolved(alias, encode_parked(known)))
        if found is None and former_raw is None:
            return out  # the end of nobody who is known: why remember the name?
        value = None if found is None else msgspec.msgpack.encode(found)
        return [*out, self._table.stage(partition, key, value)]

    def _take_org(self, partition: int, record: Any) -> list[Outgoing]:
        org, found = org_entry(record.key, record.value, self._limits)
        described = found or OrgRecord(org, "", "UTC", "")
        gone = found is None
        alias = org_alias(org)
        return [
            self._router.activity(org, Org(org, described.name, described.timezone, described.group_type, gone=gone)),
            self._router.unresolved(alias, encode_parked(Alias(alias, org, "", gone=gone))),
        ]
