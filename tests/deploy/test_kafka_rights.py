"""The rights that Kubernetes gives the workers' user are enough for a worker and for nothing else.

Seen on a real broker that refuses whatever is not allowed:

    open broker ─► topics, messages ─► rights ─► from here on everybody has these alone ─► worker ─► scores in Redis

Without a login everybody is User:ANONYMOUS, so that is whom the rights are given to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from agents.simulate import directory, history, make_base
from deploy.kubernetes.generate import worker_rights
from deploy.local.kafka import LocalKafka
from streams.sender import Sender
from streams.settings import Settings, override
from streams.topics import create_topics
from tests.faults.system import wait_until
from tests.faults.workers import Workers, send_all

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

EVERYBODY = "User:ANONYMOUS"
KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactionalId": ResourceType.TRANSACTIONAL_ID}
OPERATIONS = {
    "Read": ACLOperation.READ,
    "Write": ACLOperation.WRITE,
    "Describe": ACLOperation.DESCRIBE,
    "DescribeConfigs": ACLOperation.DESCRIBE_CONFIGS,
}
PATTERNS = {"literal": ACLResourcePatternType.LITERAL, "prefix": ACLResourcePatternType.PREFIXED}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that allows everything until something is allowed to somebody."""
    extra = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with LocalKafka(tmp_path_factory.mktemp("kafka"), extra=extra, fast_start=True) as broker:
        yield broker


def make_internal_topics(brokers: str) -> None:
    """Have the broker make its own topics: those of groups and of transactions appear with the first of each."""
    consumer = KafkaConsumer("control", bootstrap_servers=brokers, group_id="first")
    producer = KafkaProducer(bootstrap_servers=brokers, transactional_id="first")
    try:
        consumer.poll(2_000)
        producer.init_transactions()
    finally:
        consumer.close()
        producer.close(1)


def allow(brokers: str, settings: Settings) -> None:
    """Give everybody a worker's rights, and see to it that they have no others."""
    given = [
        ACL(EVERYBODY, "*", OPERATIONS[operation], ACLPermissionType.ALLOW,
            ResourcePattern(KINDS[right["resource"]["type"]], right["resource"]["name"],
                            PATTERNS[right["resource"]["patternType"]]))
        for right in worker_rights(settings)
        for operation in right["operations"]
    ]  # fmt: skip
    # Where a rule names somebody, the rest is refused: a rule for nobody on everything shuts everything.
    shut = [
        ACL("User:nobody", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, ResourcePattern(kind, "*"))
        for kind in KINDS.values()
    ]
    # The broker is among everybody: it has to speak with itself.
    cluster = ResourcePattern(ResourceType.CLUSTER, "kafka-cluster")
    shut.append(ACL(EVERYBODY, "*", ACLOperation.CLUSTER_ACTION, ACLPermissionType.ALLOW, cluster))
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    try:
        result = admin.create_acls(given + shut)
        assert not result["failed"], result
    finally:
        admin.close()


def refused(what: str, brokers: str) -> type[BaseException] | None:
    """Try something that no worker does; return the error that Kafka answers with."""
    try:
        if what == "create":
            admin = KafkaAdminClient(bootstrap_servers=brokers)
            try:
                admin.create_topics([NewTopic("mine", 1, 1)])
            finally:
                admin.close()
        elif what.startswith("read "):
            consumer = KafkaConsumer(bootstrap_servers=brokers)
            try:
                consumer.assign([TopicPartition(what[5:], 0)])
                consumer.seek_to_beginning()
                consumer.poll(5000)
            finally:
                consumer.close()
        else:
            own = {"transactional_id": "somebody-else"} if what == "transact" else {}
            producer = KafkaProducer(bootstrap_servers=brokers, max_block_ms=5000, **own)
            try:
                if own:
                    producer.init_transactions()
                producer.send(what.removeprefix("write "), b"x").get(5)
            finally:
                producer.close(1)
    except KafkaError as error:
        return type(error)
    return None


def test_a_worker_does_its_work_with_these_rights_and_nothing_else_is_possible(
    broker: LocalKafka, redis_server: Any, topic_prefix: str, tmp_path: Path
) -> None:
    settings = override(
        Settings(),
        {"kafka.brokers": broker.bootstrap, "kafka.partitions": 2, "redis.url": redis_server.url,
         "redis.prefix": f"{topic_prefix}:", "worker.static_membership": True},
    )  # fmt: skip
    create_topics(settings)
    base = make_base(7, 20, 120)
    with Sender([broker.bootstrap]) as sender:
        send_all(sender, "", [*directory(base), *history(base, time.time(), 1)])
    make_internal_topics(broker.bootstrap)
    allow(broker.bootstrap, settings)
    assert refused("create", broker.bootstrap) in (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)
    assert refused("write product-events", broker.bootstrap) is TopicAuthorizationFailedError
    assert refused("write control", broker.bootstrap) is TopicAuthorizationFailedError
    assert refused("read scores", broker.bootstrap) is TopicAuthorizationFailedError
    assert refused("transact", broker.bootstrap) is TransactionalIdAuthorizationFailedError
    with Workers(settings, 1, tmp_path) as workers, redis.Redis.from_url(redis_server.url) as shown:

        def missing() -> str:
            orgs = shown.zcard(f"{topic_prefix}:orgs:by-score")
            return "" if orgs == len(base.orgs) else f"{orgs} of {len(base.orgs)} orgs"

        try:
            wait_until(missing, 60.0)
        except AssertionError:
            print(workers.log(0).read_text()[-4000:])
            raise
        workers.stop(0)
        assert "Authorization" not in workers.log(0).read_text(encoding="utf-8")
