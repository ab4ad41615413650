"""Who an alias is: e-mail, user name or user id → one user, and the org they belonged to at the time.

Owns the directory as ingest sees it. Three sources say whom an alias leads to, and the first that knows one wins: what
an operator linked or unlinked, what the directory says (of those who claim an alias the one whose claim the
directory's log holds first, whichever was read first, and then the next one), what events linked. So an event never
takes an alias from a known user, and two known users are never merged by one. Invariant: an alias leads to at most one
user.
"""

from __future__ import annotations

import msgspec

from state.activity import SEPARATOR, subject_of
from state.membership import ALWAYS_MS, FOREVER_MS, Membership, org_at

DIRECTORY, OPERATOR, EVENT = "", "operator", "event"
"""Who says whom an alias leads to."""


class UserRecord(msgspec.Struct, array_like=True, frozen=True):
    """A user of the directory."""

    user: str
    org: str
    aliases: list[str]
    job_type: str
    licensed: bool
    bot: bool
    since_ms: int | None = None
    until_ms: int | None = None
    memberships: list[Membership] = []
    """All that are known; empty = always of `org`."""
    offset: int = -1
    """Of the record of `users` that this is, -1 = not known."""
    claimed_ms: list[int] = []
    """By alias: when the directory first said that it is theirs (epoch); empty = not known, before all others."""
    display_name: str = ""
    """What people call them; empty = not known."""

    def claim_of(self, alias: str, user: str) -> tuple[int, str]:
        """Return what tells whose claim to *alias*, one of its own, is the earliest: the least."""
        return (self.claimed_ms[self.aliases.index(alias)] if self.claimed_ms else 0), user


class OrgRecord(msgspec.Struct, array_like=True, frozen=True):
    """An org of the directory."""

    org: str
    name: str
    timezone: str
    group_type: str


class Link(msgspec.Struct, array_like=True, frozen=True):
    """What an operator or an event says of an alias: whom it leads to; `user` empty = to nobody, whoever claims it."""

    alias: str
    user: str
    by: str = OPERATOR


class Person(msgspec.Struct, frozen=True):
    """Whom an alias leads to; `subject` is the name under which a shard is told of them, by that alias."""

    user: str
    org: str
    """Where they always belonged; empty = that depends on the time."""
    subject: str
    """Of an event that does not name an org."""
    named_subject: str
    """Of one that names `org`."""
    bot: bool
    via: str
    memberships: tuple[Membership, ...]

    def subject_at(self, time_ms: int) -> str:
        """Return the subject that an event at *time_ms* belongs to when it names no org; empty = to none."""
        if self.subject:
            return self.subject
        org = org_at(self.memberships, time_ms)
        return subject_of(org, self.user, self.via) if org else ""

    def subject_in(self, org: str) -> str:
        """Return the subject that an event belongs to which names *org*."""
        if org == self.org:
            return self.named_subject
        return subject_of(org, self.user, self.via, named=True)


def spelled(alias: str) -> str:
    """Return *alias* as it is looked up: e-mail addresses in lower case.

    >>> spelled(" Ann@Example.ORG "), spelled("Ann")
    ('ann@example.org', 'Ann')
    """
    alias = alias.strip()
    return alias.lower() if "@" in alias else alias


def org_alias(org: str) -> str:
    """Return the alias under which an org is waited for; no user's alias is spelled like it."""
    return f"org{SEPARATOR}{org}"


def with_claims(record: UserRecord, former: UserRecord | None, said_ms: int) -> UserRecord:
    """Return *record*, which the directory said at *said_ms*, with the times of its claims: kept ones stay as old."""
    if record.claimed_ms:
        return record
    kept = dict(zip(former.aliases, former.claimed_ms, strict=False)) if former else {}
    return msgspec.structs.replace(record, claimed_ms=[kept.get(alias, said_ms) for alias in record.aliases])


def unlinked_alias(alias: str) -> str:
    """Return under what activities wait whose alias an operator took from everybody; no alias is spelled like it."""
    return f"unlinked{SEPARATOR}{alias}"


def via_of(waiting: str) -> str:
    """Return the alias of what waits under *waiting*.

    >>> via_of(unlinked_alias("ann")), via_of("ann")
    ('ann', 'ann')
    """
    return waiting.removeprefix(unlinked_alias(""))


