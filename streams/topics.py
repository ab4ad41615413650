"""Owns the creation and the check of topics on a real cluster; the declarations come from topic_specs.

Invariant: an existing topic is never changed unless asked to (`repair`), and never deleted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    CoordinatorNotAvailableError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from streams.kafka_access import kafka_python_options
from streams.kafka_trouble import refusal_in, unreachable
from streams.settings import Settings
from streams.topic_specs import TopicNames, TopicSpec, group_of, topic_names, topic_specs

__all__ = [
    "BrokerError",
    "Problem",
    "TopicNames",
    "TopicSpec",
    "check_topics",
    "connected_admin",
    "create_topics",
    "delete_group",
    "delete_topics",
    "members_of_group",
    "problems_of",
    "topic_names",
    "topic_specs",
]

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 3.0
CONFIG_WAIT_SECONDS = 10.0
GONE_WAIT_SECONDS = 90.0
NOBODY_CAN_TELL = "nobody can tell"
HIDDEN = "may not be seen by this user"


class BrokerError(Exception):
    """Say that the cluster doesn't answer or refuses: *message* is what is wrong, *remedy* what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a topic is not as declared."""

    topic: str
    what: str
    remedy: str


@contextmanager
def connected_admin(settings: Settings, *, wait_seconds: float = 30.0) -> Iterator[Any]:
    """Yield a kafka-python admin client, connected; a broker that is just starting is waited for.

    Raises:
        BrokerError: If no broker answers within *wait_seconds*.
    """
    admin = _connect(settings, wait_seconds)
    try:
        yield admin
    finally:
        admin.close()


def _connect(settings: Settings, wait_seconds: float) -> Any:
    """Connect, trying again with growing pauses until *wait_seconds* are over."""
    deadline = time.monotonic() + wait_seconds
    pause = FIRST_WAIT_SECONDS
    # While waiting, each refused connection would be a warning: the outcome is told below, once.
    library, level = logging.getLogger("kafka"), logging.getLogger("kafka").level
    library.setLevel(logging.CRITICAL)
    try:
        while True:
            left = deadline - time.monotonic()
            try:
                return KafkaAdminClient(
                    **kafka_python_options(settings.kafka),
                    client_id=f"{settings.kafka.application}-admin",
                    bootstrap_timeout_ms=max(1, int(left * 1000)),
                    request_timeout_ms=int(settings.kafka.request_timeout_seconds * 1000),
                )
            except (KafkaError, OSError) as error:
                if time.monotonic() + pause >= deadline:
                    raise BrokerError(*unreachable(settings.kafka, error)[:2]) from error
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_WAIT_SECONDS)
    finally:
        library.setLevel(level)


def delete_topics(settings: Settings, topics: Collection[str]) -> list[str]:
    """Delete those of *topics* that there are, and wait until they are gone; return their names."""
    with connected_admin(settings, wait_seconds=10.0) as admin:
        there = sorted(set(topics) & set(admin.list_topics()))
        if there:
            admin.delete_topics(there)
        deadline = time.monotonic() + GONE_WAIT_SECONDS
        while set(there) & set(admin.list_topics()) and time.monotonic() < deadline:
            time.sleep(FIRST_WAIT_SECONDS)
    return there


def delete_group(settings: Settings) -> None:
    """Delete the consumer group of *settings* with its offsets, if there is one."""
    with connected_admin(settings, wait_seconds=10.0) as admin:
        if group_of(settings) in {found["group_id"] for found in admin.list_groups()}:
            admin.delete_groups([group_of(settings)])


def members_of_group(admin: Any, group: str) -> str:
    """Return who is in *group*, for people; nothing when nobody is."""
    try:
        return ", ".join(str(member["member_id"]) for member in admin.describe_groups([group])[group]["members"])
    except CoordinatorNotAvailableError:  # while brokers restart, or for a moment on a new cluster
        return NOBODY_CAN_TELL


def members_left(settings: Settings, patience_seconds: float, poll_seconds: float) -> str:
    """Wait until nobody is in the group of *settings* any more; return who is still there after *patience_seconds*."""
    deadline = time.monotonic() + patience_seconds
    with connected_admin(settings, wait_seconds=10.0) as admin:
        while (members := members_of_group(admin, group_of(settings))) and time.monotonic() < deadline:
            time.sleep(poll_seconds)
    return members


def create_topics(settings: Settings, *, repair: bool = False, wait_seconds: float = 30.0) -> list[str]:
    """Create the topics that don't exist, wait until they can be used, and return what was done, by line.

    Args:
        repair: Also set the configuration of existing topics to what is declared.
        wait_seconds: How long to wait for a broker that is just starting.

    Raises:
        BrokerError: If no broker answers or it refuses a topic.
    """
    specs = topic_specs(settings)
    with connected_admin(settings, wait_seconds=wait_seconds) as admin:
        try:
            existing = set(admin.list_topics())
            done = _create_missing(admin, [spec for spec in specs if spec.name not in existing])
            if repair:
                done += _repair(admin, [spec for spec in specs if spec.name in existing])
            admin.wait_for_topics([spec.name for spec in specs], timeout_ms=int(max(wait_seconds, 10.0) * 1000))
        except KafkaError as error:
            raise _refused(error) from error
    return done


