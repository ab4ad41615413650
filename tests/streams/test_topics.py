"""Topics on a real broker: created as declared, checked, mended, and never changed unasked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams.settings import Settings, override
from streams.topics import (
    BrokerError,
    check_topics,
    connected_admin,
    create_topics,
    topic_names,
    topic_specs,
)

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Any, topic_prefix: str) -> Iterator[Settings]:
    """Settings with names of their own on the session's broker; their topics are deleted afterwards."""
    mine = override(
        Settings(),
        {
            "kafka.brokers": kafka.bootstrap,
            "kafka.prefix": topic_prefix,
            "kafka.application": topic_prefix.rstrip("-"),
            "kafka.partitions": 3,
        },
    )
    yield mine
    with connected_admin(mine) as admin:
        names = {spec.name for spec in topic_specs(mine)} & set(admin.list_topics())
        if names:
            admin.delete_topics(sorted(names))


def test_created_topics_are_as_declared_and_creating_them_again_does_nothing(settings: Settings) -> None:
    assert {problem.what for problem in check_topics(settings)} == {"does not exist"}
    assert len(create_topics(settings)) == len(topic_specs(settings))
    assert check_topics(settings) == []
    assert create_topics(settings) == []


def test_the_broker_really_compacts_keeps_and_splits_as_the_contract_says(settings: Settings) -> None:
    create_topics(settings)
    names = topic_names(settings)
    with connected_admin(settings) as admin:
        described = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
    assert described[names.product_events] == described[names.activities] == described[names.shard_changelog] == 3
    assert described[names.summaries] == described[names.census_changelog] == 1
    assert described[names.suppressed] == 1
    specs = {spec.name: spec for spec in topic_specs(settings)}
    compacted = {name for name, spec in specs.items() if spec.compacted}
    assert compacted == {
        *(names.users, names.orgs, names.identities, names.suppressed, names.scores, names.weeks, names.control),
        names.summaries,
        *names.changelogs,
    }
    assert specs[names.product_events].configs["retention.ms"] == str(90 * 86_400_000)


def test_a_topic_that_differs_is_told_and_only_repair_mends_it(settings: Settings) -> None:
    create_topics(settings)
    larger = override(settings, {"kafka.max_message_bytes": 2_097_152})
    problems = check_topics(larger)
    assert {problem.what for problem in problems} == {"max.message.bytes is 1048576, not 2097152"}
    assert {problem.remedy for problem in problems} == {"orgpulse topics create --repair"}
    assert create_topics(larger) == []
    assert check_topics(larger) == problems
    assert len(create_topics(larger, repair=True)) == len(topic_specs(larger))
    assert check_topics(larger) == []


def test_a_wrong_number_of_partitions_is_told_with_what_would_fit(settings: Settings) -> None:
    create_topics(settings)
    problems = check_topics(override(settings, {"kafka.partitions": 5}))
    first = problems[0]
    assert (first.topic, first.what) == (topic_names(settings).product_events, "has 3 partitions, not 5")
    assert "ORGPULSE_KAFKA_PARTITIONS=3" in first.remedy
    single = {topic_names(settings).summaries, topic_names(settings).census_changelog}
    assert not single & {problem.topic for problem in problems}


def test_more_copies_than_brokers_are_refused_with_the_setting_to_change(settings: Settings) -> None:
    with pytest.raises(BrokerError, match="refuses") as caught:
        create_topics(override(settings, {"kafka.replication": 2}))
    assert "ORGPULSE_KAFKA_REPLICATION" in caught.value.remedy


def test_a_broker_that_is_not_there_is_given_up_on_after_the_time_allowed() -> None:
    nobody = override(Settings(), {"kafka.brokers": "127.0.0.1:1"})
    with pytest.raises(BrokerError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        check_topics(nobody, wait_seconds=0.5)
