"""One real broker and one real Redis for the whole session.

Invariant: tests share them without meeting, because each makes its topics and keys with its own `topic_prefix`; when
pytest has ended, nothing it started is running.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.redis import LocalRedis
from streams import redaction
from tests.faults.extent import N

# The short form takes the same examples at every run, the long form others each time.
hypothesis.settings.register_profile("orgpulse", derandomize=N == 0, deadline=None)
hypothesis.settings.load_profile("orgpulse")

_POLICY = Path(__file__).resolve().parents[1] / "SECURITY.md"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what SECURITY.md names, a test or a whole file, so that `make security` runs it."""
    named = set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", _POLICY.read_text(encoding="utf-8")))
    for item in items:
        file, _, rest = item.nodeid.partition("::")
        if file in named or f"{file}::{rest.partition('[')[0]}" in named:
            item.add_marker(pytest.mark.security)


@pytest.fixture(autouse=True)
def no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test made known as a secret is covered in this one's texts no more."""
    monkeypatch.setattr(redaction, "_known", {})


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
