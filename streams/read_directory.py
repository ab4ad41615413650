"""Owns the reading of the directory topics `users` and `orgs`.

Invariant: ids are text, aliases are spelled as the resolver looks them up.
"""

from __future__ import annotations

import msgspec

from state.identity import OrgRecord, UserRecord, spelled
from state.week import UnknownZoneError, zone_of
from streams.reading import Rejected, checked_id, decoded

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


class DirectoryOrg(msgspec.Struct, gc=False):
    """An org as it comes in."""

    org_id: str | int
    name: str | None = None
    account_value_usd: int | float | None = None
    group_type: str | None = None
    timezone: str | None = None
    licenses: int | None = None


_user = msgspec.json.Decoder(DirectoryUser)
_org = msgspec.json.Decoder(DirectoryOrg)


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
    return UserRecord(
        user,
        checked_id(found.org_id, "org_id", max_id),
        list(dict.fromkeys([spelled(user), *aliases])),
        found.job_type or "",
        found.licensed,
        found.bot,
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
    org = checked_id(found.org_id, "org_id", max_id)
    return OrgRecord(org, found.name or org, zone, found.group_type or derived)
