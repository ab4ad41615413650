"""The buffer between what is accepted and Kafka: bounded, in order, and nothing leaves it before Kafka has it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber

from streams.bulk_sender import Record
from streams.outbox import Outbox
from streams.outbox_buffer import OutboxBuffer, Stretch, size_of
from tests.faults.extent import fresh_seed
from tests.streams import kafka_topics

PATIENCE_SECONDS = 90.0


def records(first: int, count: int, topic: str = "t") -> list[Record]:
    return [(topic, b"%d" % (number % 5), b"%d" % number) for number in range(first, first + count)]


async def until(happened: Callable[[], bool]) -> None:
    """Wait until it has happened."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def numbers(block: list[Stretch]) -> list[int]:
    return [int(value or b"") for parcel, begin, end in block for _, _, value in parcel.records[begin:end]]


def test_whatever_comes_and_goes_the_buffer_is_bounded_and_in_order() -> None:
    """Offers, tosses, waiting puts and blocks of any size, in any order."""
    chance = random.Random(fresh_seed())

    async def trial(most_bytes: int) -> None:
        buffer, turn, out, waiting = OutboxBuffer(most_bytes), 0, list[int](), list[asyncio.Task[None]]()
        blocks: list[list[Stretch]] = []
        futures: list[tuple[int, asyncio.Future[None]]] = []
        for _ in range(300):
            what = chance.choice(("offer", "toss", "put", "take", "take", "settle", "settle"))
            some = records(turn, chance.randint(1, 30))
            if what == "offer" and (done := buffer.offer(some)) is not None:
                futures.append((turn + len(some), done))
                turn += len(some)
            elif what == "toss" and buffer.toss(some):
                turn += len(some)
            elif what == "put" and len(waiting) < 5:
                waiting.append(asyncio.create_task(buffer.put(some)))
                turn += len(some)
                await asyncio.sleep(0)
            elif what == "take" and len(blocks) < 3 and (block := buffer.next_block(chance.randint(1, 40))):
                out += numbers(block)
                blocks.append(block)
            elif what == "settle" and blocks:
                buffer.settle(blocks.pop(0))
                waiting = [task for task in waiting if not task.done()]
                settled = len(out) - sum(len(numbers(block)) for block in blocks)
                assert all(done.done() == (end <= settled) for end, done in futures if end <= len(out))
            await asyncio.sleep(0)
            assert buffer.held_bytes <= max(most_bytes, size_of(records(turn, 30)))
        while buffer.held_records or waiting:
            blocks += [block] if (block := buffer.next_block(50)) else []
            out += numbers(block)
            buffer.settle(blocks.pop(0))
            await asyncio.sleep(0)
            waiting = [task for task in waiting if not task.done()]
        assert out == list(range(turn)) and all(done.done() for _, done in futures)
        assert buffer.held_bytes == 0 and buffer._idle.is_set()

    for most_bytes in (500, 3_000, 20_000):
        asyncio.run(trial(most_bytes))


@pytest.mark.kafka
def test_a_producer_that_is_beyond_help_is_replaced_and_nothing_is_lost(kafka: Any, topic_prefix: str) -> None:
    """As after an answer that says that a number in between is missing: aiokafka takes nothing any more then."""
    topic = f"{topic_prefix}out"

    async def run() -> tuple[int, int, list[list[tuple[int, bytes | None, bytes | None]]]]:
        await kafka_topics.make_topics(kafka.bootstrap, [topic], 3)
        outbox = Outbox(kafka.bootstrap, [topic], max_bytes=10_000_000, client_id="test")
        outbox.start()
        producers = set()
        for first in range(0, 10_000, 500):
            await outbox.put(records(first, 500, topic))
            await asyncio.sleep(0.01)
            if outbox._producer is not None:
                producers.add(id(outbox._producer))
                if first in (2_000, 6_000):
                    outbox._producer._message_accumulator.fail_all(OutOfOrderSequenceNumber())
            if first in (1_500, 5_500):
                await until(lambda: not outbox.held_records and outbox._producer is not None)
        left = await outbox.stop(PATIENCE_SECONDS)
        return len(producers), left, await kafka_topics.read_all(kafka.bootstrap, topic, 3)

    producers, left, found = asyncio.run(run())
    assert producers >= 2 and left == 0
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for partition in found:
        for _, key, value in partition:
            by_key[key or b""].append(int(value or b""))
    assert {number for each in by_key.values() for number in each} == set(range(10_000))


@pytest.mark.kafka
def test_a_topic_that_is_missing_is_said_and_waited_for(kafka: Any, topic_prefix: str) -> None:
    there, missing = f"{topic_prefix}there", f"{topic_prefix}missing"

    async def run() -> list[list[tuple[int, bytes | None, bytes | None]]]:
        await kafka_topics.make_topics(kafka.bootstrap, [there], 1)
        outbox = Outbox(kafka.bootstrap, [there, missing], max_bytes=10_000_000, client_id="test")
        outbox.start()
        done = outbox.offer(records(0, 10, there))
        assert done is not None
        await until(lambda: missing in outbox.trouble)
        assert not outbox.connected and not done.done() and "orgpulse topics create" in outbox.trouble
        await kafka_topics.make_topics(kafka.bootstrap, [missing], 1)
        await asyncio.wait_for(done, PATIENCE_SECONDS)
        assert outbox.connected and not outbox.trouble
        assert await outbox.stop(PATIENCE_SECONDS) == 0
        return await kafka_topics.read_all(kafka.bootstrap, there, 1)

    assert len(asyncio.run(run())[0]) == 10
