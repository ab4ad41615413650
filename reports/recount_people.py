"""Who is who for the recount: the directory as it is at the end.

Owns the recount's own reading of `users` and `orgs`. An alias leads to the
user who claimed it first (by the records' time stamps, in the same millisecond
the lesser id), for good; a user who is gone keeps what was theirs and is no
member any more. Invariant: depends on the records alone, in the order of their
time stamps (then partition, then offset).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reports.recount_fields import Options, Refused, identity, moment_ms, org_identity, parsed, plain, refuse

Raw = tuple[str, int, int, bytes | None, bytes | None, int]
"""Topic without prefix, partition, offset, key, value, time stamp (ms)."""


Stint = tuple[float, float, str]
"""From (ms), until before (ms), org."""
_ALWAYS, _NEVER = 0.0, float("inf")


def after_move(
    stints: tuple[Stint, ...], org: str, since: float | None, until: float, said_ms: int
) -> tuple[Stint, ...]:
    """Return where somebody belonged when the directory says at *said_ms* that it is *org* now.

    Without *since*: since ever the first time, since then in the same org, from *said_ms* on in another one.

    >>> after_move(((0.0, _NEVER, "a"),), "b", None, _NEVER, 7)
    ((0.0, 7, 'a'), (7, inf, 'b'))
    """
    newest = stints[-1] if stints else None
    begin: float
    if since is not None:
        begin = since
        if newest is not None and newest[2] == org and newest[0] < begin < newest[1]:
            stints = stints[:-1]
    elif newest is None:
        begin = _ALWAYS
    else:
        begin = newest[0] if newest[2] == org else said_ms
    kept = [(s, min(u, begin), o) for s, u, o in stints if s < begin]
    if since is None and kept and kept[-1][1:] == (begin, org):
        begin = kept.pop()[0]
    return (*kept, (begin, until, org))


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the directory."""

    user: str
    stints: tuple[Stint, ...]
    bot: bool
    kind: str
    """Of the seat: licensed or unlicensed."""

    def org_at(self, time_ms: int) -> str:
        """Return where they belonged at *time_ms*, empty = nowhere."""
        return next((org for since, until, org in self.stints if since <= time_ms < until), "")


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
    jobs: dict[tuple[str, str], str] = field(default_factory=dict)
    """(org, user) → job type, of those who have one."""
    names: dict[str, str] = field(default_factory=dict)
    """User → what people call them, of those who have a display name."""
    dead: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """(topic, partition, reason) → unreadable entries."""
    consumed: Counter[tuple[str, int]] = field(default_factory=Counter)
    _persons: dict[str, Person] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    _links: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Alias → (user or nobody, whether an operator said so)."""
    _aliases: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Alias → (time stamp of the first claim, user)."""

    def find(self, alias: str) -> Person | None:
        """Return whom *alias* leads to."""
        for name in (alias, spelling(alias)):
            linked, by_operator = self._links.get(name, ("", False))
            claim = (0, linked) if by_operator else self._aliases.get(name) or (0, linked)
            if claim[1] in self._persons:
                return self._persons[claim[1]]
            if by_operator:
                return None
        return None

    def display_name(self, org: str, user: str) -> str:
        """Return what people call a user of *org*; empty = not known there."""
        person = self._persons.get(user)
        there = person is not None and user not in self._gone and any(o == org for _, _, o in person.stints)
        return self.names.get(user, "") if there else ""

    def learn(self, records: Iterable[Raw], options: Options, as_of_ms: int) -> None:
        """Take in all records of `users`, `orgs` and `identities`; memberships are as of *as_of_ms*."""
        self._learn_all((r for r in records if r[0] != "identities"), options)
        for _, _, _, key, value, _ in sorted((r for r in records if r[0] == "identities"), key=lambda r: (r[1], r[2])):
            said = None if value is None else json.loads(value)
            self._links.pop((key or b"").decode(), None)
            if said is not None:
                self._links[said["alias"]] = (said["user_id"] or "", said["by"] == "operator")
        for user, person in self._persons.items():
            for since, until, org in person.stints:
                there = since <= as_of_ms < until and not person.bot and user not in self._gone
                self.membership[org, user] = person.kind if there else "gone"

    def _learn_all(self, records: Iterable[Raw], options: Options) -> None:
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
            self._gone.add(name)
            return
        user, org = identity(found["user_id"], options), org_identity(found["org_id"], options)
        more = found["aliases"] or []
        claimed = [a for a in (found["email"], found["username"], *more) if a is not None]
        if len(claimed) > options.max_aliases:
            refuse("wrong_type")
        aliases = [spelling(user), *(spelling(identity(alias, options)) for alias in claimed)]
        since, until = (None if found[name] is None else moment_ms(found[name]) for name in ("since", "until"))
        if until is not None and until <= (since or 0):
            refuse("bad_time")
        former = self._persons.get(user)
        stints = after_move(former.stints if former else (), org, since, until or _NEVER, stamp)
        kind = "unlicensed" if found["licensed"] is False else "licensed"
        for _, _, left in former.stints if former else ():
            self.membership[left, user] = "gone"
        self._persons[user] = Person(user, stints, bool(found["bot"]), kind)
        self.names[user] = plain(found["display_name"] or "").strip()[: options.max_id_chars]
        self.jobs[org, user] = plain(found["job_type"] or "")
        self._gone.discard(user)
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
