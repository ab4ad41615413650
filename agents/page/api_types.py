"""What the API sends beside the documents of `streams.published`.

Invariant: a list says how many there are and which part of them it holds; what is missing is null, never zero.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from streams.published import Alert, OrgScore, UserScore
from streams.published_workers import WorkerCard


class OrgList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of orgs in the order asked for; `found` is how many match on all pages."""

    orgs: list[OrgScore]
    found: int
    page: int
    per_page: int
    next: str | None


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of an org's users, lowest score first; `found` is how many have a score, of whatever band."""

    org: str
    users: list[UserScore]
    found: int
    page: int
    per_page: int
    next: str | None


class AlertList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of open alerts, newest first."""

    alerts: list[Alert]
    found: int
    page: int
    per_page: int
    next: str | None


class RedisState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether Redis answers this page; `since` is when it was first seen not to."""

    ok: bool
    since: datetime | None
    detail: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The worker that answers, as it is now, and the others as they said last; null = Redis does not tell."""

    worker: WorkerCard
    others: list[WorkerCard] | None
    redis: RedisState