def _create_missing(admin: Any, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics; one that another process has just created counts as existing."""
    if not specs:
        return []
    wanted = {
        spec.name: {
            "num_partitions": spec.partitions,
            "replication_factor": spec.replication,
            "configs": spec.configs,
        }
        for spec in specs
    }
    response = admin.create_topics(wanted, raise_errors=False)
    done: list[str] = []
    for topic in response["topics"]:
        error = for_code(topic["error_code"])
        if topic["error_code"] == 0:
            done.append(f"created {topic['name']}")
        elif error is not TopicAlreadyExistsError:
            raise _refused(error(f"{topic['name']}: {topic.get('error_message') or error.__name__}"))
    return done


def _repair(admin: Any, specs: Sequence[TopicSpec]) -> list[str]:
    """Set configuration that differs from the spec; partitions and copies stay as they are."""
    found = _configs(admin, specs)
    wrong = {spec.name: _differing(spec, found[spec.name]) for spec in specs}
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, {key: wanted for key, (_, wanted) in keys.items()})
        for name, keys in wrong.items()
        if keys
    ]
    if resources:
        admin.alter_configs(resources)
        _await_configs(admin, specs)
    return [f"set {', '.join(keys)} of {name}" for name, keys in wrong.items() if keys]


def _await_configs(admin: Any, specs: Sequence[TopicSpec]) -> None:
    """Wait until the brokers show the new configuration: they learn it after the controller has answered."""
    deadline = time.monotonic() + CONFIG_WAIT_SECONDS
    while True:
        found = _configs(admin, specs)
        late = [spec.name for spec in specs if _differing(spec, found[spec.name])]
        if not late:
            return
        if time.monotonic() >= deadline:
            raise BrokerError(f"the broker doesn't take over the configuration of {late}", "Look into its log.")
        time.sleep(FIRST_WAIT_SECONDS)


def _refused(error: KafkaError) -> BrokerError:
    """Turn a broker's refusal into an error that says what to do."""
    if (refusal := refusal_in(error)) is not None:
        return BrokerError(*refusal[:2])
    text = str(error.args[0]) if error.args else type(error).__name__
    if "replication" in text.lower():
        return BrokerError(
            f"the broker refuses: {text}",
            "Set [kafka] replication (ORGPULSE_KAFKA_REPLICATION) to no more than the number of brokers.",
        )
    return BrokerError(f"the broker refuses: {text}", "Run `orgpulse doctor`; the broker's log says more.")


def check_topics(settings: Settings, *, wait_seconds: float = 30.0) -> list[Problem]:
    """Compare every topic with its declaration; nothing is changed.

    Raises:
        BrokerError: If no broker answers within *wait_seconds*.
    """
    with connected_admin(settings, wait_seconds=wait_seconds) as admin:
        return problems_of(admin, topic_specs(settings))


def problems_of(admin: Any, specs: Sequence[TopicSpec]) -> list[Problem]:
    """Return how the topics on the cluster differ from *specs*.

    Raises:
        BrokerError: If the broker refuses to tell.
    """
    try:
        found = admin.describe_topics([spec.name for spec in specs]) if specs else []
        hidden = {topic["name"] for topic in found if topic["error_code"] == TopicAuthorizationFailedError.errno}
        described = {topic["name"]: topic for topic in found if not topic["error_code"]}
        present = [spec for spec in specs if spec.name in described]
        configs = _configs(admin, present)
    except KafkaError as error:
        raise _refused(error) from error
    problems: list[Problem] = []
    for spec in specs:
        if spec.name in hidden:
            problems.append(Problem(topic=spec.name, what=HIDDEN, remedy="orgpulse doctor names the rights it lacks"))
            continue
        if spec.name not in described:
            problems.append(Problem(topic=spec.name, what="does not exist", remedy="orgpulse topics create"))
            continue
        problems += _layout_problems(spec, described[spec.name]["partitions"])
        problems += [
            Problem(topic=spec.name, what=f"{key} is {found}, not {want}", remedy="orgpulse topics create --repair")
            for key, (found, want) in _differing(spec, configs[spec.name]).items()
        ]
    return problems


def _layout_problems(spec: TopicSpec, partitions: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what is wrong with partitions, leaders and copies."""
    if len(partitions) != spec.partitions:
        remedy = f"set ORGPULSE_KAFKA_PARTITIONS={len(partitions)}, or a new ORGPULSE_KAFKA_PREFIX"
        if spec.partitions == 1:
            remedy = f"kafka-topics.sh --delete --topic {spec.name}, then orgpulse topics create"
        what = f"has {len(partitions)} partitions, not {spec.partitions}"
        yield Problem(topic=spec.name, what=what, remedy=remedy)
    leaderless = [part["partition_index"] for part in partitions if part["leader_id"] < 0]
    if leaderless:
        what = f"partitions {leaderless} have no leader"
        yield Problem(topic=spec.name, what=what, remedy="start the brokers that hold them")
    copies = min((len(part["replica_nodes"]) for part in partitions), default=0)
    if copies < spec.replication:
        remedy = f"kafka-reassign-partitions.sh, or set ORGPULSE_KAFKA_REPLICATION={copies}"
        yield Problem(topic=spec.name, what=f"has {copies} copies, not {spec.replication}", remedy=remedy)


def _configs(admin: Any, specs: Sequence[TopicSpec]) -> dict[str, dict[str, str]]:
    """Return topic → effective configuration."""
    if not specs:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in specs]
    described = admin.describe_configs(resources, config_filter="all")
    return {
        name: {key: str(entry["value"]) for key, entry in keys.items()}
        for by_name in described.values()
        for name, keys in by_name.items()
    }


def _differing(spec: TopicSpec, found: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return key → (found, wanted) where they differ."""
    return {key: (found.get(key, "unset"), want) for key, want in spec.configs.items() if found.get(key) != want}
