"""The demo's history waits for the workers: nobody leaves before everything that they did was read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

import agents.demo_play as module
from agents.demo_play import SOURCES, Player
from agents.simulate import make_base
from agents.simulate_departures import departures
from streams.bulk_sender import Record
from streams.clock import FixedClock

END = 1_795_336_740.5
STEP = 7
"""Messages that the workers commit between two looks."""


class Topics:
    """What was sent so far, and how much of it the workers have committed."""

    def __init__(self) -> None:
        self.sent = self.committed = 0
        self.ahead: list[int] = []
        """At each end of somebody: how many messages sent before were not read yet."""

    async def __aenter__(self) -> Topics:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def send(self, records: Iterable[Record], note: Callable[[int], None] | None = None) -> None:
        """Take records; those of one call come at once."""
        before, number = self.sent, 0
        for topic, _, value in records:
            number += 1
            self.sent += topic in (*SOURCES, "users")
            if topic == "users" and value is None:
                self.ahead.append(before - self.committed)
        if note is not None:
            note(number)


class Admin:
    """Stands for a broker that nobody asks."""

    def __init__(self, **_: object) -> None:
        pass

    async def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class SlowWorkers(Player):
    """A player whose workers know the directory before they have committed any of it."""

    topics: Topics
    looks = 0

    async def _handled(self, admin: Any) -> int:
        if self.looks:
            self.topics.committed = min(self.topics.sent, self.topics.committed + STEP)
        self.looks += 1
        return self.topics.committed


def test_nobody_leaves_before_everything_that_was_sent_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    topics, base = Topics(), make_base(7, 40, 400)
    monkeypatch.setattr(module, "BulkSender", lambda *_: topics)
    monkeypatch.setattr(module, "AIOKafkaAdminClient", Admin)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    player = SlowWorkers("nowhere", "", base, FixedClock(END), weeks=1, hour_seconds=0.0, rate=0.0, live_seconds=1e-9,
                         group="g")  # fmt: skip
    player.topics = topics
    player.release()
    player.run()
    assert player.failure is None
    assert len(topics.ahead) == sum(len(each.users) for each in departures(base)) > 20
    assert set(topics.ahead) == {0}
