"""Who an alias is: e-mail, user name or user id → one user of one org.

Owns the directory as ingest sees it. Invariant: an alias leads to at most one
user: of those who claim it to the one whose claim the directory's log holds
first, whichever was read first, and then to the next one.
"""

from __future__ import annotations

import msgspec

from state.activity import SEPARATOR


class UserRecord(msgspec.Struct, array_like=True, frozen=True):
    """A user of the directory."""

    user: str
    org: str
    aliases: list[str]
    job_type: str
    licensed: bool
    bot: bool
    claimed_ms: list[int] = []
    """By alias: when the directory first said that it is theirs (epoch); empty = not known, before all others."""

    def claim_of(self, alias: str, user: str) -> tuple[int, str]:
        """Return what tells whose claim to *alias*, one of its own, is the earliest: the least."""
        return (self.claimed_ms[self.aliases.index(alias)] if self.claimed_ms else 0), user


class OrgRecord(msgspec.Struct, array_like=True, frozen=True):
    """An org of the directory."""

    org: str
    name: str
    timezone: str
    group_type: str


class Person(msgspec.Struct, frozen=True):
    """Whom an alias leads to; `subject` is the name under which a shard knows them."""

    user: str
    org: str
    subject: str
    bot: bool


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


def _person(user: str, record: UserRecord) -> Person:
    return Person(user, record.org, record.org + SEPARATOR + user, record.bot)


class Directory:
    """Users and orgs by alias."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        """Alias → person; reading it directly saves a call per event."""
        self.orgs: dict[str, OrgRecord] = {}
        self._users: dict[str, UserRecord] = {}
        self._claims: dict[str, list[str]] = {}  # alias → users who claim it too
        self.conflicts = 0
        """Aliases that a second user claimed."""

    def __len__(self) -> int:
        return len(self._users)

    def learn_user(self, user: str, record: UserRecord | None, said_ms: int = 0) -> None:
        """Take in what the directory said of a user at *said_ms* (epoch); None = gone, with all aliases."""
        former = self._users.pop(user, None)
        kept = frozenset(record.aliases if record else ())
        for alias in former.aliases if former else ():
            if alias not in kept:
                self._give_up(alias, user)
        if record is None:
            return
        record = self._users[user] = with_claims(record, former, said_ms)
        person = _person(user, record)
        for alias in record.aliases:
            holder = self.people.get(alias)
            if holder is None or holder.user == user:
                self.people[alias] = person
            else:
                self._contest(alias, holder.user, user)

    def _contest(self, alias: str, holder: str, user: str) -> None:
        """Let *user* claim an alias that *holder* has: partitions of the log are read in any order."""
        claims = self._claims.setdefault(alias, [])
        if user not in claims:
            claims.append(user)
            self.conflicts += 1
        if self._users[user].claim_of(alias, user) < self._users[holder].claim_of(alias, holder):
            claims[claims.index(user)] = holder
            self.people[alias] = _person(user, self._users[user])

    def _give_up(self, alias: str, user: str) -> None:
        """Take *alias* from *user*; who claimed it next has it from now on."""
        claims = self._claims.get(alias, [])
        if self.people[alias].user != user:
            claims.remove(user)
        elif claims:
            heir = min(claims, key=lambda name: self._users[name].claim_of(alias, name))
            claims.remove(heir)
            self.people[alias] = _person(heir, self._users[heir])
        else:
            del self.people[alias]
        if not claims:
            self._claims.pop(alias, None)

    def learn_org(self, org: str, record: OrgRecord | None) -> None:
        """Take in an org; None = gone."""
        if record is None:
            self.orgs.pop(org, None)
        else:
            self.orgs[org] = record

    def find(self, alias: str) -> Person | None:
        """Return whom *alias* leads to, or None."""
        return self.people.get(alias) or self.people.get(spelled(alias))
