"""Computes everything anew from the source topics, beside what there is, and then swaps.

    directory, then sources ─► workers aside ─► generation N+1: its own logs, tables, scores, weeks, letters
                                   │ caught up
    control: swapping N+1 ─────────┤ workers of generation N end and wait; then those aside end
    scores, weeks, dead-letters ◄──┘ last values, tombstones, letters that nobody has told
    alerts, mutes ─► the new log     what was told or noted, which no source says
    control: live N+1 ─────────────► workers begin in generation N+1 and tell Redis everything

Owns the steps and their order. Invariant: until the swap nothing of the live generation is touched, and a run that was
interrupted goes on where it was when it is started again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal

from faust.types import TP

from agents.rebuild_alerts import carry_alerts
from agents.rebuild_carry import carry_people
from agents.rebuild_publish import publish
from agents.workers_aside import MOST_UNREAD, AsideError, Progress, WorkersAside, lateness_aside
from streams.clock import Clock
from streams.generation import ControlLostError, Generation, generation_of, say_generation
from streams.log_state import committed_of, ends_of, oldest_ms_of, starts_of
from streams.settings import Settings, override
from streams.topic_specs import group_of, lanes_of, topic_names
from streams.topics import create_topics, delete_group, delete_topics, members_left
from streams.transactions import Transactions

_POLL_SECONDS = 0.5
_SETTLED_SECONDS = 5.0
"""How long everything must have been read before the workers aside count as caught up."""
_NEAR_SECONDS = 1.0
_OLD_WORKERS_SECONDS = 120.0

Tell = Callable[[Progress], None]


class Rebuild:
    """One rebuild of an installation; the methods are its steps, in order."""

    def __init__(
        self, settings: Settings, clock: Clock, logs: Path, *, workers: int = 1, history_weeks: int = 0
    ) -> None:
        """Find the live generation; *logs* is where the workers aside write theirs.

        *history_weeks* is how far the sources' events reach back; 0 = as far as their messages do.

        Raises:
            KafkaError, OSError: If no broker answers.
        """
        self._plain, self._clock, self._logs, self._workers = settings, clock, logs, workers
        try:
            found = asyncio.run(generation_of(settings))
        except ControlLostError as error:
            found = Generation(number=error.highest)  # whichever was live, the next number is nobody's
        live = max(found.number, settings.worker.generation)
        self._in_swap = found.state == "swapping"
        self.number = live if self._in_swap else live + 1  # a swap that was begun is ended
        self._history_weeks = history_weeks
        self._carried = ""
        changes = {"worker.generation": self.number, "worker.aside": "everything", "web.host": "127.0.0.1"}
        self.aside = override(settings, changes)
        self.live = override(settings, {"worker.generation": self.number - 1})

    @cached_property
    def lateness_hours(self) -> int:
        """The lateness that the workers aside allow: all of the history, and what the settings allow beyond."""
        settings = self._plain
        reach_hours = 168 * self._history_weeks
        if not self._history_weeks:
            oldest = asyncio.run(oldest_ms_of(settings.kafka, topic_names(settings).sources))
            if oldest is not None:
                reach_hours = math.ceil(self._clock.now() / 3600 - oldest / 3_600_000)
        return lateness_aside(settings, reach_hours)

    def afresh(self) -> list[str]:
        """Delete what an interrupted rebuild has left, so that it begins again; return the topics' names."""
        names = topic_names(self.aside)
        gone = delete_topics(
            self.aside, {names.activities, names.unresolved, names.summaries, *names.changelogs, *self._told_aside()}
        )
        delete_group(self.aside)
        return gone

    def truncated_sources(self) -> dict[str, int]:
        """Return the source topics whose beginning is gone, with how many messages of each are."""
        sources = topic_names(self.aside).sources
        firsts = asyncio.run(starts_of(self.aside.kafka, sources))
        gone = {topic: sum(first for tp, first in firsts.items() if tp.topic == topic) for topic in sources}
        return {topic: number for topic, number in gone.items() if number}

    def compute(self, tell: Tell) -> None:
        """Let workers aside read everything; once they have caught up, end the live generation, and then them.

        They stop last: what the live generation has told of, the new one has read.

        Raises:
            AsideError: If one of them ends by itself, or workers of the live generation do not end.
        """
        create_topics(self.live)
        if not self._in_swap:
            self._say(self.live, "live")  # said before there is anything of another generation (see ControlLostError)
        create_topics(self.aside)
        asyncio.run(carry_people(self.live, self.aside))
        computing = override(self.aside, {"time.allowed_lateness_hours": self.lateness_hours})
        directory = override(computing, {"worker.aside": "directory"})
        with WorkersAside(directory, self._logs, self._workers) as workers:
            self._catch_up(workers, tell, most_unread=0)
            workers.stop()
        with WorkersAside(computing, self._logs, self._workers) as workers:
            self._catch_up(workers, tell, most_unread=MOST_UNREAD)
            with self._live_workers_waiting():
                while not asyncio.run(self._has_read_as_much()):
                    self._catch_up(workers, tell, most_unread=MOST_UNREAD)
                workers.stop()
                self._carried = asyncio.run(carry_alerts(self.live, self.aside))

    def swap(self) -> list[str]:
        """Let the new generation take the place of the live one; return what was done, by line."""
        done = [*asyncio.run(publish(self.aside, topic_names(self.live))), *filter(None, [self._carried])]
        self._say(self.aside, "live")
        delete_topics(self.aside, self._told_aside())
        return done

    def drop_old(self) -> list[str]:
        """Delete the topics of generations before the live one; return their names."""
        gone = []
        for number in range(self.live.worker.generation):
            former = override(self._plain, {"worker.generation": number, "worker.aside": "no"})
            names = topic_names(former)
            gone += delete_topics(self.aside, {names.activities, names.unresolved, names.summaries, *names.changelogs})
        return gone

    def _catch_up(self, workers: WorkersAside, tell: Tell, *, most_unread: int) -> None:
        """Wait until no more than *most_unread* messages, or what is read in a moment, have been unread for a while."""
        settled_since = looked_at = time.monotonic()
        former = 0
        while time.monotonic() - settled_since < _SETTLED_SECONDS:
            workers.check()
            progress, now = workers.progress(), time.monotonic()
            tell(progress)
            # Under much traffic some messages are always on their way: what is read within seconds is near the end.
            soon = (progress.read - former) / max(now - looked_at, _POLL_SECONDS) * _NEAR_SECONDS if former else 0.0
            former, looked_at = progress.read, now
            if progress.unread > (max(most_unread, soon) if most_unread else 0):
                settled_since = now
            time.sleep(_POLL_SECONDS)

    def _say(self, settings: Settings, state: Literal["live", "swapping"]) -> None:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock.now()))
        found = Generation(number=settings.worker.generation, state=state, since=since)
        asyncio.run(say_generation(self.aside, found))

    @contextmanager
    def _live_workers_waiting(self) -> Iterator[None]:
        """End the live generation's workers and keep others from beginning; let them go on if the swap fails."""
        self._say(self.aside, "swapping")
        try:
            self._wait_for_old_workers()
            asyncio.run(self._fence_old_workers())
            yield
        except BaseException:  # an interrupt too: nobody else would wake them
            if not self._in_swap:  # else an earlier run may have told half of the new generation already
                self._say(self.live, "live")
            raise

    async def _fence_old_workers(self) -> None:
        """Take the right to write from workers that only sleep: awake, they would tell old values over new ones."""
        kafka, names = self.live.kafka, topic_names(self.live)
        wide = (*names.sources, *names.directory, names.unresolved, names.activities)
        tps = [TP(topic, number) for topic in wide for number in range(kafka.partitions)]
        held = Transactions(kafka, group_of(self.live), lane_of=lanes_of(names))
        try:
            await held.own([*tps, TP(names.summaries, 0)])
        finally:
            await held.disown(held.owned)

    def _wait_for_old_workers(self) -> None:
        if members := members_left(self.live, _OLD_WORKERS_SECONDS, _POLL_SECONDS):
            raise AsideError(
                f"workers of the former generation are still in the group {group_of(self.live)}: {members}",
                "Stop them and run `orgpulse rebuild` again: it goes on from there.",
            )

    async def _has_read_as_much(self) -> bool:
        """Say whether the new generation has read as far as the live one has."""
        brokers, names = self.aside.kafka, topic_names(self.aside)
        theirs, ours = (
            await committed_of(brokers, group_of(self.live)),
            await committed_of(brokers, group_of(self.aside)),
        )
        ends = await ends_of(brokers, (*names.sources, *names.directory))
        # What was committed for a former log of that name may lie beyond the end of this one.
        return all(ours.get(tp, 0) >= min(offset, ends[tp]) for tp, offset in theirs.items() if tp in ends)

    def _told_aside(self) -> set[str]:
        names = topic_names(self.aside)
        return {names.scores, names.weeks, names.alerts, names.dead_letters}
