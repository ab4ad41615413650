"""A whole pipeline on a Kafka with TLS, logins and an authorizer, and a Redis with TLS and an ACL file.

operator ─► topics     import ─► messages     worker ─► scores in Redis     reader ─► ledger, score
everybody has the rights that `orgpulse acl` prints for the role, and no others; nothing is denied on the way
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from agents.cli import orgpulse
from agents.simulate import directory, history, make_base
from streams.kafka_access import kafka_python_options
from streams.kafka_granted import missing_rights
from streams.kafka_rights import ROLES, Right, Role, rights_of
from streams.sender import Sender
from streams.settings import Settings, of_tenant, override
from streams.settings_child import child_environment
from streams.topic_specs import topic_names, topic_specs
from streams.topics import connected_admin
from tests.faults.extent import long_form
from tests.faults.system import wait_until
from tests.faults.workers import Workers, send_all
from tests.security.secure_kafka import SecureKafka
from tests.security.secure_redis import SecureRedis

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1500)]


class House:
    """The two servers with a user for each role, who has what `orgpulse acl` prints and nothing more."""

    def __init__(self, kafka: SecureKafka, redis: SecureRedis, folder: Path, prefix: str, tenant: str = "") -> None:
        self.kafka, self.redis, self.folder, self.prefix = kafka, redis, folder, f"{prefix}{tenant}"
        self.plain = override(
            Settings(),
            {"kafka.partitions": 2, "kafka.prefix": prefix, "kafka.application": f"{prefix}app",
             "kafka.session_timeout_seconds": 6.0, "redis.prefix": f"{prefix}:", "calibration.every_seconds": 2.0},
        )  # fmt: skip
        if tenant:
            self.plain = of_tenant(self.plain, tenant)
        for role in ROLES:
            self.password(role).write_text(f"{self.prefix}password-of-{role}\n")
            kafka.add_user(self.user(role), self.password(role).read_text().strip())
            kafka.allow(self.user(role), self.printed(role))
        for name in ("worker", "reader", "operator"):
            line = self.cli("acl", "redis", "--role", name, "--user", self.user(name), "--password-file",
                            str(self.password(name)))  # fmt: skip
            redis.set_user(line.strip())

    def user(self, role: str) -> str:
        return f"{self.prefix}{role}"

    def password(self, role: str) -> Path:
        return self.folder / f"{role}.password"

    def cli(self, *arguments: str) -> str:
        """Run a command with the settings of nobody in particular."""
        done = CliRunner().invoke(orgpulse, [*arguments], env=_variables(self.plain))
        assert done.exit_code == 0, done.output
        return done.output

    def printed(self, role: str) -> list[Right]:
        """Return the rights that `orgpulse acl kafka` prints."""
        found = json.loads(self.cli("acl", "kafka", "--role", role, "--format", "json"))["rights"]
        return [Right(each["kind"], each["name"], each["prefixed"], tuple(each["operations"])) for each in found]

    def settings(self, role: str, **changes: object) -> Settings:
        """Return the settings of a role."""
        login = self.kafka.settings(self.user(role), self.password(role))
        shown = {
            "redis.url": self.redis.url, "redis.username": self.user(role),
            "redis.password_file": str(self.password(role)), "redis.ca_file": str(self.redis.authority.ca),
        }  # fmt: skip
        return override(self.plain, login | shown | changes)

    def run(self, role: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a process of its own, with the settings of a role."""
        command = [sys.executable, "-m", "agents.cli", *arguments]
        return subprocess.run(
            command,
            env=child_environment(self.settings(role)),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def _variables(settings: Settings) -> dict[str, str | None]:
    """Return an environment with the settings and no other ones of this process."""
    ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("ORGPULSE_")}
    return {**ours, **{k: v for k, v in child_environment(settings).items() if k.startswith("ORGPULSE_")}}


@pytest.fixture(scope="module")
def secure_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    with SecureRedis(tmp_path_factory.mktemp("secure-redis")) as server:
        yield server


