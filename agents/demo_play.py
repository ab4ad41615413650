"""Owns the playing of the simulated company base during the demo, on a thread of its own.

Invariant: the history begins only when `release` was called, since people whom the workers do not know yet would be
made anew. It runs a few days ahead of the workers at most, and while the last calendar week closes, zone by zone, waits
for them every few hours: each topic is read at its own pace, and a week that one of them closes long before the others
have come to it (or the wall clock does, where nothing comes for seconds) would be closed with too little in it. What
fails here is kept in `failure` and told by the main thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.demo_figures import SOURCES
from agents.simulate import Base, Message, directory, history_in_parts, live
from streams.bulk_sender import BulkSender, Record
from streams.clock import Clock
from streams.sender import SendError

_STEP_SECONDS = 0.2
_LOOK_SECONDS = 0.1

_WEEK_SECONDS, _FIRST_MONDAY = 604_800, 345_600
_CLOSING_HOURS = range(-16, 14, 3)
_PART_SECONDS = 2 * 86_400.0


def part_ends(end: float, weeks: int) -> tuple[list[float], list[float]]:
    """Return where a history that ends at *end* (epoch seconds) is cut: every two days, then around the last closing.

    The second list has times around the end of the last whole calendar week, in zones from UTC+14 to UTC-11.

    >>> coarse, closing = part_ends(345_600.0 + 604_800 - 1, 1)
    >>> closing[0] == 345_600 - 16 * 3600, len(coarse)
    (True, 0)
    """
    monday = (end - _FIRST_MONDAY) // _WEEK_SECONDS * _WEEK_SECONDS + _FIRST_MONDAY
    closing = [at for hours in _CLOSING_HOURS if (at := monday + hours * 3600.0) < end]
    coarse, at = [], end - weeks * _WEEK_SECONDS + _PART_SECONDS
    while closing and at < closing[0]:
        coarse.append(at)
        at += _PART_SECONDS
    return coarse, closing


class Player(threading.Thread):
    """Sends the directory, then (once released) the history, then live messages until stopped."""

    def __init__(
        self, brokers: str, prefix: str, base: Base, clock: Clock, *, weeks: int, rate: float, live_seconds: float,
        group: str,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            brokers: `host:port`, several separated by commas.
            prefix: Of the topics.
            base: The company base.
            clock: Says when the history ends and what live messages are stamped with.
            weeks: Length of the history.
            rate: Live messages a second.
            live_seconds: How long live messages are sent; 0 means until `stop`.
            group: The workers' consumer group, whose progress sets the pace of the history.
        """
        super().__init__(name="player", daemon=True)
        self._brokers, self._prefix, self._base, self._clock = brokers, prefix, base, clock
        self._weeks, self._rate, self._live_seconds = weeks, rate, live_seconds
        self._group = group
        self._released, self._stopped = threading.Event(), threading.Event()
        self.directory_sent, self.history_sent = threading.Event(), threading.Event()
        self.sent_history = 0
        self.sent_live = 0
        self.failure: SendError | None = None

    def release(self) -> None:
        """Let the history begin: the workers know the directory."""
        self._released.set()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End soon, and wait for it."""
        self._stopped.set()
        if self.is_alive():
            self.join(timeout_seconds)

    def run(self) -> None:
        """Do what the class says."""
        try:
            asyncio.run(self._play())
        except SendError as error:
            self.failure = error
        except KafkaError as error:
            self.failure = SendError(f"Kafka does not answer: {error!r}")

    async def _play(self) -> None:
        async with BulkSender(self._brokers, "orgpulse-demo") as sender:
            await sender.send(self._records(directory(self._base)))
            self.directory_sent.set()
            while not await asyncio.to_thread(self._released.wait, _LOOK_SECONDS):
                if self._stopped.is_set():
                    return
            await self._play_history(sender)
            self.history_sent.set()
            await self._play_live(sender)

    async def _play_history(self, sender: BulkSender) -> None:
        end = self._clock.now()
        admin = AIOKafkaAdminClient(bootstrap_servers=self._brokers)
        await admin.start()
        try:
            before = await self._handled(admin)
            coarse, closing = part_ends(end, self._weeks)
            ends = [0]
            for number, part in enumerate(history_in_parts(self._base, end, self._weeks, coarse + closing)):
                # A day or two ahead keeps the workers busy; around the closing nothing may be ahead.
                wanted = ends[-2 if 0 < number < len(coarse) else -1]
                while await self._handled(admin) - before < wanted:
                    if await asyncio.to_thread(self._stopped.wait, _LOOK_SECONDS):
                        return
                await sender.send(self._records(part), partial(self._note, ends[-1]))
                ends.append(self.sent_history)
        finally:
            await admin.close()

    def _note(self, before: int, sent: int) -> None:
        self.sent_history = before + sent

    async def _handled(self, admin: AIOKafkaAdminClient) -> int:
        """Return how many of the messages of history the workers have committed; news of people are among them."""
        topics = {self._prefix + topic for topic in (*SOURCES, "users")}
        offsets = await admin.list_consumer_group_offsets(self._group)
        return sum(max(0, found.offset) for tp, found in offsets.items() if tp.topic in topics)

    async def _play_live(self, sender: BulkSender) -> None:
        """Send at the rate, stamped with the clock's time; a step that comes late is made up for in number."""
        begin = time.monotonic()
        while not self._stopped.is_set():
            passed = time.monotonic() - begin
            if self._live_seconds and passed >= self._live_seconds:
                return
            due = int(passed * self._rate) - self.sent_live
            if due > 0:
                await sender.send(self._records(live(self._base, self._clock.now(), due, _STEP_SECONDS)))
                self.sent_live += due
            await asyncio.sleep(_STEP_SECONDS - (time.monotonic() - begin) % _STEP_SECONDS)

    def _records(self, messages: Iterable[Message]) -> Iterator[Record]:
        prefix, stopped = self._prefix, self._stopped
        for topic, key, value in messages:
            if stopped.is_set():
                return
            yield prefix + topic, key, value
