"""Every kind of client gets in over TLS, by SCRAM of both kinds and by certificate; what keeps one out is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.ports import free_ports
from streams.bulk_sender import BulkSender
from streams.generation import Generation, generation_of, say_generation
from streams.kafka_granted import missing_rights
from streams.kafka_rights import Right
from streams.kafka_trouble import trouble_with
from streams.log_state import content_of
from streams.lone_sender import LoneSender
from streams.outbox import Outbox
from streams.sender import Sender, SendError
from streams.settings import Settings, override
from streams.topics import BrokerError, connected_admin, create_topics
from tests.faults.system import wait_until
from tests.security.certificates import Authority
from tests.security.secure_kafka import SecureKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
EVERYTHING = tuple(Right(kind, "", True, ("All",)) for kind in ("Topic", "Group", "TransactionalId"))  # type: ignore[arg-type]


@pytest.fixture
def login(secure_kafka: SecureKafka, tmp_path: Path, topic_prefix: str) -> Settings:
    """Settings of a user who may do everything."""
    user, password = f"{topic_prefix}user", tmp_path / "password"
    password.write_text("a-password-of-kafka\n")
    secure_kafka.add_user(user, password.read_text().strip())
    secure_kafka.allow(user, [right._replace(name=topic_prefix) for right in EVERYTHING])
    names = {"kafka.prefix": topic_prefix, "kafka.application": f"{topic_prefix}app", "kafka.partitions": 1}
    return override(Settings(), secure_kafka.settings(user, password) | names)


async def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(180):
        while not condition():  # noqa: ASYNC110  # the outbox tells nobody of its trouble
            await asyncio.sleep(0.05)


def use_every_client(settings: Settings) -> None:
    """Have each kind of client of the house do something."""
    topic = f"{settings.kafka.prefix}weeks"
    with Sender(settings.kafka) as sender:
        sender.send(topic, b"sender", b"1")

    async def the_others() -> None:
        async with BulkSender(settings.kafka) as bulk:
            await bulk.send([(topic, b"bulk", b"2")])
        async with LoneSender(settings, "alone") as alone:
            await alone.send([{"topic": topic, "key": b"alone", "value": b"3"}])
        await say_generation(settings, Generation(number=3))
        assert (await generation_of(settings)).number == 3
        outbox = Outbox(settings.kafka, [topic], max_bytes=1_000_000, client_id="test")
        outbox.start()
        await wait_for(lambda: not outbox.trouble)
        await outbox.stop(30.0)
        found = await content_of(settings.kafka, topic)
        assert found[0] == {b"sender": b"1", b"bulk": b"2", b"alone": b"3"}

    asyncio.run(the_others())


def test_every_kind_of_client_logs_in_over_tls_by_both_mechanisms(login: Settings) -> None:
    create_topics(login)
    use_every_client(login)
    use_every_client(override(login, {"kafka.sasl_mechanism": "SCRAM-SHA-256"}))


def test_every_kind_of_client_shows_its_certificate(
    secure_kafka: SecureKafka, login: Settings, topic_prefix: str
) -> None:
    certificate = secure_kafka.authority.certify(f"{topic_prefix}holder")
    secure_kafka.allow(f"CN={topic_prefix}holder", [right._replace(name=topic_prefix) for right in EVERYTHING])
    settings = override(
        login,
        {"kafka.brokers": secure_kafka.broker.address("CERTIFICATE"), "kafka.security": "ssl", "kafka.username": "",
         "kafka.password_file": "", "kafka.certificate_file": str(certificate)},
    )  # fmt: skip
    create_topics(settings)
    use_every_client(settings)


def test_what_keeps_us_out_is_said_in_words(secure_kafka: SecureKafka, login: Settings, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    (tmp_path / "wrong").write_text("not-this-one")
    (closed,) = free_ports(1)
    certificate = {"kafka.brokers": secure_kafka.broker.address("CERTIFICATE"), "kafka.security": "ssl",
                   "kafka.username": "", "kafka.password_file": ""}  # fmt: skip
    unlocked = {"kafka.username": "", "kafka.password_file": "", "kafka.ca_file": ""}
    expected: dict[str, dict[str, object]] = {
        "refuses the login of user": {"kafka.password_file": str(tmp_path / "wrong")},
        "takes no PLAIN": {"kafka.sasl_mechanism": "PLAIN"},
        "not certified by the system's authorities": {"kafka.ca_file": ""},
        f"not certified by {other.ca}": {"kafka.ca_file": str(other.ca)},
        'no listener for security = "plaintext"': {"kafka.security": "plaintext", **unlocked},
        "wants no login there": {"kafka.brokers": secure_kafka.broker.bootstrap, "kafka.security": "sasl_plaintext",
                                 "kafka.ca_file": ""},
        "seems to want a client certificate": certificate,
        "certificate": certificate | {"kafka.certificate_file": str(other.certify("stranger"))},
        "no Kafka broker answers": {"kafka.brokers": f"127.0.0.1:{closed}"},
        "there is no host": {"kafka.brokers": "no-such-host.invalid:9092"},
    }  # fmt: skip
    assert trouble_with(login.kafka) is None
    for words, changes in expected.items():
        found = trouble_with(override(login, changes).kafka)
        assert found is not None and words in found.message and len(found.remedy) > 10, (words, found)
        assert "a-password-of-kafka" not in found.text
    wrong = override(login, {"kafka.password_file": str(tmp_path / "wrong")})
    with pytest.raises(BrokerError, match="refuses the login of user"), connected_admin(wrong, wait_seconds=1.0):
        pass
    with pytest.raises(SendError, match="refuses the login of user"):
        Sender(wrong.kafka, patience_seconds=1.0)


def test_who_may_not_write_is_told_which_topic(secure_kafka: SecureKafka, login: Settings, tmp_path: Path) -> None:
    create_topics(login)
    user, topic = f"{login.kafka.username}-2", f"{login.kafka.prefix}weeks"
    secure_kafka.add_user(user, "a-password-of-kafka")
    poor = override(login, {"kafka.username": user})
    said = f"does not let this user (write to any topic|use Topic {topic})"
    with pytest.raises(SendError, match=said), Sender(poor.kafka) as sender:
        sender.send(topic, b"k", b"v")
    # Who may write elsewhere is told the topic.
    secure_kafka.allow(user, [Right("Topic", f"{login.kafka.prefix}scores", False, ("Write",))])

    async def outbox() -> str:
        box = Outbox(poor.kafka, [topic], max_bytes=1_000_000, client_id="test")
        box.start()
        try:
            await wait_for(lambda: "Topic" in box.trouble)
            return box.trouble
        finally:
            await box.stop(0.1)

    assert f"does not let this user use Topic {topic}" in asyncio.run(outbox())
    with pytest.raises(SendError, match=f"does not let this user use Topic {topic}"), Sender(poor.kafka) as sender:
        sender.send(topic, b"k", b"v")
    with connected_admin(poor) as admin:
        lacking = missing_rights(admin, poor, "listen", [topic, f"{login.kafka.prefix}transactions"])
        assert lacking == [Right("Topic", f"{login.kafka.prefix}transactions", False, ("Write",))]
        secure_kafka.allow(user, [lacking[0]._replace(operations=("Read",))])
        wait_until(
            lambda: "" if missing_rights(admin, poor, "listen", [lacking[0].name]) == lacking else "no longer named",
            10.0,
        )
        secure_kafka.allow(user, lacking)
        wait_until(lambda: str(missing_rights(admin, poor, "listen", [lacking[0].name]) or ""), 10.0)
    wait_until(lambda: "" if secure_kafka.denied(user) else "nothing denied", 10.0)
    assert f"Topic:LITERAL:{topic}" in {place for _, place in secure_kafka.denied(user)}
