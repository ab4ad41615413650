"""What the tests of commands share: an installation of their own on the session's broker."""

from __future__ import annotations

from typing import Any

import pytest

from streams.settings import Settings, override
from streams.topics import create_topics


@pytest.fixture
def settings(kafka: Any, topic_prefix: str) -> Settings:
    """An installation of two partitions, its topics made."""
    return installed(kafka, topic_prefix)


def installed(kafka: Any, topic_prefix: str) -> Settings:
    """Return the settings of an installation of two partitions, its topics made."""
    found = override(
        Settings(),
        {
            "kafka.brokers": kafka.bootstrap,
            "kafka.prefix": topic_prefix,
            "kafka.application": f"{topic_prefix}app",
            "kafka.partitions": 2,
        },
    )
    create_topics(found)
    return found
