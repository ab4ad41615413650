"""Says in words why Kafka can't be reached, lets nobody in, or refuses something; and what to do.

The clients keep the reason for a failed connection to their log. So a connection of our own is tried, step by step:
TCP, TLS, versions, login, a question. Invariant: nothing said here holds a password.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka_access import Brokers, addresses, aiokafka_options, shown
from streams.redaction import cover
from streams.settings_wire import KafkaSettings

LOOK_SECONDS = 5.0


class Trouble(NamedTuple):
    """What is wrong, and what to do."""

    message: str
    remedy: str
    away: bool = False
    """Whether nobody is there at all."""

    @property
    def text(self) -> str:
        """Both, in one line."""
        return f"{self.message}. {self.remedy}"


def trouble_with(brokers: Brokers, *, seconds: float = LOOK_SECONDS) -> Trouble | None:
    """Try to get in; return what keeps us out, None when nothing does. Not for a running event loop."""
    return asyncio.run(why_shut(brokers, seconds=seconds))


def unreachable(brokers: Brokers, error: BaseException) -> Trouble:
    """Say why no client gets in, after *error*: the client itself says that it did not. Not for a running loop."""
    return trouble_with(brokers) or Trouble(
        f"Kafka at {shown(brokers)} answered too late ({type(error).__name__})",
        "Try again, with more time (--wait) where the command has that.",
    )


async def why_shut(brokers: Brokers, *, seconds: float = LOOK_SECONDS) -> Trouble | None:
    """Try to get in by each address; return what keeps us out of the last one, None as soon as one lets us in."""
    found: Trouble | None = None
    for address in addresses(brokers):
        try:
            async with asyncio.timeout(seconds):
                await _try(brokers, address)
            return None
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            said = _explained(error, brokers, address)
            # What a broker that is there says tells more than that another one is away.
            found = said if found is None or not _is_away(error) else found
    return found


async def _try(brokers: Brokers, address: str) -> None:
    host, _, port = address.rpartition(":")
    options: dict[str, Any] = {name: v for name, v in aiokafka_options(brokers).items() if name != "bootstrap_servers"}
    connection = await create_conn(host.strip("[]"), int(port), request_timeout_ms=int(LOOK_SECONDS * 1000), **options)
    try:
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


def _is_away(error: BaseException) -> bool:
    return isinstance(error, ConnectionRefusedError | socket.gaierror | TimeoutError)


def _explained(error: BaseException, brokers: Brokers, address: str) -> Trouble:
    kafka = brokers if isinstance(brokers, KafkaSettings) else KafkaSettings(brokers=brokers)
    name = type(error).__name__
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return _tls(error if isinstance(error, ssl.SSLError) else error.__cause__, kafka, address)
    if name in ("AuthenticationFailedError", "SaslAuthenticationFailed", "SaslAuthenticationFailedError"):
        return Trouble(
            f"Kafka at {address} refuses the login of user {kafka.username} ({kafka.sasl_mechanism})",
            "Check [kafka] username and password_file, and that the user has a password for this mechanism: "
            "`kafka-configs.sh --describe --entity-type users`.",
        )
    if name in ("UnsupportedSaslMechanismError", "UnsupportedSaslMechanism"):
        return Trouble(
            f"Kafka at {address} takes no {kafka.sasl_mechanism}: {cover(str(error))}",
            "Set [kafka] sasl_mechanism to one that it takes (`sasl.enabled.mechanisms`).",
        )
    if name in ("IllegalSaslStateError", "IllegalSaslState"):
        return Trouble(
            f"Kafka at {address} wants no login there",
            'Name the listener with logins, or set [kafka] security = "ssl".',
        )
    if isinstance(error, socket.gaierror):
        return Trouble(f"there is no host {address.rpartition(':')[0]}", "Check [kafka] brokers.")
    if _is_away(error) or (isinstance(error, OSError) and not isinstance(error, ConnectionResetError)):
        return Trouble(
            f"no Kafka broker answers at {shown(brokers)} ({cover(str(error)) or name})",
            "Start it, or set [kafka] brokers (ORGPULSE_KAFKA_BROKERS) to where it listens.",
            away=True,
        )
    return _hung_up(kafka, address)


def _hung_up(kafka: KafkaSettings, address: str) -> Trouble:
    """Say why a broker may close a connection without a word."""
    said = f"Kafka at {address} closes the connection without a word"
    if kafka.security == "ssl" and not kafka.certificate_file:
        return Trouble(
            f"{said}: it seems to want a client certificate",
            "Name one as [kafka] certificate_file (and key_file), or the listener with logins.",
        )
    if kafka.security == "ssl":
        return Trouble(
            f"{said}: it does not take our certificate", "Is it certified by an authority the broker trusts?"
        )
    return Trouble(
        f'{said}: it is no listener for security = "{kafka.security}"',
        'Set [kafka] security to what the listener is (`listener.security.protocol.map`): "ssl" or "sasl_ssl" for TLS.',
    )


def _tls(error: Any, kafka: KafkaSettings, address: str) -> Trouble:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == 10:
            return Trouble(
                f"the certificate of Kafka at {address} has expired",
                "Have it renewed; check the clocks of both machines.",
            )
        if error.verify_code in (62, 64):
            return Trouble(
                f"the certificate of Kafka at {address} is for another host: {error.verify_message}",
                "Put the name that it is for into [kafka] brokers, or this one among its subjectAltNames.",
            )
        file = kafka.ca_file or "the system's authorities ([kafka] ca_file is not set)"
        return Trouble(
            f"the certificate of Kafka at {address} is not certified by {file}: {error.verify_message}",
            "Name the file of the authority that certified it as [kafka] ca_file.",
        )
    if "CERTIFICATE_REQUIRED" in str(error) or "ALERT_BAD_CERTIFICATE" in str(error):
        return _hung_up(kafka, address)
    if "ALERT" in str(error) and kafka.certificate_file:
        return Trouble(
            f"Kafka at {address} does not take the certificate in {kafka.certificate_file} ({error.reason})",
            "Is it certified by an authority the broker trusts (`ssl.truststore.location`), and not expired?",
        )
    return Trouble(
        f"Kafka at {address} speaks no TLS there ({error.reason})",
        'Name its TLS listener, or set [kafka] security to "plaintext" or "sasl_plaintext".',
    )


_REFUSALS = {
    "TopicAuthorizationFailed": "Topic",
    "GroupAuthorizationFailed": "Group",
    "TransactionalIdAuthorizationFailed": "TransactionalId",
    "ClusterAuthorizationFailed": "Cluster",
}


_ASK = "`orgpulse doctor --role ROLE` names what is missing, `orgpulse acl kafka --role ROLE` prints it."


def refusal_in(error: BaseException | None) -> Trouble | None:
    """Say what Kafka does not let this user do, if *error* or what led to it is that; else None."""
    while error is not None:
        for beginning, kind in _REFUSALS.items():
            if type(error).__name__.startswith(beginning) or f" {beginning}Error" in str(error):
                if kind == "Cluster":  # also what a producer is told whose user may write nothing
                    return Trouble("Kafka does not let this user write to any topic, or do that on the cluster", _ASK)
                which = error.args[0] if error.args else ""
                names = ", ".join(sorted(map(str, which))) if isinstance(which, set | frozenset | list) else str(which)
                named = f"{kind} {names}" if names and len(names) < 300 else f"a {kind} that it does not name"
                return Trouble(f"Kafka does not let this user use {cover(named)}", _ASK)
        error = error.__cause__ or error.__context__
    return None
