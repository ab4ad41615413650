"""A real broker as a careful operator has it: TLS, logins, client certificates, and nobody may do what is not allowed.

    LOGIN   SASL_SSL, SCRAM-SHA-256 and -512          CERTIFICATE  TLS with a client certificate
    OPEN    SASL_PLAINTEXT, SCRAM                      (own)        plain, the broker's own: whoever uses it may do all

Users are made and rights given through the broker's own listener.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from deploy.local.kafka import LocalKafka
from streams.kafka_rights import Right
from tests.security.certificates import Authority

KINDS = {"Topic": ResourceType.TOPIC, "Group": ResourceType.GROUP, "TransactionalId": ResourceType.TRANSACTIONAL_ID,
         "Cluster": ResourceType.CLUSTER}  # fmt: skip
_DENIED = re.compile(r"Principal = (\S+) is Denied operation = (\S+) from .*? on resource = (\S+) for")


class SecureKafka:
    """A context manager."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "tls")
        server = self.authority.certify("broker")
        listeners = {"LOGIN": "SASL_SSL", "CERTIFICATE": "SSL", "OPEN": "SASL_PLAINTEXT"}
        extra = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca),
            "listener.name.certificate.ssl.client.auth": "required",
        }
        for name in ("login", "open"):
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                extra[f"listener.name.{name}.{mechanism}.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
        self.broker = LocalKafka(directory / "kafka", extra=extra, listeners=listeners, fast_start=True)

    def __enter__(self) -> SecureKafka:
        self.broker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.broker.stop()

    def _admin(self) -> Any:
        return KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)

    def add_user(self, name: str, password: str) -> None:
        """Let *name* log in with *password*, by both mechanisms."""
        admin = self._admin()
        try:
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                made = UserScramCredentialUpsertion(name, mechanism, password.encode(), iterations=4096)
                assert admin.alter_user_scram_credentials([made]) == {name: None}
        finally:
            admin.close()

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        """Give *user* these rights beside those it has."""
        admin = self._admin()
        try:
            result = admin.create_acls([acl for right in rights for acl in acls_of(user, right)])
            assert not result["failed"], result
        finally:
            admin.close()

    def take_all(self, user: str) -> None:
        """Take every right of *user* away."""
        admin = self._admin()
        try:
            anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
            admin.delete_acls([ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, anything)])
        finally:
            admin.close()

    def take(self, user: str, right: Right) -> None:
        """Take a right away."""
        admin = self._admin()
        try:
            admin.delete_acls(acls_of(user, right))
        finally:
            admin.close()

    def settings(self, user: str, password_file: Path, listener: str = "LOGIN") -> dict[str, object]:
        """Return the settings with which *user* logs in."""
        protocol = {"LOGIN": "sasl_ssl", "OPEN": "sasl_plaintext"}[listener]
        found: dict[str, object] = {
            "kafka.brokers": self.broker.address(listener), "kafka.security": protocol, "kafka.username": user,
            "kafka.password_file": str(password_file),
        }  # fmt: skip
        return found | ({"kafka.ca_file": str(self.authority.ca)} if listener == "LOGIN" else {})

    def denied(self, user: str) -> set[tuple[str, str]]:
        """Return what *user* was denied so far: (operation, Kind:pattern:name), from the authorizer's log."""
        text = self.broker.log.read_text(errors="replace")
        return {(found[2], found[3]) for found in _DENIED.finditer(text) if found[1] == f"User:{user}"}


def acls_of(user: str, right: Right) -> list[ACL]:
    """Return a right as Kafka's administration has it, one rule an operation."""
    pattern = ACLResourcePatternType.PREFIXED if right.prefixed else ACLResourcePatternType.LITERAL
    return [
        ACL(f"User:{user}", "*", _operation(operation), ACLPermissionType.ALLOW,
            ResourcePattern(KINDS[right.kind], right.name, pattern))
        for operation in right.operations
    ]  # fmt: skip


def _operation(name: str) -> ACLOperation:
    return ACLOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()]
