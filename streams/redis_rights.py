"""What each role must be allowed on Redis, and nothing more: commands, and keys under the prefix; and trying it.

Invariant: the list of an ACL line is the list that is tried, so what a user lacks is named command by command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

_log = structlog.get_logger(__name__)

Role = Literal["worker", "reader", "consumer", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
PURPOSES: dict[Role, str] = {
    "worker": "orgpulse worker: writes what it computes, and serves its page",
    "reader": "who only looks: score, latency, chat, alerts, reports, services with streams.reader",
    "consumer": "services that follow the changes in a consumer group, and read",
    "operator": "doctor, and all of these",
}
TRIAL_SECONDS = 10

Tried = list[tuple[str, object]]
"""(command, reply or error) of each trial."""

Trial = Callable[[str], tuple[Any, ...]]
"""Given a key of one's own, a command that changes nothing else and runs, or fails for another reason than a right."""

_LOOKS: dict[str, Trial] = {
    "eval": lambda key: ("EVAL", "return 1", 1, key),  # lines of many orgs in one call
    "hget": lambda key: ("HGET", key, "a"),
    "hgetall": lambda key: ("HGETALL", key),
    "hmget": lambda key: ("HMGET", key, "a"),
    "xread": lambda key: ("XREAD", "COUNT", 1, "STREAMS", key + ":x", "0-0"),
    "xrevrange": lambda key: ("XREVRANGE", key + ":x", "+", "-", "COUNT", 1),
    "zcard": lambda key: ("ZCARD", key + ":z"),
    "zrange": lambda key: ("ZRANGE", key + ":z", 0, 0),
    "zrangebyscore": lambda key: ("ZRANGEBYSCORE", key + ":z", 0, 0),
    "zrevrange": lambda key: ("ZREVRANGE", key + ":z", 0, 0),
    "zrevrangebyscore": lambda key: ("ZREVRANGEBYSCORE", key + ":z", 0, 0),
    "zscan": lambda key: ("ZSCAN", key + ":z", 0),
    "zscore": lambda key: ("ZSCORE", key + ":z", "a"),
}
_PAGE = {name: _LOOKS[name] for name in _LOOKS if name not in ("xread", "xrevrange", "zscore")}
_TELLS: dict[str, Trial] = {
    "script|load": lambda _: ("SCRIPT", "LOAD", "return 1"),
    "evalsha": lambda key: ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 1, key),  # of the former
    "hset": lambda key: ("HSET", key, "a", "1"),
    "hlen": lambda key: ("HLEN", key),
    "expire": lambda key: ("EXPIRE", key, TRIAL_SECONDS),
    "set": lambda key: ("SET", key + ":s", "1", "EX", TRIAL_SECONDS, "GET"),
    "xadd": lambda key: ("XADD", key + ":x", "NOMKSTREAM", "*", "a", "1"),
    "zadd": lambda key: ("ZADD", key + ":z", "XX", 0, "a"),
    "zrem": lambda key: ("ZREM", key + ":z", "a"),
    "zremrangebyscore": lambda key: ("ZREMRANGEBYSCORE", key + ":z", 0, 0),
    "type": lambda key: ("TYPE", key),
    "scan": lambda key: ("SCAN", 0, "MATCH", key, "COUNT", 1),
    "info": lambda _: ("INFO", "server"),
    "del": lambda key: ("DEL", key, key + ":s"),
}
_CONNECTION: dict[str, Trial] = {"multi": lambda _: ("MULTI",), "exec": lambda _: ("EXEC",)}
_FOLLOWS: dict[str, Trial] = {
    "xgroup": lambda key: ("XGROUP", "CREATE", key + ":x", "a", "0-0"),
    "xreadgroup": lambda key: ("XREADGROUP", "GROUP", "a", "a", "COUNT", 1, "STREAMS", key + ":x", ">"),
    "xautoclaim": lambda key: ("XAUTOCLAIM", key + ":x", "a", "a", 0, "0-0", "COUNT", 1),
    "xack": lambda key: ("XACK", key + ":x", "a", "0-1"),
}


