"""Owns the reading of the directory topics for sinks: users with their claims to aliases, orgs, links.

Invariant: an entry is taken exactly when the workers take it; of a user's claims the one that was kept since it was
made is told apart from one that was given up and made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from agents.sinks.read_event import time_of
from agents.sinks.safe_text import LONGEST_NAME_CHARS, fit_text
from streams.read_directory import DirectoryLimits, DirectoryOrg, DirectoryUser, link_entry, org_entry, user_entry

_user, _org = msgspec.json.Decoder(DirectoryUser), msgspec.json.Decoder(DirectoryOrg)


class Claim(NamedTuple):
    """An alias of a user, since when (ms); `anew`: an older claim of theirs to it, if there is one, is over."""

    alias: str
    claimed_ms: int
    anew: bool


class UserRow(NamedTuple):
    """A user of the directory."""

    user_id: str
    org_id: str
    email: str | None
    username: str | None
    display_name: str | None
    job_type: str | None
    licensed: bool
    bot: bool
    since: datetime | None
    until: datetime | None
    claims: tuple[Claim, ...]


class OrgRow(NamedTuple):
    """An org of the directory; numbers as text, exact."""

    org_id: str
    name: str
    group_type: str | None
    account_value_usd: str | None
    timezone: str
    licenses: str | None


class LinkRow(NamedTuple):
    """What is said of an alias; no user = it leads to nobody."""

    alias: str
    user_id: str | None
    said_by: str


def read_user(record: Any, limits: DirectoryLimits) -> tuple[str, UserRow | None, list[str]]:
    """Return (user, row without claims, aliases) of a record of `users`; no row = gone.

    Raises:
        Rejected: If the workers refuse it.
    """
    name, found = user_entry(record.key, record.value, limits)
    if found is None:
        return name, None, []
    raw = _user.decode(record.value)
    email, username = (None, None) if limits.covered is not None else (_text(raw.email), _text(raw.username))
    row = UserRow(
        name, found.org, email, username, found.display_name or None, _name(found.job_type),
        found.licensed, found.bot, _time(found.since_ms), _time(found.until_ms), (),
    )  # fmt: skip
    return name, row, found.aliases


def claims_after(aliases: Sequence[str], former: UserRow | None, was_gone: bool, said_ms: int) -> tuple[Claim, ...]:
    """Return a user's claims after a record; kept ones stay as old as they were (see `state.identity.with_claims`).

    Args:
        aliases: What the record names.
        former: What an earlier record of the same chunk said of the user.
        was_gone: Whether one of them said that the user is gone.
        said_ms: When the record was sent.

    >>> [claim.anew for claim in claims_after(["a"], None, False, 5)]  # may be known from before
    [False]
    """
    known = {claim.alias: claim for claim in former.claims} if former else {}
    anew = former is not None or was_gone  # then an alias that the chunk did not name just now was given up in it
    return tuple(known.get(alias) or Claim(alias, said_ms, anew) for alias in aliases)


def read_org(record: Any, limits: DirectoryLimits) -> tuple[str, OrgRow | None]:
    """Return (org, row) of a record of `orgs`; None = gone.

    Raises:
        Rejected: If the workers refuse it.
    """
    name, found = org_entry(record.key, record.value, limits)
    if found is None:
        return name, None
    raw = _org.decode(record.value)
    worth, licenses = raw.account_value_usd, raw.licenses
    return name, OrgRow(
        name, fit_text(found.name), _name(found.group_type), None if worth is None else repr(worth), found.timezone,
        None if licenses is None else str(licenses),
    )  # fmt: skip


def read_link(record: Any, limits: DirectoryLimits) -> tuple[str, LinkRow | None]:
    """Return (alias, row) of a record of `identities`; None = nothing is said any more.

    Raises:
        Rejected: If the workers refuse it.
    """
    alias, found = link_entry(record.key, record.value, limits)
    return alias, None if found is None else LinkRow(alias, found.user or None, found.by)


def _text(value: str | int | None) -> str | None:
    return None if value is None else fit_text(str(value))


def _name(text: str) -> str | None:
    """Return the name of a dimension, cut to what an index holds."""
    return fit_text(text)[:LONGEST_NAME_CHARS] or None


def _time(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else time_of(time_ms)
