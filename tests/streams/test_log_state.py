"""What a group has not read yet is never told as less than it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition

from streams import log_state
from streams.log_state import unread_of

RAW, NEXT = TopicPartition("raw", 0), TopicPartition("next", 0)


def test_what_goes_from_one_topic_to_the_next_while_it_is_looked_at_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
            raw          next
    first   5 unread     0
    then    0            5 unread     in one transaction, between any two questions
    """
    states = iter([({RAW: 0}, {RAW: 5, NEXT: 0}), ({RAW: 5}, {RAW: 5, NEXT: 5}), ({RAW: 5}, {RAW: 5, NEXT: 5})])

    async def committed_of(*_: Any) -> dict[TopicPartition, int]:
        return next(states)[0]

    async def ends_of(*_: Any) -> dict[TopicPartition, int]:
        return next(states)[1]

    async def starts_of(*_: Any) -> dict[TopicPartition, int]:
        return {RAW: 0, NEXT: 0}

    async def stretches(_: Any, starts: dict[Any, int], ends: dict[Any, int], **__: Any) -> AsyncIterator[object]:
        for tp, end in ends.items():
            for _ in range(starts[tp], end):
                yield object()

    for name, fake in (("committed_of", committed_of), ("ends_of", ends_of), ("starts_of", starts_of)):
        monkeypatch.setattr(log_state, name, fake)
    monkeypatch.setattr(log_state, "stretches", stretches)
    assert asyncio.run(unread_of("broker", "group", ["raw", "next"])) >= 5