def person_of(user: str, org: str, bot: bool, memberships: tuple[Membership, ...], alias: str) -> Person:
    """Return the person that *alias* leads to."""
    memberships = memberships or ((ALWAYS_MS, FOREVER_MS, org),)
    org = memberships[-1][2]
    if memberships != ((ALWAYS_MS, FOREVER_MS, org),):
        return Person(user, "", "", "", bot, alias, memberships)
    subject, named = subject_of(org, user, alias), subject_of(org, user, alias, named=True)
    return Person(user, org, subject, named, bot, alias, memberships)


class Directory:
    """Users and orgs by alias."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        """Alias → person; reading it directly saves a call per event."""
        self.orgs: dict[str, OrgRecord] = {}
        self.users: dict[str, UserRecord] = {}
        self._claims: dict[str, list[str]] = {}  # alias → users whose entries claim it, the earliest first
        self._linked: dict[str, dict[str, str]] = {OPERATOR: {}, EVENT: {}}  # alias → user
        self._linked_to: dict[str, set[str]] = {}  # user → aliases linked to them
        self.conflicts = 0
        """Aliases that a second user claimed."""

    def __len__(self) -> int:
        return len(self.users)

    def learn_user(self, user: str, record: UserRecord | None, said_ms: int = 0) -> None:
        """Take in what the directory said of a user at *said_ms* (epoch); None = gone, with all aliases."""
        former = self.users.pop(user, None)
        if record is not None:
            record = self.users[user] = with_claims(record, former, said_ms)
        new = record.aliases if record else []
        for alias in former.aliases if former else ():
            if alias not in new:
                self._give_up(alias, user)
        for alias in new:
            claims = self._claims.setdefault(alias, [])
            if user not in claims:
                self.conflicts += bool(claims)
                claims.append(user)
            if len(claims) > 1:
                claims.sort(key=lambda name: self.users[name].claim_of(alias, name))
        for alias in {*(former.aliases if former else ()), *new, *self._linked_to.get(user, ())}:
            self._settle(alias)

    def learn_link(self, alias: str, link: Link | None) -> None:
        """Take in what an operator or an event says of *alias*; None = neither says anything any more."""
        for links in self._linked.values():
            user = links.pop(alias, "")
            if user:
                self._linked_to[user].discard(alias)
        if link is not None:
            self._linked[link.by][alias] = link.user
            if link.user:
                self._linked_to.setdefault(link.user, set()).add(alias)
        self._settle(alias)

    def learn_org(self, org: str, record: OrgRecord | None) -> None:
        """Take in an org; None = gone."""
        if record is None:
            self.orgs.pop(org, None)
        else:
            self.orgs[org] = record

    def find(self, alias: str) -> Person | None:
        """Return whom *alias* leads to, or None."""
        return self.people.get(alias) or self.people.get(spelled(alias))

    def waiting_alias(self, alias: str) -> str:
        """Return under what an activity of *alias*, which leads to nobody, waits.

        What an operator took from everybody waits apart: the directory's claims to it do not count.
        """
        alias = spelled(alias)
        return unlinked_alias(alias) if alias in self._linked[OPERATOR] else alias

    def link_of(self, alias: str) -> Link | None:
        """Return what an operator or an event said of *alias*, None = nothing."""
        for by, links in self._linked.items():
            if alias in links:
                return Link(alias, links[alias], by)
        return None

    def claims_of(self, alias: str) -> list[str]:
        """Return the users whose directory entries claim *alias*, who has it first."""
        return list(self._claims.get(alias, ()))

    def aliases_of(self, user: str) -> list[str]:
        """Return the aliases that lead to *user*, as things are."""
        known = self.users.get(user)
        candidates = {*(known.aliases if known else ()), *self._linked_to.get(user, ())}
        return sorted(alias for alias in candidates if (found := self.people.get(alias)) and found.user == user)

    def _give_up(self, alias: str, user: str) -> None:
        """Take the claim of *user* to *alias* back; who claimed it next has it from now on."""
        claims = self._claims[alias]
        claims.remove(user)
        if not claims:
            del self._claims[alias]

    def _settle(self, alias: str) -> None:
        """Decide anew whom *alias* leads to."""
        operator, event = self._linked[OPERATOR].get(alias), self._linked[EVENT].get(alias, "")
        user = operator if operator is not None else next(iter(self._claims.get(alias, ())), event)
        record = self.users.get(user)
        if record is not None:
            self.people[alias] = person_of(user, record.org, record.bot, tuple(record.memberships), alias)
        else:
            self.people.pop(alias, None)