@pytest.fixture
def house(secure_kafka: SecureKafka, secure_redis: SecureRedis, tmp_path: Path, topic_prefix: str) -> House:
    return House(secure_kafka, secure_redis, tmp_path, topic_prefix)


def refused(what: str, settings: Settings) -> type[BaseException] | None:
    """Try something that no worker does; return the error that Kafka answers with."""
    options = kafka_python_options(settings.kafka)
    try:
        if what == "create":
            admin = KafkaAdminClient(**options)
            try:
                admin.create_topics([NewTopic("mine", 1, 1)])
            finally:
                admin.close()
        elif what.startswith("read "):
            consumer = KafkaConsumer(**options)
            try:
                consumer.assign([TopicPartition(what[5:], 0)])
                consumer.seek_to_beginning()
                consumer.poll(5000)
            finally:
                consumer.close()
        else:
            own = {"transactional_id": "somebody-else"} if what == "transact" else {}
            producer = KafkaProducer(**options, max_block_ms=5000, **own)
            try:
                if own:
                    producer.init_transactions()
                producer.send(what.removeprefix("write "), b"x").get(30)
            finally:
                producer.close(1)
    except KafkaError as error:
        return type(error)
    return None


def test_every_role_does_its_work_with_its_rights_and_nothing_is_denied_on_the_way(house: House) -> None:
    names, base = topic_names(house.plain), make_base(7, 20, 120)
    house.redis.denials()
    made = house.run("operator", "topics", "create")
    assert made.returncode == 0, made.stdout + made.stderr
    assert f"created {names.scores}" in made.stdout
    with Sender(house.settings("import").kafka) as sender:
        send_all(sender, house.prefix, [*directory(base), *history(base, time.time(), 1)])
    with Workers(house.settings("worker", **{"worker.static_membership": True}), 1, house.folder) as workers:

        def missing() -> str:
            with house.redis.admin() as shown:
                orgs = shown.zcard(f"{house.prefix}:orgs:by-score")
            return "" if orgs == len(base.orgs) else f"{orgs} of {len(base.orgs)} orgs"

        wait_until(missing, 90.0)
        org = base.orgs[0].id

        def unseen() -> str:
            said = _page(workers.port(0), "/api/v1/orgs?per_page=100")
            return "" if f'"{org}"' in said else said + str(house.redis.denials())

        wait_until(unseen, 30.0)
        looked = house.run("reader", "ledger", "--wait", "60", "--json")
        assert looked.returncode == 0, looked.stdout + looked.stderr
        assert json.loads(looked.stdout)["total"]["consumed"] > 100
        shown = house.run("reader", "score", org)
        assert shown.returncode == 0 and base.orgs[0].name in shown.stdout, shown.stdout + shown.stderr
        for role in ("worker", "operator"):
            found = json.loads(house.run(role, "doctor", "--json", "--role", role, "--wait", "60").stdout)
            failed = [each for each in found if each["state"] == "failed" and each["check"] != "disk"]
            assert failed == [], failed
        workers.stop(0)
        assert "Authorization" not in workers.log(0).read_text(encoding="utf-8")
    # The authorizer's log and Redis's own say whether anybody asked for more.
    assert {role: house.kafka.denied(house.user(role)) for role in ROLES} == {role: set() for role in ROLES}
    assert house.redis.denials() == []
    worker = house.settings("worker")
    assert refused("create", worker) in (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)
    assert refused(f"write {names.product_events}", worker) is TopicAuthorizationFailedError
    assert refused(f"write {names.control}", worker) is TopicAuthorizationFailedError
    assert refused(f"read {names.scores}", worker) is TopicAuthorizationFailedError
    assert refused("transact", worker) is TransactionalIdAuthorizationFailedError
    assert ("WRITE", f"Topic:LITERAL:{names.control}") in house.kafka.denied(house.user("worker"))


