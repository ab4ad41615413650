"""Owns the playing of the simulated company base during the demo, on a thread of its own.

Invariant: the history begins only when `release` was called, since people whom the workers do not know yet would be
made anew. It runs a few days ahead of the workers at most, and while the last calendar week closes, zone by zone, waits
for them every few hours: each topic is read at its own pace, and a week that one of them closes long before the others
have come to it would be closed with too little in it. The last day is played hour by hour, slowly enough to be watched:
the workers' time is the messages' own, and an alert takes two hours. What fails here is kept in `failure` and told by
the main thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.demo_figures import SOURCES
from agents.simulate import Base, Message, directory, history_in_parts, live
from agents.simulate_base import generator
from agents.simulate_departures import Absence, departures
from agents.simulate_events import event_messages
from streams.bulk_sender import BulkSender, Record
from streams.clock import Clock
from streams.kafka_access import Brokers, aiokafka_options
from streams.sender import SendError

_STEP_SECONDS = 0.2
_LOOK_SECONDS = 0.1

LAST_HOURS = 24
"""Hours at the end of the history that are played one by one."""
_HOUR_SECONDS, _DAY_SECONDS = 3600.0, 86_400.0
_WEEK_SECONDS, _FIRST_MONDAY = 604_800, 345_600
_CLOSING_HOURS = range(-16, 14, 3)
_PART_SECONDS = 2 * _DAY_SECONDS
_CALLED = 3  # users of an org that act in the last moment, in case one of them is a bot


class Cuts(NamedTuple):
    """Where a history is cut (epoch seconds, ascending)."""

    early: list[float]
    """Every two days."""
    closing: list[float]
    """Around the end of the last whole calendar week, in zones from UTC+14 to UTC-11, and each day from then on."""
    hours: list[float]
    """Before each of the last hours."""


def cuts_of(end: float, weeks: int) -> Cuts:
    """Return where a history of *weeks* weeks that ends at *end* (epoch seconds) is cut.

    >>> early, closing, hours = cuts_of(345_600.0 + 604_800 - 1, 1)
    >>> closing[0] == 345_600 - 16 * 3600, len(early), len(closing), len(hours)
    (True, 0, 15, 24)
    """
    hours = [end - hour * _HOUR_SECONDS for hour in range(LAST_HOURS, 0, -1)]
    monday = (end - _FIRST_MONDAY) // _WEEK_SECONDS * _WEEK_SECONDS + _FIRST_MONDAY
    closing = [monday + hour * _HOUR_SECONDS for hour in _CLOSING_HOURS]
    closing += [closing[-1] + day * _DAY_SECONDS for day in range(1, 7)]
    closing = [at for at in closing if at < hours[0]]
    first = end - weeks * _WEEK_SECONDS + _PART_SECONDS
    return Cuts(np.arange(first, min([*closing, hours[0]]), _PART_SECONDS).tolist(), closing, hours)


def roll_call(base: Base, now: float) -> Iterator[Message]:
    """Yield an event of some users of every org at the same moment, so that all partitions' time is the same."""
    first = np.searchsorted(base.org_of, np.arange(len(base.orgs)))
    users = np.unique(np.minimum(first[:, None] + np.arange(_CALLED), len(base.users) - 1))
    times = np.full(len(users), np.floor(now * 1000.0) / 1000.0)
    encode = event_messages(base, generator(base.seed, 31), users, times, f"r{int(now * 1000):x}-")
    yield from map(encode, range(len(users)))


class Player(threading.Thread):
    """Sends the directory, then (once released) the history, then live messages until stopped."""

    def __init__(
        self, brokers: Brokers, prefix: str, base: Base, clock: Clock, *, weeks: int, hour_seconds: float, rate: float,
        live_seconds: float, group: str,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            brokers: Where Kafka is and how one gets in.
            prefix: Of the topics.
            base: The company base.
            clock: Says when the history ends and what live messages are stamped with.
            weeks: Length of the history.
            hour_seconds: How long each of its last hours takes at least.
            rate: Live messages a second.
            live_seconds: How long live messages are sent; 0 means until `stop`.
            group: The workers' consumer group, whose progress sets the pace of the history.
        """
        super().__init__(name="player", daemon=True)
        self._brokers, self._prefix, self._base, self._clock = brokers, prefix, base, clock
        self._weeks, self._hour_seconds, self._rate, self._live_seconds = weeks, hour_seconds, rate, live_seconds
        self._group, self._absence = group, Absence(base)
        self._released, self._stopped = threading.Event(), threading.Event()
        self.directory_sent, self.history_sent = threading.Event(), threading.Event()
        self.hours_left = LAST_HOURS
        """Hours of the history that are not played yet, once `history_sent` is set."""
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
            await self._play_live(sender)

    async def _play_history(self, sender: BulkSender) -> None:
        """Play the history; `history_sent` is set when its last hours begin."""
        end = self._clock.now()
        cuts = cuts_of(end, self._weeks)
        parts = history_in_parts(self._base, end, self._weeks, [*cuts.early, *cuts.closing, *cuts.hours])
        admin = AIOKafkaAdminClient(**aiokafka_options(self._brokers))
        await admin.start()
        try:
            # Not what is committed by now: the workers know the directory before that, and would seem to be ahead.
            before, ends = len(self._base.users), [0]
            for number, part in enumerate(parts):
                # A day or two ahead keeps the workers busy; from the closing on nothing may be ahead.
                wanted = ends[-2 if 0 < number < len(cuts.early) else -1]
                while await self._handled(admin) - before < wanted:
                    if await asyncio.to_thread(self._stopped.wait, _LOOK_SECONDS):
                        return
                self.hours_left = len(parts) - number
                if self.hours_left <= LAST_HOURS:
                    self.history_sent.set()
                    if await asyncio.to_thread(self._stopped.wait, self._hour_seconds):
                        return
                news = list(self._news())
                await sender.send(
                    self._records(chain(news, self._absence.present(part))), partial(self._note, ends[-1])
                )
                ends.append(self.sent_history)
        finally:
            await admin.close()
        self.hours_left = 0

    def _news(self) -> Iterator[Message]:
        """Yield the directory's news of who leaves in the hour that begins; from now on nothing comes from them."""
        for departure in departures(self._base):
            if departure.hours_before_end == self.hours_left:
                self._absence.add(departure)
                yield from departure.messages(self._base)

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
                await sender.send(self._records(self._absence.present(roll_call(self._base, self._clock.now()))))
                return
            due = int(passed * self._rate) - self.sent_live
            if due > 0:
                messages = live(self._base, self._clock.now(), due, _STEP_SECONDS)
                await sender.send(self._records(self._absence.present(messages)))
                self.sent_live += due
            await asyncio.sleep(_STEP_SECONDS - (time.monotonic() - begin) % _STEP_SECONDS)

    def _records(self, messages: Iterable[Message]) -> Iterator[Record]:
        prefix, stopped = self._prefix, self._stopped
        for topic, key, value in messages:
            if stopped.is_set():
                return
            yield prefix + topic, key, value
