"""Compares what this process's user is allowed on the cluster with what its work takes.

The brokers say for each topic and group which operations the asking user may do; where nobody is held to rules, that
is everything. Invariant: nothing is changed, and what cannot be found out counts as allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from kafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from streams.kafka_rights import Right, Role, rights_of
from streams.settings import Settings
from streams.topic_specs import TopicSpec, topic_specs

_OF_ONE = ("Create",)
"""Operations that a resource which is there says nothing about."""


def role_specs(settings: Settings, role: Role) -> tuple[TopicSpec, ...]:
    """Return the topics that *role* has to do with."""
    topics = [right for right in rights_of(settings, role) if right.kind == "Topic"]
    return tuple(spec for spec in topic_specs(settings) if any(right.covers(spec.name) for right in topics))


def missing_rights(admin: Any, settings: Settings, role: Role, topics: Collection[str]) -> list[Right]:
    """Return what the user of *admin*'s connection lacks for *role*, as far as *topics* show it.

    Raises:
        KafkaError: If the cluster does not answer.
    """
    rights = rights_of(settings, role)
    missing = [*_topics_missing(admin, rights, topics)]
    for right in rights:
        if right.kind == "Group" and not right.prefixed and not _may_group(admin, right):
            missing.append(right)
        if right.kind == "TransactionalId" and not _may_transact(admin, f"{right.name}rights"):
            missing.append(right)
    return missing


def told_missing(missing: Iterable[Right], user: str, role: Role) -> tuple[str, str]:
    """Return what is missing and what to do, for people."""
    named = [f"{' and '.join(right.operations)} on {shown_resource(right)}" for right in missing]
    who = f"user {user}" if user else "this user"
    return (
        f"Kafka does not let {who} do what a {role} does; missing: {'; '.join(named)}",
        f"Give it these rights: `orgpulse acl kafka --role {role}` prints the commands.",
    )


def shown_resource(right: Right) -> str:
    """Return a resource for people.

    >>> shown_resource(Right("Topic", "orgpulse-", True, ("Read",)))
    'Topic orgpulse-*'
    """
    return f"{right.kind} {right.name}{'*' if right.prefixed else ''}"


def _topics_missing(admin: Any, rights: Iterable[Right], topics: Collection[str]) -> Iterator[Right]:
    wanted = [right for right in rights if right.kind == "Topic"]
    asked = sorted(topic for topic in topics if any(right.covers(topic) for right in wanted))
    if not asked:
        return
    allowed = {topic["name"]: _allowed(topic) for topic in admin.describe_topics(asked)}
    for right in wanted:
        mine = [operations for name, operations in allowed.items() if right.covers(name) and operations is not None]
        lacking = tuple(
            operation
            for operation in right.operations
            if operation not in _OF_ONE and any(operation not in operations for operations in mine)
        )
        if lacking:
            yield right._replace(operations=lacking)


def _allowed(topic: dict[str, Any]) -> set[str] | None:
    """Return the operations allowed on a topic, None if that is not known."""
    if topic["error_code"] == TopicAuthorizationFailedError.errno:
        return set()
    said = topic.get("authorized_operations")
    if topic["error_code"] or not said:
        return None
    return {name.title().replace("_", "") for name in said}


def _may_group(admin: Any, right: Right) -> bool:
    try:
        found = admin.describe_groups([right.name])[right.name]
    except GroupAuthorizationFailedError:
        return False
    except (CoordinatorNotAvailableError, KafkaError):
        return True
    if "GroupAuthorizationFailed" in (found.get("error") or ""):
        return False
    said = found.get("authorized_operations")
    return not said or {operation.upper() for operation in right.operations} <= set(said)


def _may_transact(admin: Any, name: str) -> bool:
    """Say whether the user may describe transactions by *name*; that it may write them only a transaction shows."""
    try:
        found = admin.describe_transactions([name])
    except TransactionalIdAuthorizationFailedError:
        return False
    except KafkaError:
        return True
    return "TransactionalIdAuthorizationFailed" not in str(found)
