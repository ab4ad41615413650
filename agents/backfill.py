"""Computes some weeks anew in a namespace of its own, and leaves them there.

    directory, its past, cut points of the closes ─► topics of the namespace ─► workers aside ─► weeks, scores, letters
    messages that matter (topics or files) ───────►                              (no Redis)          │
                                                                     record: computing ──────────► done

Owns the steps and their order. Invariant: nothing of the live system is written to, and a namespace says `done` only
when everything was read and told; a run that was cut off is thrown away by the next one.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson

from agents.backfill_cuts import pins
from agents.backfill_reach import Reach, arrived_from_ms
from agents.backfill_room import check_room
from agents.ledger_sum import accounts_of
from agents.raw_source import RawSource
from agents.rebuild_carry import carry_people, carry_rows
from agents.save_topics import topic_of
from agents.workers_aside import WorkersAside
from state.activity import Tick, encode_record
from state.week import DAY_MS, iso_time
from streams.bulk_sender import BulkSender, Placed
from streams.clock import Clock
from streams.log_state import committed_of, content_of, ends_of, unread_of
from streams.model_file import load_model, text_of
from streams.namespace import Backfill, NamespaceError, backfill_of, drop, namespace_of, say
from streams.plain_sender import send_all
from streams.raw_files import RawRecord
from streams.settings import Settings, override
from streams.topic_specs import group_of, topic_names
from streams.topics import create_topics, members_left
from streams.transactions import Outgoing

PUBLISHED, OWN, SHIPPED = "published", "own", "shipped"
"""By which cut points weeks are closed: those they were published by, those of a count of its own, the model's."""
_POLL_SECONDS = 0.3
_LEFT_SECONDS = 15.0  # beyond the session timeout: so long a dead run's workers may take to leave
_BLOCK = 5_000
_NOBODY = 100_000_000
"""A population that is never reached: no cut points of its own."""
_ROUND = 2**53  # a round that no worker's clock ever has: everything is told again

Tell = Callable[[int, int], None]
"""Gets (done, to do in all)."""


