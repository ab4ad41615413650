"""On a Kafka with an authorizer and a Redis with an ACL file no user of one tenant gets at anything of another's.

Every user has what `orgpulse --tenant NAME acl` prints for its role, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)
from redis.exceptions import NoPermissionError

from streams.kafka_access import kafka_python_options
from streams.kafka_rights import ROLES
from streams.redis_access import redis_client
from streams.settings import Settings
from streams.topic_specs import group_of, topic_names, topic_specs
from tests.faults.extent import long_form
from tests.security.secure_kafka import SecureKafka
from tests.security.secure_redis import SecureRedis
from tests.security.test_pipeline import House

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

DENIED = (
    ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)  # fmt: skip
_WAIT_MS = 5_000


@pytest.fixture(scope="module")
def secure_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    with SecureRedis(tmp_path_factory.mktemp("secure-redis")) as server:
        yield server


@contextmanager
def closing(client: Any) -> Iterator[Any]:
    """Yield a client of Kafka, and close it."""
    try:
        yield client
    finally:
        client.close()


def read(options: dict[str, Any], topic: str) -> object:
    """Read a topic; this client is told nothing of one that it may not see, not even that it is there."""
    with closing(KafkaConsumer(**options, auto_offset_reset="earliest")) as consumer:
        if not consumer.partitions_for_topic(topic):
            raise TopicAuthorizationFailedError(topic)
        consumer.assign([TopicPartition(topic, 0)])
        return consumer.poll(_WAIT_MS)


def join(options: dict[str, Any], group: str, topic: str) -> object:
    with closing(KafkaConsumer(topic, **options, group_id=group)) as consumer:
        return consumer.poll(_WAIT_MS)


def write(options: dict[str, Any], topic: str) -> object:
    with closing(KafkaProducer(**options, max_block_ms=_WAIT_MS)) as producer:
        return producer.send(topic, b"forged").get(timeout=30)


def fence(options: dict[str, Any], transactional_id: str) -> object:
    with closing(KafkaProducer(**options, transactional_id=transactional_id, max_block_ms=_WAIT_MS)) as producer:
        return producer.init_transactions()


def delete(options: dict[str, Any], topic: str) -> object:
    with closing(KafkaAdminClient(**options)) as admin:
        return admin.delete_topics([topic])


def denied(attempt: Callable[[], object]) -> str:
    """Return the empty string if Kafka refuses *attempt* for want of rights, else what happened."""
    try:
        return f"it was let: {attempt()!r}"
    except DENIED:
        return ""
    except KafkaError as error:
        return repr(error)


def attempts(mine: Settings, theirs: Settings, every: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield everything that somebody could try on another tenant in Kafka; without *every* one of each sort."""
    options = kafka_python_options(mine.kafka)
    names, group = topic_names(theirs), group_of(theirs)
    topics = [spec.name for spec in topic_specs(theirs)] if every else [names.weeks, names.shard_changelog]
    for topic in topics:
        yield f"read {topic}", lambda topic=topic: read(options, topic)
    for topic in topics if every else [names.product_events]:
        yield f"write {topic}", lambda topic=topic: write(options, topic)
    yield f"join {group}", lambda: join(options, group, topic_names(mine).weeks)
    yield f"fence {group}", lambda: fence(options, f"{group}-lane-0")
    yield "delete", lambda: delete(options, names.weeks)


@long_form
def test_no_user_of_one_tenant_reads_writes_or_is_told_of_anothers(
    secure_kafka: SecureKafka, secure_redis: SecureRedis, tmp_path: Path, topic_prefix: str
) -> None:
    houses = {}
    for name in ("acme", "acme-2"):
        (tmp_path / name).mkdir()
        houses[name] = House(secure_kafka, secure_redis, tmp_path / name, topic_prefix, name)
        done = houses[name].run("operator", "topics", "create")
        assert done.returncode == 0, done.stderr
    tried = told = 0
    for mine, theirs in (("acme", "acme-2"), ("acme-2", "acme")):
        other = houses[theirs].plain
        for role in ROLES:
            own = houses[mine].settings(role)
            found = {what: denied(attempt) for what, attempt in attempts(own, other, role == "operator")}
            assert not any(found.values()), f"{role} of {mine}: {found}"
            tried += len(found)
            with closing(KafkaConsumer(**kafka_python_options(own.kafka))) as consumer:
                seen = consumer.topics()
            assert {name for name in seen if name.startswith("t.")} <= {n for n in seen if n.startswith(f"t.{mine}.")}
            told += len(seen)
        with closing(KafkaAdminClient(**kafka_python_options(houses[mine].settings("operator").kafka))) as admin:
            assert not [each for each in admin.list_groups() if theirs == each["group_id"].split(".")[1]]
        _nothing_in_redis(houses[mine], other.redis.prefix)
    assert told, "or nobody may list anything"
    own = kafka_python_options(houses["acme"].settings("operator").kafka)
    assert not denied(lambda: read(own, topic_names(houses["acme-2"].plain).weeks))
    assert denied(lambda: read(own, topic_names(houses["acme"].plain).weeks)), "or nothing can be read at all"
    print(f"{tried} attempts on topics, groups and transactions of the other, all refused; {told} own topics told")


def _nothing_in_redis(house: House, prefix: str) -> None:
    for role in ("worker", "reader", "operator"):
        with redis_client(house.settings(role).redis) as client:
            for command in (("HGETALL", f"{prefix}org:{{acme}}"), ("ZRANGE", f"{prefix}orgs:by-score", 0, -1),
                            ("EVAL", "return redis.call('HGET', KEYS[1], 'a')", 1, f"{prefix}totals"),
                            ("HSET", f"{prefix}org:{{acme}}", "a", "1"), ("DEL", f"{prefix}totals")):  # fmt: skip
                with pytest.raises(NoPermissionError):
                    client.execute_command(*command)
            client.execute_command("HGETALL", house.plain.redis.prefix + "org:{acme}")
