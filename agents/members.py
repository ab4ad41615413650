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
from streams.chunks import Outcome
from streams.dead_letters import DeadLetters
from streams.parked import Alias, encode_parked
from streams.read_directory import DirectoryLimits, org_entry, user_entry
from streams.reading import Rejected
from streams.tables import ChunkTable
from streams.transactions import Outgoing
from streams.transport import Chunk


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
    ) -> None:
        self._kind, self._router, self._table, self._dead_letters = kind, router, table, dead_letters
        self._ledger, self._limits, self._counted = ledger, limits, counted

    def handle(self, chunk: Chunk) -> Outcome:
        """Return what *chunk* leads to."""
        partition = chunk.tp.partition
        out: list[Outgoing] = []
        counts: Counter[str] = Counter()
        take = self._take_user if self._kind == "users" else self._take_org
        for record in chunk.records:
            try:
                out += take(partition, record)
                counts["directory"] += 1
            except Rejected as error:
                counts["dead_lettered"] += 1
                counts["dead:" + error.reason] += 1
                out.append(self._dead_letters.letter(error, self._kind, partition, record))
        ledger = self._ledger.source(partition, self._kind).after(len(chunk.records), counts, 0)
        out.append(self._ledger.keep_source(partition, self._kind, ledger))
        return Outcome(out, chunk.next_offset, lambda: self._tell(partition, counts))

    def _tell(self, partition: int, counts: Counter[str]) -> None:
        """Tell what was committed."""
        self._counted(self._kind, counts)
        self._ledger.show(partition, self._kind)

    def _take_user(self, partition: int, record: Any) -> list[Outgoing]:
        user, found = user_entry(record.key, record.value, self._limits)
        key = b"u:" + user.encode()
        former_raw = self._table.read(partition, key)
        former = None if former_raw is None else msgspec.msgpack.decode(former_raw, type=UserRecord)
        out = []
        if former is not None and (found is None or found.org != former.org):
            out.append(self._router.activity(former.org, Member(former.org, user, False, "", gone=True)))
        if found is not None:
            found = with_claims(found, former, record.timestamp)
            # A bot's seat is no customer's: it counts as no member.
            member = Member(found.org, user, found.licensed, found.job_type, gone=found.bot)
            out.append(self._router.activity(found.org, member))
        for alias in former.aliases if former else ():
            if found is None or alias not in found.aliases:
                out.append(self._router.unresolved(alias, encode_parked(Alias(alias, "", user, gone=True))))
        for alias, since_ms in zip(found.aliases, found.claimed_ms, strict=True) if found else ():
            assert found is not None
            known = Alias(alias, found.org, user, bot=found.bot, claimed_ms=since_ms)
            out.append(self._router.unresolved(alias, encode_parked(known)))
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
