"""One real PostgreSQL for the tests of this folder; each test has a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sinks.server import LocalPostgres, why_not


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    """The session's server."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    server = LocalPostgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def database(postgres: LocalPostgres, topic_prefix: str) -> str:
    """The address of an empty database."""
    name = topic_prefix.replace("-", "_")
    postgres.start()  # the test before may have left it down
    postgres.ask(f'CREATE DATABASE "{name}"')
    return postgres.url(name)
