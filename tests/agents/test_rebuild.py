"""A rebuild that fails lets the live generation go on; none is guessed; nothing is told twice or left out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from faust.types import TP

from agents.rebuild import Rebuild
from agents.rebuild_publish import publish
from streams.clock import FixedClock
from streams.generation import ControlLostError, Generation, generation_of, say_generation, with_generation
from streams.settings import Settings, override
from streams.topic_specs import group_of, lanes_of, topic_names
from streams.topics import create_topics
from streams.transactions import FencedError, Transactions
from tests.streams import kafka_topics


def live(settings: Settings) -> Generation:
    return asyncio.run(generation_of(settings))


def rebuild(settings: Settings, folder: Path) -> Rebuild:
    return Rebuild(settings, FixedClock(1_700_000_000.0), folder)


def test_a_swap_that_fails_lets_the_live_workers_go_on(settings: Settings, tmp_path: Path) -> None:
    work = rebuild(settings, tmp_path)
    with pytest.raises(KeyboardInterrupt), work._live_workers_waiting():
        assert (live(settings).number, live(settings).state) == (1, "swapping")
        raise KeyboardInterrupt
    assert (live(settings).number, live(settings).state) == (0, "live")
    assert rebuild(settings, tmp_path).number == 1  # the next run goes on with the same generation


def test_a_swap_that_an_earlier_run_began_is_not_taken_back(settings: Settings, tmp_path: Path) -> None:
    # It may have told half of what is new already.
    asyncio.run(say_generation(settings, Generation(number=1, state="swapping")))
    work = rebuild(settings, tmp_path)
    with pytest.raises(KeyboardInterrupt), work._live_workers_waiting():
        raise KeyboardInterrupt
    assert (work.number, live(settings).state) == (1, "swapping")


def test_a_worker_that_sleeps_through_the_swap_can_not_write_after_it(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        tp = TP(topic_names(settings).activities, 0)
        sleeper = Transactions(settings.kafka, group_of(settings), lane_of=lanes_of(topic_names(settings)))
        await sleeper.own([tp])
        await sleeper.commit(tp, 0, [])
        await asyncio.to_thread(swap)
        with pytest.raises(FencedError):
            await sleeper.commit(tp, 0, [])
        await sleeper.disown(sleeper.owned)

    def swap() -> None:
        with rebuild(settings, tmp_path)._live_workers_waiting():
            pass

    asyncio.run(scenario())


def test_a_lost_record_of_what_is_live_is_not_taken_for_the_first_generation(
    settings: Settings, tmp_path: Path
) -> None:
    later = override(settings, {"worker.generation": 3})
    create_topics(later)
    with pytest.raises(ControlLostError, match="topics of generation 3") as told:
        with_generation(settings, patience_seconds=0)
    assert "orgpulse rebuild" in told.value.remedy and "ORGPULSE_WORKER_GENERATION" in told.value.remedy
    assert with_generation(later, patience_seconds=0).worker.generation == 3
    assert rebuild(settings, tmp_path).number == 4
    asyncio.run(say_generation(settings, Generation(number=3)))
    assert with_generation(settings, patience_seconds=0).worker.generation == 3


def test_what_an_interrupted_rebuild_left_can_be_thrown_away(settings: Settings, tmp_path: Path) -> None:
    work = rebuild(settings, tmp_path)
    create_topics(work.aside)
    before = asyncio.run(kafka_topics.topics(settings.kafka.brokers))
    gone = work.afresh()
    left = asyncio.run(kafka_topics.topics(settings.kafka.brokers))
    assert before - left == set(gone) and all("-g1" in name for name in gone) and len(gone) > 10
    assert topic_names(settings).weeks in left and topic_names(settings).activities in left


def test_publishing_brings_last_values_tombstones_and_untold_letters_once(settings: Settings, tmp_path: Path) -> None:
    work = rebuild(settings, tmp_path)
    create_topics(work.aside)
    aside, public, brokers = topic_names(work.aside), topic_names(settings), settings.kafka.brokers

    def put(topic: str, key: bytes, value: object) -> None:
        asyncio.run(kafka_topics.put(brokers, topic, 1, key, orjson.dumps(value)))

    def letter(offset: int, value: str | None) -> dict[str, Any]:
        return {"topic": "t", "partition": 0, "offset": offset, "value": value, "reason": "not_json"}

    for key, then, now in ((b"same", 1, 1), (b"other", 1, 2), (b"gone", 1, None), (b"new", None, 3)):
        for topic, value in ((public.scores, then), (aside.scores, now)):
            if value is not None:
                put(topic, key, value)
    #        told: same message, other message, without bytes  |  aside: …and one that nobody told
    for told in (letter(0, "YQ=="), letter(1, "YQ=="), letter(2, None)):
        put(public.dead_letters, b"k", told)
    for told in (letter(0, "YQ=="), letter(1, "Yg=="), letter(2, "YQ=="), letter(3, None)):
        put(aside.dead_letters, b"k", told)

    said = asyncio.run(publish(work.aside, public))
    assert [line.partition(": ")[2] for line in said] == [
        "2 records written, 1 removed",
        "0 records written, 0 removed",
        "2 letters that nobody had told",
    ]
    records = asyncio.run(kafka_topics.read_all(brokers, public.scores, 2))[1]
    assert {key: value for _, key, value in records} == {b"same": b"1", b"other": b"2", b"gone": None, b"new": b"3"}
    letters = [orjson.loads(value or b"") for _, _, value in asyncio.run(read_letters(settings))]
    assert [(told["offset"], told["value"]) for told in letters[3:]] == [(1, "Yg=="), (3, None)]
    assert asyncio.run(publish(work.aside, public))[0].endswith("0 records written, 0 removed")
    assert len(asyncio.run(read_letters(settings))) == 5


async def read_letters(settings: Settings) -> list[tuple[int, bytes | None, bytes | None]]:
    names = topic_names(settings)
    return (await kafka_topics.read_all(settings.kafka.brokers, names.dead_letters, 2))[1]