class Run:
    """One backfill; the methods are its steps, in order."""

    def __init__(
        self, live: Settings, name: str, reach: Reach, source: RawSource, logs: Path, clock: Clock, *,
        model: str = "", cut_points: str = PUBLISHED, time_zone: str = "", directory_as_of_ms: int = 0,
        workers: int = 1,
    ) -> None:  # fmt: skip
        """Describe it; *model* is a file (empty = the live one), *time_zone* one for every org of the directory.

        Raises:
            NamespaceError: If the name is of no use.
            SettingsError: If the model is wrong.
        """
        self._live, self._reach, self._source, self._logs, self._clock = live, reach, source, logs, clock
        self._workers, self._zone, self._as_of_ms = workers, time_zone, directory_as_of_ms
        changes = {
            "time.clock": "event",
            "time.allowed_lateness_hours": reach.lateness_hours,
            "model.file": model or live.model.file,
            "model.shadow": "",
            "ingest.flood_ratio": 1.0,  # bad messages of then are dead letters here as well, and no alarm
        }
        if cut_points != OWN:
            changes["calibration.min_population"] = _NOBODY
        self.space = override(namespace_of(live, name), changes)
        load_model(self.space.model.file)
        self._kept = cut_points == PUBLISHED
        first, last = reach.labels
        self.record = Backfill(
            name=name, run=uuid.uuid4().hex, begun=self._now(), first_week=first, last_week=last,
            source=source.name, cut_points=cut_points, time_zone=time_zone, model=text_of(self.space.model.file),
            lateness_hours=reach.lateness_hours,
            directory_as_of=iso_time(directory_as_of_ms) if directory_as_of_ms else "",
        )  # fmt: skip
        self._messages: dict[str, Counter[str]] = defaultdict(Counter)

    def prepare(self) -> int:
        """See that the name is free and that there is room; return how many messages will be read.

        Raises:
            NamespaceError: If the name is in use.
            NoRoomError: If the cluster has no room.
            OperatorError: If the source is damaged or incomplete.
        """
        self._see_that_it_is_free()
        from_ms = arrived_from_ms(self._reach, self.space)
        count = asyncio.run(self._source.prepare(from_ms))
        self.record = msgspec.structs.replace(self.record, read_from_ms=from_ms, gone=self._source.gone)
        check_room(self._live, self.space, self._source.raw_bytes)
        return count

    def compute(self, total: int, tell: Tell) -> Backfill:
        """Compute it; *total* is what `prepare` returned. Return what the namespace says of itself.

        Raises:
            AsideError: If a worker ends by itself.
            NamespaceError: If another run of the same name has begun.
        """
        drop(self.space)
        create_topics(self.space)
        asyncio.run(say(self.space, self.record))
        asyncio.run(self._prepare_namespace())
        self._logs.mkdir(parents=True, exist_ok=True)
        names = topic_names(self.space)
        with WorkersAside(self.space, self._logs, self._workers, "backfill") as workers:
            self._wait(workers, (*names.directory, names.unresolved), lambda unread: None)
            asyncio.run(self._send_messages(lambda sent: tell(sent, 2 * total)))
            self._wait(workers, (*names.sources, names.unresolved), lambda left: tell(2 * total - left, 2 * total))
            self._end(workers)
            workers.stop()
        tell(2 * total, 2 * total)
        return self._finish()

    def _see_that_it_is_free(self) -> None:
        """Raise NamespaceError if the name is in use: by a finished backfill, or by one that is being computed."""
        found = asyncio.run(backfill_of(self.space))
        if found is None:
            return
        name = found.name
        if found.state == "done":
            raise NamespaceError(
                f'there is a backfill "{name}" already, of {found.first_week} to {found.last_week}',
                f"Choose another name, or delete it: `orgpulse backfill drop {name}`.",
            )
        if members_left(self.space, self.space.kafka.session_timeout_seconds + _LEFT_SECONDS, _POLL_SECONDS):
            raise NamespaceError(
                f'the backfill "{name}" is being computed right now, since {found.begun}',
                "Wait for its end, or choose another name.",
            )

    async def _keep_out(self) -> None:
        """Let those who were forgotten stay so here, whatever the source still has of them."""
        (kept,) = await content_of(self._live.kafka, topic_names(self._live).suppressed)
        topic = topic_names(self.space).suppressed
        await send_all(self.space, [Outgoing(topic, 0, key, value) for key, value in kept.items()])

    async def _prepare_namespace(self) -> None:
        """Write what must be known before the first message is read."""
        await self._keep_out()
        brokers = self._live.kafka
        async with BulkSender(brokers, "orgpulse-backfill", self._live.kafka.max_message_bytes) as sender:
            block: list[Placed] = []
            async for record in self._source.directory():
                if not self._as_of_ms or record.stamp_ms <= self._as_of_ms:
                    value = self._in_zone(record.value) if record.source == "orgs" else record.value
                    topic = topic_of(self.space, record.source)
                    block.append((topic, record.partition, record.key, value, record.stamp_ms))
                if len(block) >= _BLOCK:
                    await sender.send_placed(block)
                    block.clear()
            await sender.send_placed(block)
        if not self._as_of_ms:  # what is known of the past by now says where they were later, too
            rows = await self._source.people()
            await (carry_people(self._live, self.space) if rows is None else carry_rows(rows, self.space))
        if self._kept:
            peers = load_model(self._live.model.file).population.peers
            records, lost = await pins(self._live, self.space, *self._reach.labels, peers)
            await send_all(self.space, records)
            self.record = msgspec.structs.replace(self.record, lost_cut_points=lost)

    def _in_zone(self, value: bytes | None) -> bytes | None:
        """Return an org's entry with the zone that was asked for."""
        if not self._zone or value is None:
            return value
        try:
            entry = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
        return orjson.dumps(entry | {"timezone": self._zone}) if isinstance(entry, dict) else value

    async def _send_messages(self, tell: Callable[[int], None]) -> None:
        """Copy the messages that matter, and count them by source and day."""
        sent = 0
        brokers = self._live.kafka
        async with BulkSender(brokers, "orgpulse-backfill", self._live.kafka.max_message_bytes) as sender:
            async for block in _blocks(self._source.messages()):
                placed: list[Placed] = []
                for record in block:
                    self._messages[record.source][_day(record.stamp_ms)] += 1
                    # Stamped anew: the retention of these topics must not take what is being read.
                    placed.append(
                        (topic_of(self.space, record.source), record.partition, record.key, record.value, None)
                    )
                sent += await sender.send_placed(placed)
                tell(sent)

    def _wait(self, workers: WorkersAside, topics: tuple[str, ...], tell: Callable[[int], None]) -> None:
        """Wait until the workers have handled everything in *topics*."""
        brokers, group = self.space.kafka, group_of(self.space)
        while unread := asyncio.run(unread_of(brokers, group, topics)):
            workers.check()
            tell(unread)
            time.sleep(_POLL_SECONDS)
        workers.check()

    def _end(self, workers: WorkersAside) -> None:
        """Let time pass up to the end of the last week, so that it is closed, and wait until that is told."""
        names, partitions = topic_names(self.space), self.space.kafka.partitions
        tick = encode_record(Tick(self._reach.ends_ms, _ROUND))
        asyncio.run(send_all(self.space, [Outgoing(names.activities, n, None, tick) for n in range(partitions)]))
        ends = asyncio.run(ends_of(self.space.kafka, [names.activities]))
        while asyncio.run(_behind(self.space, ends)):
            workers.check()
            time.sleep(_POLL_SECONDS)

    def _finish(self) -> Backfill:
        """Say that it is done, if this is still the run that the namespace belongs to."""
        found = asyncio.run(backfill_of(self.space))
        if found is None or found.run != self.record.run:
            raise NamespaceError(
                f'another run of the backfill "{self.record.name}" has begun meanwhile', "Wait for its end."
            )
        late = sum(account.late for account in asyncio.run(accounts_of(self.space, 0.0)))
        messages = {source: dict(sorted(days.items())) for source, days in sorted(self._messages.items())}
        self.record = msgspec.structs.replace(
            self.record, state="done", ended=self._now(), late=late, messages=messages
        )  # fmt: skip
        asyncio.run(say(self.space, self.record))
        return self.record

    def _now(self) -> str:
        return iso_time(int(self._clock.now() * 1000))


async def _blocks(records: AsyncIterator[RawRecord]) -> AsyncIterator[list[RawRecord]]:
    block: list[RawRecord] = []
    async for record in records:
        block.append(record)
        if len(block) >= _BLOCK:
            yield block
            block = []
    if block:
        yield block


async def _behind(space: Settings, ends: dict[Any, int]) -> bool:
    """Say whether the group has not handled its log of activities up to *ends*."""
    done = await committed_of(space.kafka, group_of(space))
    return any(done.get(tp, 0) < end for tp, end in ends.items())


def _day(stamp_ms: int) -> str:
    return iso_time(stamp_ms // DAY_MS * DAY_MS)[:10]