def trials_of(role: Role, database: int = 0) -> dict[str, Trial]:
    """Return command → its trial of everything *role* does, in the order of trying."""
    found = {"worker": {**_TELLS, **_PAGE, **_CONNECTION}, "reader": _LOOKS, "consumer": {**_LOOKS, **_FOLLOWS}}.get(
        role, {**_TELLS, **_LOOKS, **_FOLLOWS, **_CONNECTION, "time": lambda _: ("TIME",)}
    )
    return {**found, "select": lambda _: ("SELECT", database)} if database else dict(found)


def acl_line(role: Role, user: str, prefix: str, password_sha256: str, database: int = 0) -> str:
    """Return the line of an ACL file, or what follows `ACL SETUSER`, for Redis and Valkey 6.2 and newer.

    >>> acl_line("reader", "page", "orgpulse:v1:", "0" * 64).split(" ")[:5]
    ['user', 'page', 'reset', 'on', '#0000000000000000000000000000000000000000000000000000000000000000']
    """
    commands = " ".join(f"+{command}" for command in sorted(trials_of(role, database)))
    return f"user {user} reset on #{password_sha256} ~{escaped(prefix)}* -@all {commands}"


def escaped(prefix: str) -> str:
    r"""Return *prefix* as a pattern that means itself.

    >>> escaped("a*b[1]:")
    'a\\*b\\[1\\]:'
    """
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in prefix)


def missing_in(tried: Tried, prefix: str) -> list[str]:
    """Return which rights of an ACL line the replies to the trials say are missing."""
    found: list[str] = []
    for command, reply in tried:
        if not isinstance(reply, Exception) or not _is_denied(reply, text := str(reply)):
            continue
        of_keys = "keys used as arguments" in text or "access the" in text or "access a key" in text
        named = f"~{escaped(prefix)}*" if of_keys else f"+{command}"
        if named not in found:
            found.append(named)
    return found


def refused_in(tried: Tried) -> str:
    """Return why the server takes no writes from anybody, as far as the trials show it; empty when it does."""
    errors = (reply for command, reply in tried if command in ("hset", "set") and isinstance(reply, RedisError))
    return next((str(error) for error in errors if not _is_denied(error, str(error))), "")


def tried_on(client: Any, role: Role, prefix: str, database: int = 0) -> Tried:
    """Try everything *role* does, with a key of its own that is gone at the end."""
    names, pipe = _prepared(client, role, prefix, database)
    return list(zip(names, pipe.execute(raise_on_error=False), strict=True))


async def tried_on_async(client: Any, role: Role, prefix: str, database: int = 0) -> Tried:
    """Do as `tried_on` with a client for asyncio."""
    names, pipe = _prepared(client, role, prefix, database)
    return list(zip(names, await pipe.execute(raise_on_error=False), strict=True))


async def missing_text(client: Any, prefix: str, said: str) -> str:
    """Return which rights of a worker are missing, for its status; empty if that can't be told.

    What a script lacks Redis 6.2 does not name at all, so everything is tried. It is logged unless *said* before.
    """
    database = int(client.connection_pool.connection_kwargs.get("db") or 0)
    try:
        missing = missing_in(await tried_on_async(client, "worker", prefix, database), prefix)
    except (RedisError, OSError):
        return ""
    if not missing:
        return ""
    text = f"NOPERM: missing {' '.join(missing)}; `orgpulse acl redis --role worker` prints the line"
    if text != said:
        _log.error("redis does not let this user do what a worker does", problem=text)
    return text


def _prepared(client: Any, role: Role, prefix: str, database: int) -> tuple[list[str], Any]:
    """Return the trials' commands and a pipeline of them; the deletion comes last, so that nothing is left behind."""
    pipe, key, trials = client.pipeline(transaction=False), f"{prefix}doctor:{uuid4().hex}", trials_of(role, database)
    names = sorted(trials, key=lambda command: command == "del")
    for command in names:
        pipe.execute_command(*trials[command](key))
    return names, pipe


def _is_denied(error: Exception, text: str) -> bool:
    return isinstance(error, RedisError) and (
        type(error).__name__ == "NoPermissionError" or "NOPERM" in text or "no permissions" in text
    )


def told_missing(missing: Sequence[str], user: str, role: Role) -> tuple[str, str]:
    """Return what is missing and what to do, for people."""
    return (
        f"Redis does not let user {user or 'default'} do what a {role} does; missing: {' '.join(missing)}",
        f"Give it these rights: `orgpulse acl redis --role {role}` prints the user's line.",
    )
