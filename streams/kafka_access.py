"""The one place where settings become what Kafka's clients are given: address, protocol, login, certificates.

    [kafka] ─► aiokafka_options    producers, consumers, administration on asyncio
            ─► faust_credentials   Faust's consumer (with `addresses`)
            ─► kafka_python_options  senders and administration outside of the event loop

Invariant: no client of the house is made without one of these; tests/streams/test_one_way_in.py holds it.
"""

from __future__ import annotations

import ssl
from typing import Any, TypeAlias

from faust.auth import SASLCredentials, SSLCredentials

from streams.batch_bounds import set_bound
from streams.kafka_lz4 import install_lz4
from streams.settings_access import password_of, tls_of
from streams.settings_wire import KafkaSettings

Brokers: TypeAlias = KafkaSettings | str
"""Where the brokers are and how one gets in: the settings, or the bare `host:port,…` of an open listener."""

install_lz4()


def addresses(brokers: Brokers) -> list[str]:
    """Return the brokers' addresses.

    >>> addresses("a:1, b:2")
    ['a:1', 'b:2']
    """
    return [address.strip() for address in shown(brokers).split(",")]


def shown(brokers: Brokers) -> str:
    """Return the addresses for people."""
    return brokers if isinstance(brokers, str) else brokers.brokers


def aiokafka_options(brokers: Brokers) -> dict[str, Any]:
    """Return the arguments that every client of aiokafka gets.

    >>> aiokafka_options("a:1")
    {'bootstrap_servers': ['a:1'], 'security_protocol': 'PLAINTEXT'}
    """
    _bound_batches(brokers)
    return {"bootstrap_servers": addresses(brokers), **_security(brokers)}


def kafka_python_options(brokers: Brokers) -> dict[str, Any]:
    """Return the arguments that every client of kafka-python gets."""
    return {"bootstrap_servers": addresses(brokers), **_security(brokers)}


def faust_credentials(brokers: Brokers) -> SASLCredentials | SSLCredentials | None:
    """Return what Faust calls `broker_credentials`; None for an open listener."""
    _bound_batches(brokers)
    options = _security(brokers)
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=options.get("ssl_context"),
        )
    return SSLCredentials(options["ssl_context"]) if "ssl_context" in options else None


def tls_context(brokers: Brokers) -> ssl.SSLContext | None:
    """Return the context of TLS, None where there is none."""
    if isinstance(brokers, str) or brokers.security not in ("ssl", "sasl_ssl"):
        return None
    return tls_of(brokers).context()


def _bound_batches(brokers: Brokers) -> None:
    """Let batches unpack as far as the settings say; one that is sent plain is in any case taken."""
    if not isinstance(brokers, str):
        set_bound(max(brokers.max_unpacked_bytes, brokers.max_message_bytes))


def _security(brokers: Brokers) -> dict[str, Any]:
    """Return protocol, certificates and login; both clients call them by the same names."""
    if isinstance(brokers, str):
        return {"security_protocol": "PLAINTEXT"}
    options: dict[str, Any] = {"security_protocol": brokers.security.upper()}
    if (context := tls_context(brokers)) is not None:
        options["ssl_context"] = context
    if brokers.security.startswith("sasl"):
        options |= {
            "sasl_mechanism": brokers.sasl_mechanism,
            "sasl_plain_username": brokers.username,
            "sasl_plain_password": password_of(brokers),
        }
    return options
