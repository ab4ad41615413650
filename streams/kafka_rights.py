"""What each role must be allowed on the Kafka cluster, and nothing more; the one list of it.

    orgpulse acl kafka ─┐
    KafkaUser objects ──┼─► rights_of(settings, role)
    doctor, start ──────┘

Invariant: no right is here that another one implies (who may read or write may also describe), so taking any one
away takes something away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

from streams.settings import Settings
from streams.topic_specs import TopicNames, generation_suffix, topic_names

Role = Literal["worker", "reader", "listen", "import", "sink", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
PURPOSES: dict[Role, str] = {
    "worker": "orgpulse worker",
    "reader": "what only looks: ledger, dead-letters list and show, report, export, calibrate, compare, model simulate",
    "listen": "orgpulse listen",
    "import": "orgpulse import, simulate",
    "sink": "orgpulse sink postgres, parquet",
    "operator": "topics create, rebuild, backfill, identity, forget, dead-letters replay, alerts ack, mute; the others",
}
Kind = Literal["Topic", "Group", "TransactionalId", "Cluster"]
BACKFILL = "backfill."
"""What names of a backfill's topics begin with, after the prefix."""


class Right(NamedTuple):
    """What may be done with one resource, or with all whose names begin like it."""

    kind: Kind
    name: str
    prefixed: bool
    operations: tuple[str, ...]

    def covers(self, name: str) -> bool:
        """Say whether the resource *name* is meant."""
        return name.startswith(self.name) if self.prefixed else name == self.name


def rights_of(settings: Settings, role: Role) -> tuple[Right, ...]:
    """Return what *role* must be allowed.

    What each generation of the state has of its own begins with the name of the first one's, so prefixes cover the
    processes that take over after a rebuild too.
    """
    names = topic_names(settings)
    found: dict[tuple[Kind, str, bool], list[str]] = {}
    for kind, name, prefixed, *operations in _wanted(settings, names, role):
        mine = found.setdefault((kind, name, prefixed), [])
        mine += [operation for operation in operations if operation not in mine]
    return tuple(Right(*resource, _without_implied(operations)) for resource, operations in sorted(found.items()))


def _wanted(settings: Settings, names: TopicNames, role: Role) -> list[tuple[Kind, str, bool, *tuple[str, ...]]]:
    tables, suffix = f"{settings.kafka.application}-", generation_suffix(settings)
    own = [name.removesuffix(suffix) for name in (names.activities, names.unresolved, names.summaries)]
    group, each_generation = settings.kafka.application, [f"{name}-g" for name in own]
    entries, told = (*names.sources, *names.directory), (names.scores, names.weeks, names.alerts, names.dead_letters)
    wanted: list[tuple[Kind, str, bool, *tuple[str, ...]]] = []

    def topics(which: tuple[str, ...] | list[str], *operations: str, prefixed: bool = False) -> None:
        wanted.extend(("Topic", name, prefixed, *operations) for name in which)

    if role == "worker":
        topics((*entries, names.control, names.suppressed), "Read", "DescribeConfigs")
        topics((names.users,), "Write")
        topics(told, "Write", "DescribeConfigs")
        topics((names.identities,), "Read", "Write", "DescribeConfigs")
        topics(own, "Read", "Write", "DescribeConfigs")
        topics([*each_generation, tables], "Read", "Write", "DescribeConfigs", prefixed=True)
        wanted += [("Group", group, False, "Read"), ("Group", f"{group}-g", True, "Read")]
        wanted.append(("TransactionalId", tables, True, "Write"))
    elif role == "reader":
        topics((*entries, *told, names.identities, names.control, names.suppressed), "Read", "DescribeConfigs")
        topics(own, "Read", "DescribeConfigs")
        topics([*each_generation, tables], "Read", "DescribeConfigs", prefixed=True)
        topics((f"{settings.kafka.prefix}{BACKFILL}",), "Read", "DescribeConfigs", prefixed=True)
        wanted += [("Group", group, False, "Describe"), ("Group", f"{group}-", True, "Describe")]
    elif role == "listen":
        topics(names.sources, "Write")
    elif role == "import":
        topics(names.sources, "Write")
        topics(names.directory, "Read", "Write")
        topics((names.identities, names.control), "Read")
    elif role == "sink":
        topics((names.weeks, names.scores, *names.directory, names.identities), "Read", "DescribeConfigs")
        topics((names.suppressed,), "Read", "DescribeConfigs")
        topics((names.dead_letters,), "Write", "DescribeConfigs")
        wanted.append(("Group", f"{tables}sink-", True, "Read"))
        wanted.append(("TransactionalId", f"{tables}sink-", True, "Write"))
    else:
        everything = ("Create", "Delete", "Read", "Write", "DescribeConfigs", "AlterConfigs")
        topics((*entries, *told, *own, names.identities, names.control, names.suppressed), *everything)
        aside = [f"{name}-g" for name in told]
        begin = [*each_generation, *aside, tables, f"{settings.kafka.prefix}{BACKFILL}"]
        topics(begin, *everything, prefixed=True)
        wanted += [("Group", group, False, "Read", "Delete"), ("Group", f"{group}-", True, "Read", "Delete")]
        wanted.append(("TransactionalId", tables, True, "Write"))
        wanted.append(("Cluster", "kafka-cluster", False, "Describe"))
    return wanted


def strimzi_rules(rights: Iterable[Right]) -> list[dict[str, Any]]:
    """Return rights as the rules of Strimzi's KafkaUser.

    >>> strimzi_rules([Right("TransactionalId", "a-", True, ("Write",))])[0]["resource"]
    {'type': 'transactionalId', 'name': 'a-', 'patternType': 'prefix'}
    """
    return [
        {
            "resource": {
                "type": right.kind[0].lower() + right.kind[1:],
                "name": right.name,
                "patternType": "prefix" if right.prefixed else "literal",
            },
            "operations": list(right.operations),
        }
        for right in rights
    ]


def kafka_acls_options(right: Right) -> list[str]:
    """Return the options of `kafka-acls.sh` for a right.

    >>> " ".join(kafka_acls_options(Right("Topic", "weeks", False, ("Read",))))
    '--operation Read --topic weeks'
    """
    named = {
        "Topic": ["--topic", right.name],
        "Group": ["--group", right.name],
        "TransactionalId": ["--transactional-id", right.name],
        "Cluster": ["--cluster"],
    }[right.kind]
    operations = [part for operation in right.operations for part in ("--operation", operation)]
    return [*operations, *named, *(["--resource-pattern-type", "prefixed"] if right.prefixed else [])]


_IMPLIED = {"Describe": {"Read", "Write", "Delete", "Alter"}, "DescribeConfigs": {"AlterConfigs"}}


def _without_implied(operations: list[str]) -> tuple[str, ...]:
    """Leave out what another operation implies.

    >>> _without_implied(["Read", "Describe", "DescribeConfigs"])
    ('Read', 'DescribeConfigs')
    """
    return tuple(each for each in operations if not _IMPLIED.get(each, set()) & set(operations))
