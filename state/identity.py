"""Who an alias is: e-mail, user name or user id → one user of one org.

Owns the directory as ingest sees it. Invariant: an alias leads to at most one
user; the first user to claim one keeps it, and leaves it to the next one.
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


def _person(user: str, record: UserRecord) -> Person:
    return Person(user, record.org, record.org + SEPARATOR + user, record.bot)


class Directory:
    """Users and orgs by alias."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        """Alias → person; reading it directly saves a call per event."""
        self.orgs: dict[str, OrgRecord] = {}
        self._users: dict[str, UserRecord] = {}
        self._claims: dict[str, list[str]] = {}  # alias → users who claim it too, in their order
        self.conflicts = 0
        """Aliases that a second user claimed."""

    def __len__(self) -> int:
        return len(self._users)

    def learn_user(self, user: str, record: UserRecord | None) -> None:
        """Take in a user; None = gone, with all aliases."""
        former = self._users.pop(user, None)
        kept = frozenset(record.aliases if record else ())
        for alias in former.aliases if former else ():
            if alias not in kept:
                self._give_up(alias, user)
        if record is None:
            return
        self._users[user] = record
        person = _person(user, record)
        for alias in record.aliases:
            holder = self.people.get(alias)
            if holder is None or holder.user == user:
                self.people[alias] = person
            elif user not in self._claims.setdefault(alias, []):
                self._claims[alias].append(user)
                self.conflicts += 1

    def _give_up(self, alias: str, user: str) -> None:
        """Take *alias* from *user*; who claimed it next has it from now on."""
        claims = self._claims.get(alias, [])
        if self.people[alias].user != user:
            claims.remove(user)
        elif claims:
            heir = claims.pop(0)
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
