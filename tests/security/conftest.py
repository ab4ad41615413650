"""One secured broker for the session, made when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.secure_kafka import SecureKafka


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A broker with TLS, logins, client certificates and an authorizer; nobody has rights yet."""
    with SecureKafka(tmp_path_factory.mktemp("secure-kafka")) as broker:
        yield broker
