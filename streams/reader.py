"""Reading scores and latency from Redis, for services downstream and for the command line.

Invariant: it only reads. What is not there is None, and a score says when it is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis import Redis

from streams.clock import Clock, WallClock
from streams.published import Change, LatencyMap, OrgScore, UserScore, latency_of, org_of, user_of

__all__ = ["Change", "LatencyMap", "OrgScore", "Reader", "UserScore"]

STALE_SECONDS = 7200.0  # a rolling week ends with the running hour; two hours late is late
TIMEOUT_SECONDS = 5.0
ALL = "all"  # the org that stands for every org together, in latency


class Reader:
    """Typed look-ups in what orgpulse publishes.

    Every method raises `redis.exceptions.RedisError` when Redis can't be asked.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "orgpulse:v1:",
        clock: Clock | None = None,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        """Prepare, without connecting; a score whose week ended over *stale_seconds* ago says that it is stale."""
        self._redis: Any = Redis.from_url(
            url, decode_responses=True, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        )
        self._prefix, self._clock, self._stale_seconds = prefix, clock or WallClock(), stale_seconds

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def user(self, org: str, user: str) -> UserScore | None:
        """Return a user's score, or None when Redis has none."""
        return user_of(org, user, self._hash(_user_key(org, user)), self._clock.now(), self._stale_seconds)

    def org(self, org: str) -> OrgScore | None:
        """Return an org's score, or None when Redis has none."""
        return org_of(org, self._hash(f"org:{{{org}}}"), self._clock.now(), self._stale_seconds)

    def orgs_at_risk(self, count: int) -> list[OrgScore]:
        """Return up to *count* orgs, lowest score first."""
        names = self._redis.zrange(self._prefix + "orgs:by-score", 0, count - 1)
        found = self._hashes([f"org:{{{org}}}" for org in names])
        now = self._clock.now()
        scores = (org_of(org, fields, now, self._stale_seconds) for org, fields in zip(names, found, strict=True))
        return [score for score in scores if score is not None]

    def users_of(self, org: str, count: int) -> list[UserScore]:
        """Return up to *count* users of an org, lowest score first."""
        names = self._redis.zrange(f"{self._prefix}org:{{{org}}}:users:by-score", 0, count - 1)
        found = self._hashes([_user_key(org, user) for user in names])
        now = self._clock.now()
        scores = (
            user_of(org, user, fields, now, self._stale_seconds) for user, fields in zip(names, found, strict=True)
        )
        return [score for score in scores if score is not None]

    def latency(self, org: str = ALL) -> LatencyMap | None:
        """Return the latency map of an org, or of all together, or None when Redis has none."""
        return latency_of(org, self._hash(f"latency:{{{org}}}"))

    def totals(self) -> dict[str, str]:
        """Return the overall figures as published; empty when there are none."""
        return {name: value for name, value in self._hash("totals").items() if name != "deleted"}

    def changes(self, since_id: str = "0", block: int | None = None, count: int = 1000) -> list[Change]:
        """Return up to *count* changes after *since_id* ("$" = from now on), oldest first.

        Args:
            since_id: The id of the last change seen.
            block: Milliseconds to wait for the first one; None = not at all. Keep it below the time-out of 5 s.
            count: At most so many.
        """
        answer = self._redis.xread({self._prefix + "changes": since_id}, count=count, block=block)
        streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or ()]
        return [Change(entry_id, dict(fields)) for entries in streams for entry_id, fields in _flat(entries)]

    def org_ids(self, limit: int = 10_000) -> list[str]:
        """Return up to *limit* orgs that have a score."""
        return list(self._redis.zrange(self._prefix + "orgs:by-score", 0, limit - 1))

    def user_ids(self, org: str, limit: int = 10_000) -> list[str]:
        """Return up to *limit* users of an org that have a score."""
        return list(self._redis.zrange(f"{self._prefix}org:{{{org}}}:users:by-score", 0, limit - 1))

    def orgs_of_user(self, user: str) -> list[str]:
        """Return the orgs (of the first 10,000) in which a user id has a score."""
        orgs = self.org_ids()
        pipe = self._redis.pipeline(transaction=False)
        for org in orgs:
            pipe.zscore(f"{self._prefix}org:{{{org}}}:users:by-score", user)
        return [org for org, score in zip(orgs, pipe.execute(), strict=True) if score is not None]

    def _hash(self, key: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self._redis.hgetall(self._prefix + key)
        return found

    def _hashes(self, keys: list[str]) -> list[Mapping[str, str]]:
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(self._prefix + key)
        found: list[Mapping[str, str]] = pipe.execute()
        return found


def _user_key(org: str, user: str) -> str:
    return f"user:{{{org}}}:{user}"


def _flat(entries: Any) -> list[tuple[str, Mapping[str, str]]]:
    """Return the entries of one stream; protocol 3 wraps them in one more list."""
    if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], (list, tuple)):
        return [entry for part in entries for entry in part]
    return list(entries)
