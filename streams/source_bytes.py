"""Owns looking up messages of the sources again, for letters about events whose bytes did not travel with them.

Invariant: a look ends in time, with what was found; what is gone, or would take too long, is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from streams.kafka_access import Brokers
from streams.log_reader import plain_consumer

MOST_LOOKUPS = 1000
"""Messages looked up at once; further letters say where their message is, without its bytes."""
LOOK_SECONDS = 10.0
"""For all of them; it delays the commit they belong to, and is well below what a commit may take."""
_NEAR = 500
"""Offsets not farther apart are read in one go."""
_FETCH_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class Place(NamedTuple):
    """Where a message is: the source's name (without prefix), its partition and offset."""

    topic: str
    partition: int
    offset: int


class Found(NamedTuple):
    """A message of a source, as a letter needs it."""

    offset: int
    key: bytes | None
    value: bytes | None


class SourceBytes:
    """Looks messages up; *topics* is the name of each source → its topic with prefix."""

    def __init__(self, brokers: Brokers, topics: Mapping[str, str]) -> None:
        self._brokers, self._topics = brokers, topics

    async def of(self, places: Iterable[Place]) -> dict[Place, Found]:
        """Return what is at *places*, as far as it is still there and could be read in time."""
        found: dict[Place, Found] = {}
        wanted = sorted(place for place in set(places) if place.topic in self._topics)[:MOST_LOOKUPS]
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._look(wanted, found)
        except (KafkaError, OSError, TimeoutError) as error:
            _log.warning("not all messages could be looked up", found=len(found), of=len(wanted), error=repr(error))
        return found

    async def _look(self, wanted: list[Place], found: dict[Place, Found]) -> None:
        consumer = plain_consumer(self._brokers)
        await consumer.start()
        try:
            for run in _runs(wanted):
                await self._read(consumer, run, found)
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer, run: list[Place], found: dict[Place, Found]) -> None:
        """Read the stretch of one partition that *run* lies in."""
        tp = TopicPartition(self._topics[run[0].topic], run[0].partition)
        places = {place.offset: place for place in run}
        consumer.assign([tp])
        consumer.seek(tp, run[0].offset)
        while (await consumer.position(tp)) <= run[-1].offset:
            try:
                fetched = (await consumer.getmany(tp, timeout_ms=int(_FETCH_SECONDS * 1000))).get(tp, [])
            except OffsetOutOfRangeError:  # deleted meanwhile
                return
            for record in fetched:
                if place := places.get(record.offset):
                    found[place] = Found(record.offset, record.key, record.value)
            if not fetched:
                return


def _runs(wanted: list[Place]) -> Iterator[list[Place]]:
    """Cut ascending *wanted* into stretches of one partition without long gaps.

    >>> [[p.offset for p in run] for run in _runs([Place("a", 0, 1), Place("a", 0, 9), Place("a", 0, 900)])]
    [[1, 9], [900]]
    """
    run: list[Place] = []
    for place in wanted:
        if run and (place[:2] != run[-1][:2] or place.offset - run[-1].offset > _NEAR):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
