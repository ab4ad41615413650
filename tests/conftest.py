"""One real broker and one real Redis for the whole session.

Invariant: tests share them without meeting, because each makes its topics and keys with its own `topic_prefix`; when
pytest has ended, nothing it started is running.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.redis import LocalRedis


@dataclass(frozen=True)
class ExistingBroker:
    """A broker that somebody else started and stops."""

    bootstrap: str


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka | ExistingBroker]:
    """The session's broker; `.bootstrap` is its address. ORGPULSE_TEST_BROKERS names an existing one to use instead."""
    existing = os.environ.get("ORGPULSE_TEST_BROKERS")
    if existing:
        yield ExistingBroker(existing)
        return
    with LocalKafka(tmp_path_factory.mktemp("kafka"), fast_start=True) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """The session's Redis; `.url` is its address."""
    with LocalRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for names of topics, groups and keys that no other test, of this run or another, has."""
    return f"t{uuid.uuid4().hex[:10]}-"
