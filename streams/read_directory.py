"""Owns the reading of the directory topics `users` and `orgs`.

Invariant: ids are text, aliases are spelled as the resolver looks them up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from state.identity import EVENT, OPERATOR, Link, OrgRecord, UserRecord, spelled
from state.week import UnknownZoneError, zone_of
from streams.reading import Rejected, checked_id, checked_org, decoded, plain_text, time_ms_of

_SMALL_ACCOUNT_USD = 50_000


class DirectoryUser(msgspec.Struct, gc=False):
    """A user as it comes in."""

    user_id: str | int
    org_id: str | int
    email: str | None = None
    username: str | int | None = None
    aliases: list[str | int] = []
    job_type: str | None = None
    licensed: bool = True
    bot: bool = False
    since: int | float | str | None = None
    until: int | float | str | None = None
    display_name: str | None = None


class DirectoryOrg(msgspec.Struct, gc=False):
    """An org as it comes in."""

    org_id: str | int
    name: str | None = None
    account_value_usd: int | float | None = None
    group_type: str | None = None
    timezone: str | None = None
    licenses: int | None = None


class IdentityLink(msgspec.Struct, gc=False):
    """What is said of an alias; no user = it leads to nobody."""

    alias: str | int
    user_id: str | int | None = None
    by: str = OPERATOR


class DirectoryLimits(NamedTuple):
    """How much of an entry is taken in: characters of an id, aliases of a user, bytes of a record."""

    max_id: int
    max_aliases: int
    max_value_bytes: int
    covered: Callable[[UserRecord], UserRecord] | None = None
    """Puts pseudonyms into an entry."""

    def checked(self, value: bytes) -> bytes:
        """Return *value*; what it leads to must fit in a record as well.

        Raises:
            Rejected: too_big.
        """
        if len(value) > self.max_value_bytes:
            raise Rejected("too_big", f"{len(value)} bytes, at most {self.max_value_bytes}")
        return value


class Entry(NamedTuple):
    """Whom or which org a record of the directory is about, and what it says; None = gone."""

    name: str
    record: Any


_user = msgspec.json.Decoder(DirectoryUser)
_org = msgspec.json.Decoder(DirectoryOrg)
_link = msgspec.json.Decoder(IdentityLink)


def user_entry(key: bytes | None, value: bytes | None, limits: DirectoryLimits) -> Entry:
    """Return what a record of `users` says.

    Raises:
        Rejected: If its key or value can't be read.
    """
    name = checked_id(_text_of(key), "key", limits.max_id)
    if value is None:
        gone = UserRecord(name, "", [], "", False, False)
        return Entry(name if limits.covered is None else limits.covered(gone).user, None)
    found = read_user(limits.checked(value), limits.max_id, limits.max_aliases)
    if limits.covered is not None:
        found = limits.covered(found)
    return Entry(found.user, found)


def org_entry(key: bytes | None, value: bytes | None, limits: DirectoryLimits) -> Entry:
    """Return what a record of `orgs` says.

    Raises:
        Rejected: If its key or value can't be read.
    """
    name = checked_org(_text_of(key), "key", limits.max_id)
    if value is None:
        return Entry(name, None)
    found = read_org(limits.checked(value), limits.max_id)
    return Entry(found.org, found)


def link_entry(key: bytes | None, value: bytes | None, limits: DirectoryLimits) -> Entry:
    """Return what a record of `identities` says: an alias, and whom it leads to (None = nothing is said of it).

    Raises:
        Rejected: If its key or value can't be read.
    """
    name = spelled(checked_id(_text_of(key), "key", limits.max_id))
    if value is None:
        return Entry(name, None)
    found = decoded(_link, limits.checked(value))
    if found.by not in (OPERATOR, EVENT):
        raise Rejected("wrong_type", f"`by` is neither {OPERATOR} nor {EVENT}")
    alias = spelled(checked_id(found.alias, "alias", limits.max_id))
    user = "" if found.user_id is None else checked_id(found.user_id, "user_id", limits.max_id)
    return Entry(alias, Link(alias, user, found.by))


def encode_link(link: Link) -> bytes:
    """Return *link* as a value of `identities`."""
    return msgspec.json.encode(IdentityLink(link.alias, link.user or None, link.by))


def _text_of(key: bytes | None) -> str:
    return (key or b"").decode("utf-8", "replace")


def read_user(value: bytes, max_id: int, max_aliases: int) -> UserRecord:
    """Return the user in *value*.

    Raises:
        Rejected: If it can't be read.
    """
    found = decoded(_user, value)
    user = checked_id(found.user_id, "user_id", max_id)
    names = [found.email, found.username, *found.aliases]
    if len(names) > max_aliases:
        raise Rejected("wrong_type", f"{len(names)} aliases, at most {max_aliases}")
    aliases = [spelled(checked_id(name, "alias", max_id)) for name in names if name is not None]
    since_ms = None if found.since is None else time_ms_of(found.since, "since")
    until_ms = None if found.until is None else time_ms_of(found.until, "until")
    if until_ms is not None and until_ms <= (since_ms or 0):
        raise Rejected("bad_time", "`until` is not after `since`")
    return UserRecord(
        user,
        checked_org(found.org_id, "org_id", max_id),
        list(dict.fromkeys([spelled(user), *aliases])),
        plain_text(found.job_type or ""),
        found.licensed,
        found.bot,
        since_ms,
        until_ms,
        display_name=plain_text(found.display_name or "").strip()[:max_id],
    )


def read_org(value: bytes, max_id: int) -> OrgRecord:
    """Return the org in *value*; without a group type it follows from the account's value.

    Raises:
        Rejected: If it can't be read (bad_zone: the time zone is unknown).
    """
    found = decoded(_org, value)
    zone = found.timezone or "UTC"
    try:
        zone_of(zone)
    except UnknownZoneError as error:
        raise Rejected("bad_zone", str(error)) from None
    worth = found.account_value_usd
    derived = "" if worth is None else "SMB" if worth < _SMALL_ACCOUNT_USD else "Enterprise"
    org = checked_org(found.org_id, "org_id", max_id)
    return OrgRecord(org, plain_text(found.name or org), zone, plain_text(found.group_type or derived))