@long_form
@pytest.mark.parametrize("role", ROLES)
def test_each_right_of_a_role_taken_away_is_named(house: House, role: Role) -> None:
    assert house.run("operator", "topics", "create").returncode == 0
    topics, settings = [spec.name for spec in topic_specs(house.plain)], house.settings(role)
    rights, taken = rights_of(settings, role), 0
    with connected_admin(settings) as admin:

        def lacking() -> list[Right]:
            return missing_rights(admin, settings, role, topics)

        def all_there() -> str:
            return str(lacking() or "")

        def named(one: Right) -> str:
            found = [each for each in lacking() if each[:3] == one[:3] and set(one.operations) <= set(each.operations)]
            return "" if found else f"without {one} it says {lacking()}"

        wait_until(all_there, 30.0)
        for right in rights:
            for operation in right.operations:
                one = right._replace(operations=(operation,))
                if not _can_be_told(one, topics, rights):
                    continue
                house.kafka.take(house.user(role), one)
                wait_until(partial(named, one), 30.0)
                house.kafka.allow(house.user(role), [one])
                wait_until(all_there, 30.0)
                taken += 1
    print(f"{role}: {taken} rights taken away one at a time, each was named")
    assert taken >= len([right for right in rights if right.kind == "Topic" and not right.prefixed])


def _can_be_told(right: Right, topics: list[str], rights: tuple[Right, ...]) -> bool:
    """Say whether a right shows by asking: a topic that is there, or a group, that no other right covers."""
    if right.operations == ("Create",) or right.kind == "Cluster":
        return False
    if right.kind == "Topic":
        mine = [topic for topic in topics if right.covers(topic)]
        others = [each for each in rights if each[:3] != right[:3] and right.operations[0] in each.operations]
        return any(not any(other.covers(topic) for other in others) for topic in mine)
    if right.kind == "Group":  # of one that is not there yet Kafka says no more than that something is allowed
        return not right.prefixed and all(
            each.operations == right.operations for each in rights if each[:3] == right[:3]
        )
    return True


@long_form
@pytest.mark.parametrize("kind", ["Topic", "Group", "TransactionalId"])
def test_a_worker_that_lacks_a_right_waits_names_it_and_goes_on_once_it_has_it(house: House, kind: str) -> None:
    assert house.run("operator", "topics", "create").returncode == 0
    settings, user = house.settings("worker"), house.user("worker")
    right = next(
        each for each in rights_of(settings, "worker") if each.kind == kind and (kind != "Group" or not each.prefixed)
    )
    house.kafka.take(user, right)
    with Workers(settings, 1, house.folder) as workers:

        def told() -> str:
            said = _ready(workers.port(0))
            expected = f"{' and '.join(right.operations)} on {right.kind} {right.name}"
            return "" if expected in said and "orgpulse acl kafka --role worker" in said else said

        wait_until(told, 60.0)
        house.kafka.allow(user, [right])
        wait_until(lambda: "" if '"ready": true' in (said := _ready(workers.port(0))) else said, 60.0)
        workers.stop(0)


def _ready(port: int) -> str:
    return _page(port, "/ready")


def _page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


@long_form
def test_a_worker_whose_redis_user_lacks_a_right_names_it_and_goes_on_once_it_has_it(house: House) -> None:
    assert house.run("operator", "topics", "create").returncode == 0
    line = house.cli("acl", "redis", "--user", house.user("worker"), "--password-file", str(house.password("worker")))
    house.redis.set_user(line.strip().replace(" +xadd", "").replace(" +zadd", ""))
    with Workers(house.settings("worker"), 1, house.folder) as workers:
        house.redis.set_user(line.strip().replace(" +info", ""))
        wait_until(lambda: "" if "missing +info" in (said := _ready(workers.port(0))) else said, 60.0)
        house.redis.set_user(line.strip())
        wait_until(lambda: "" if '"ready": true' in (said := _ready(workers.port(0))) else said, 60.0)
        workers.stop(0)
