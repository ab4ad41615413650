"""Owns what `orgpulse doctor` looks at on the Kafka cluster.

Invariant: nothing on the cluster is changed, and a cluster that is down is a finding, not an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka.errors import CoordinatorNotAvailableError, KafkaError

from agents.doctor import Finding, State, skew_finding
from streams.clock import Clock
from streams.generation import with_generation
from streams.kafka_access import shown
from streams.kafka_granted import missing_rights, role_specs, told_missing
from streams.kafka_rights import Role
from streams.settings import Settings
from streams.topic_specs import group_of
from streams.topics import BrokerError, TopicSpec, connected_admin, problems_of

OLDEST_VERSION = (3, 0)
"""Older brokers lack what the transactions here rely on."""
TESTED_VERSION = (4, 3)


def kafka_findings(
    settings: Settings, clock: Clock, *, wait_seconds: float, role: Role = "worker"
) -> Iterator[Finding]:
    """Yield what is to say about the way in, brokers, their clock, this user's rights, every topic and the group."""
    try:
        with connected_admin(settings, wait_seconds=wait_seconds) as admin:
            settings = with_generation(settings, patience_seconds=0)
            yield access_finding(settings)
            yield from _broker_findings(admin, settings)
            if role == "operator" or settings.kafka.security == "plaintext":
                yield from _clock_findings(admin, clock)
            else:  # it would ask for a right that only an operator has
                yield Finding(check="kafka clock", state="ok", found="not asked (--role operator asks)")
            yield rights_finding(admin, settings, role)
            yield from topic_findings(admin, role_specs(settings, role))
            if role in ("worker", "reader", "operator"):
                yield group_finding(admin, group_of(settings))
    except BrokerError as error:
        yield Finding(check="kafka", state="failed", found=error.message, remedy=error.remedy)
    except KafkaError as error:
        remedy = "Look into the broker's log; may this user describe topics, groups and the cluster?"
        yield Finding(check="kafka", state="failed", found=str(error), remedy=remedy)


def access_finding(settings: Settings) -> Finding:
    """Say how one gets in: over TLS, as whom, with which certificate."""
    kafka = settings.kafka
    way = ["TLS" if kafka.security in ("ssl", "sasl_ssl") else "no TLS"]
    way.append(f"as {kafka.username} ({kafka.sasl_mechanism})" if kafka.security.startswith("sasl") else "no login")
    if kafka.certificate_file:
        way.append(f"with the certificate in {kafka.certificate_file}")
    return Finding(check="kafka access", state="ok", found=", ".join(way))


def rights_finding(admin: Any, settings: Settings, role: Role) -> Finding:
    """Say which rights of *role* this user lacks, as far as the brokers tell."""
    specs = role_specs(settings, role)
    missing = missing_rights(admin, settings, role, [spec.name for spec in specs])
    if missing:
        found, remedy = told_missing(missing, settings.kafka.username, role)
        return Finding(check="kafka rights", state="failed", found=found, remedy=remedy)
    return Finding(check="kafka rights", state="ok", found=f"those of a {role}, on {len(specs)} topics")


def _broker_findings(admin: Any, settings: Settings) -> Iterator[Finding]:
    """Yield whether there are enough brokers, new enough."""
    # What the client learnt when it connected; to describe the cluster would ask for a right that few have.
    brokers = [broker.node_id for broker in admin._manager.cluster.brokers()]
    version = tuple(admin.get_broker_version_data(brokers[0]).broker_version)
    text = ".".join(str(part) for part in version)
    found = f"{len(brokers)} broker{'s' if len(brokers) > 1 else ''} at {shown(settings.kafka)}, Kafka {text}"
    if version < OLDEST_VERSION:
        yield Finding(check="kafka", state="failed", found=found, remedy="Use Kafka 3.0 or newer.")
    elif version[0] < TESTED_VERSION[0]:
        yield Finding(check="kafka", state="warning", found=found, remedy="Tested with Kafka 4.3 only.")
    else:
        yield Finding(check="kafka", state="ok", found=found)
    if len(brokers) < settings.kafka.replication:
        yield Finding(
            check="kafka",
            state="failed",
            found=f"{len(brokers)} brokers can't hold {settings.kafka.replication} copies",
            remedy=f"Start more, or set ORGPULSE_KAFKA_REPLICATION={len(brokers)}.",
        )


def _clock_findings(admin: Any, clock: Clock) -> Iterator[Finding]:
    """Yield how far the controller's clock is from ours: it stamps its own quorum entry with its present."""
    before = clock.now()
    try:
        quorum = admin.describe_metadata_quorum()["topics"][0]["partitions"][0]
    except (KafkaError, LookupError) as error:
        # Not every broker and user may ask; no reason to worry, but it is said.
        yield Finding(check="kafka clock", state="ok", found=f"not told ({type(error).__name__})")
        return
    ours = (before + clock.now()) / 2
    stamps = [voter["last_caught_up_timestamp"] for voter in quorum["current_voters"]]
    if stamps and max(stamps) > 0:
        yield skew_finding("kafka clock", "the broker", max(stamps) / 1000 - ours)


def topic_findings(admin: Any, specs: tuple[TopicSpec, ...]) -> Iterator[Finding]:
    """Yield one finding for each topic, and one more for each thing that is wrong with it."""
    problems = problems_of(admin, specs)
    for spec in specs:
        mine = [problem for problem in problems if problem.topic == spec.name]
        for problem in mine:
            yield Finding(check=f"topic {spec.name}", state="failed", found=problem.what, remedy=problem.remedy)
        if not mine:
            yield Finding(check=f"topic {spec.name}", state="ok", found=_summary(spec))


def _summary(spec: TopicSpec) -> str:
    """Say in a few words what a topic is like."""
    retention_ms = int(spec.configs["retention.ms"])
    kept = "compacted" if spec.compacted else f"{retention_ms / 86_400_000:.0f} days"
    parts = f"{spec.partitions} partition{'s' if spec.partitions > 1 else ''}"
    return f"{parts}, {kept}, {int(spec.configs['max.message.bytes']) / 1024:.0f} KiB, CreateTime"


def group_finding(admin: Any, group: str) -> Finding:
    """Say whether workers are there and have shared out the partitions."""
    check = f"group {group}"
    try:
        described = admin.describe_groups([group])[group]
    except CoordinatorNotAvailableError:
        # A cluster on which no group ever was makes its offsets topic at the first question.
        described = {"group_state": "Dead", "members": []}
    state, members = described["group_state"], len(described["members"])
    if state in ("Dead", "Empty", ""):
        remedy = "Start one: orgpulse worker"
        return Finding(check=check, state="warning", found="no worker is running", remedy=remedy)
    judged: State = "ok" if state == "Stable" else "warning"
    remedy = "" if judged == "ok" else "Partitions are being shared out; ask again in some seconds."
    return Finding(check=check, state=judged, found=f"{state}, {members} members", remedy=remedy)
