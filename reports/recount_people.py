"""Who is who for the recount: the directory as it is at the end.

Owns the recount's own reading of `users` and `orgs`. An alias leads to the
user who claimed it first (by the records' time stamps, in the same millisecond
the lesser id), for good; a user who is gone keeps what was theirs and is no
member any more. Invariant: depends on the records alone, in the order of their
time stamps (then partition, then offset).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reports.recount_read import Options, Refused, identity, org_identity, parsed, plain, refuse

Raw = tuple[str, int, int, bytes | None, bytes | None, int]
"""Topic without prefix, partition, offset, key, value, time stamp (ms)."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the directory."""

    user: str
    org: str
    bot: bool


@dataclass(frozen=True, slots=True)
class OrgEntry:
    """An org of the directory."""

    name: str = ""
    zone: str = "UTC"
    group_type: str = ""


def spelling(alias: str) -> str:
    """Return *alias* as it is compared: trimmed, e-mail addresses in lower case.

    >>> spelling(" Ann@Example.ORG "), spelling("Ann")
    ('ann@example.org', 'Ann')
    """
    return alias.strip().lower() if "@" in alias else alias.strip()


@dataclass
class People:
    """The directory."""

    orgs: dict[str, OrgEntry] = field(default_factory=dict)
    membership: dict[tuple[str, str], str] = field(default_factory=dict)
    """(org, user) → licensed, unlicensed or gone (bots are gone: their seats are no customer's)."""
    dead: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """(topic, partition, reason) → unreadable entries."""
    consumed: Counter[tuple[str, int]] = field(default_factory=Counter)
    _persons: dict[str, Person] = field(default_factory=dict)
    _aliases: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Alias → (time stamp of the first claim, user)."""

    def find(self, alias: str) -> Person | None:
        """Return whom *alias* leads to."""
        claim = self._aliases.get(alias) or self._aliases.get(spelling(alias))
        return None if claim is None else self._persons[claim[1]]

    def learn(self, records: Iterable[Raw], options: Options) -> None:
        """Take in all records of `users` and `orgs`."""
        for topic, partition, _, key, value, stamp in sorted(records, key=lambda r: (r[5], r[1], r[2])):
            self.consumed[topic, partition] += 1
            try:
                known = identity if topic == "users" else org_identity
                name = known((key or b"").decode("utf-8", "replace"), options)
                if len(value or b"") > options.max_value_bytes:
                    refuse("too_big")
                found = None if value is None else parsed(topic, value)
                if topic == "users":
                    self._learn_user(name, found, options, stamp)
                else:
                    self._learn_org(name, found, options)
            except Refused as refusal:
                self.dead[topic, partition, refusal.reason] += 1

    def _learn_user(self, name: str, found: dict[str, Any] | None, options: Options, stamp: int) -> None:
        if found is None:
            if name in self._persons:
                self.membership[self._persons[name].org, name] = "gone"
            return
        user, org = identity(found["user_id"], options), org_identity(found["org_id"], options)
        more = found["aliases"] or []
        claimed = [a for a in (found["email"], found["username"], *more) if a is not None]
        if len(claimed) > options.max_aliases:
            refuse("wrong_type")
        aliases = [spelling(user), *(spelling(identity(alias, options)) for alias in claimed)]
        former = self._persons.get(user)
        if former is not None and former.org != org:
            self.membership[former.org, user] = "gone"
        self._persons[user] = Person(user, org, bool(found["bot"]))
        licensed = "unlicensed" if found["licensed"] is False else "licensed"
        self.membership[org, user] = "gone" if found["bot"] else licensed
        for alias in aliases:
            self._aliases[alias] = min((stamp, user), self._aliases.get(alias, (stamp, user)))

    def _learn_org(self, name: str, found: dict[str, Any] | None, options: Options) -> None:
        if found is None:
            self.orgs.setdefault(name, OrgEntry())
            return
        org, zone, worth = (
            org_identity(found["org_id"], options),
            found["timezone"] or "UTC",
            found["account_value_usd"],
        )
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Refused("bad_zone") from None
        derived = "" if worth is None else "SMB" if worth < 50_000 else "Enterprise"
        self.orgs[org] = OrgEntry(plain(found["name"] or org), zone, plain(found["group_type"] or derived))
