"""Takes a person out of everything, step by step, and writes down what was done.

    the list ─► directory, links, waiting ─► Forget to the shards ─► workers commit it, and a checkpoint
                                                                           │
       receipt ◄─ search ◄─ sinks ◄─ Redis ◄─ alerts, letters ◄─ rows of scores and weeks

Owns the order of the steps. Invariant: the list comes first, so that nothing that comes in meanwhile brings them back;
and each step can be done again, so a run that was interrupted is mended by the next one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
from aiokafka.structs import TopicPartition
from kafka.errors import KafkaError

from agents.forget_names import Names
from agents.forget_places import in_redis, remove_from_postgres, remove_from_redis
from agents.forget_receipt import LOG, SOURCE, TABLE, Receipt, Remains, Trace, excuse_of
from agents.forget_rewrite import TooLongError, rewrite
from agents.forget_search import POSTGRES, Search, org_of_key, search
from agents.routing import router_of
from state.activity import Forget
from state.forgotten import SALT_BYTES, digest_of
from state.identity import unlinked_alias
from streams.log_state import committed_of, content_of, ends_of
from streams.lone_sender import NotSentError
from streams.parked import Forgotten, encode_parked
from streams.plain_sender import send_all
from streams.pseudonyms import called_by
from streams.raw_scan import configs_of, cut_before, extents_of
from streams.settings import Settings
from streams.suppression import CHECK, Entry, Suppression
from streams.topic_specs import ACTIVITIES_RETENTION_DAYS, DAY_MS, group_of, topic_names
from streams.transactions import Outgoing

_SETTLE_SECONDS = 2.0
"""A worker reads of a name on the list within that time, and activities under way reach their log."""
_POLL_SECONDS = 0.3
Tell = Callable[[int, int], None]
Say = Callable[[str], None]


class _Row(NamedTuple):
    key: bytes
    value: bytes


async def read_list(settings: Settings, suppressed: Suppression) -> None:
    """Take in the list as it is.

    Raises:
        KeyLostError: If it is kept by another key.
    """
    (content,) = await content_of(settings.kafka, topic_names(settings).suppressed)
    for key, value in content.items():
        suppressed.take(_Row(key, value))


async def put_on_list(settings: Settings, suppressed: Suppression, names: Iterable[str], since: str) -> int:
    """Put *names* on the list; return how many were not there."""
    topic = topic_names(settings).suppressed
    new = sorted(name for name in names if not suppressed.has(name))
    said = msgspec.json.encode(Entry(since=since))
    out = [Outgoing(topic, 0, CHECK, msgspec.json.encode(Entry(check=suppressed.check)))]
    out += [Outgoing(topic, 0, suppressed.hash_of(name).encode(), said) for name in new]
    await send_all(settings, out)
    return len(new)


async def take_off_list(settings: Settings, suppressed: Suppression, names: Iterable[str]) -> int:
    """Take *names* off the list: what comes of them from now on counts; return how many were there."""
    topic = topic_names(settings).suppressed
    there = sorted(name for name in names if suppressed.has(name))
    await send_all(settings, [Outgoing(topic, 0, suppressed.hash_of(name).encode(), None) for name in there])
    return len(there)


class Removal:
    """One run for one person; the methods are its steps, in order."""

    def __init__(
        self, settings: Settings, names: Names, receipt: Receipt, suppressed: Suppression, now: Callable[[], float],
        say: Say,
    ) -> None:  # fmt: skip
        """Prepare; *now* is epoch seconds, *say* hears of each step in a line."""
        self._settings, self._names, self._receipt = settings, names, receipt
        self._suppressed, self._now, self._say = suppressed, now, say
        self._topics, self._router = topic_names(settings), router_of(settings)
        self._called = called_by(settings)
        self._removed: Counter[str] = Counter(receipt.removed)

    async def run(self, found: Search, wait_seconds: float, sinks: Iterable[str], tell: Tell) -> None:
        """Do everything after the search that *found* what there is."""
        orgs = sorted({*self._names.orgs, *found.orgs})
        self._receipt.orgs = orgs
        new = await put_on_list(self._settings, self._suppressed, self._names.all, self._receipt.at)
        self._say(f"{new} names put on the list of those who are kept out")
        await asyncio.sleep(_SETTLE_SECONDS)
        places = await self._tell_workers(orgs)
        behind = await self._wait(places, wait_seconds)
        if behind:
            self._receipt.state = "waiting"
            self._receipt.problems.append(
                f"after {wait_seconds:g} s no worker had taken it in: {', '.join(behind)}; start one, then run "
                "`orgpulse forget --again RECEIPT`"
            )
        else:
            self._receipt.state = "done"
            self._say("the workers have taken it in, and made checkpoints")
            await self._after_workers(orgs, wait_seconds, sinks)
        self._receipt.removed = dict(sorted(self._removed.items()))
        left = await search(self._settings, self._names, tell, sinks=sinks)
        await self._conclude(left)

    async def _tell_workers(self, orgs: list[str]) -> dict[TopicPartition, int]:
        """Send what the agents must know; return the places that they must have come to."""
        settings, topics, out = self._settings, self._topics, list[Outgoing]()
        users = await content_of(settings.kafka, topics.users)
        for number, rows in enumerate(users):
            out += [Outgoing(topics.users, number, key, None) for key in rows if self._is_name(key)]
        for number, rows in enumerate(await content_of(settings.kafka, topics.identities)):
            theirs = [key for key, value in rows.items() if self._names.is_in_record(key, value)]
            out += [Outgoing(topics.identities, number, key, None) for key in theirs]
        self._removed.update(each.topic for each in out)
        salt = secrets.token_bytes(SALT_BYTES)
        digests = [digest_of(salt, name) for name in sorted(self._names.all)]
        waiting = encode_parked(Forgotten(salt, digests))
        aliases = {*self._names.all, *(unlinked_alias(name) for name in self._names.all)}
        partitions = sorted({self._router.partition(alias) for alias in aliases})
        out += [Outgoing(topics.unresolved, number, None, waiting) for number in partitions]
        until_ms = int(self._now() * 1000) + (ACTIVITIES_RETENTION_DAYS + 1) * DAY_MS
        out += [self._router.activity(org, Forget(org, salt, digests, until_ms)) for org in orgs]
        await send_all(settings, out)
        touched = {(each.topic, each.partition) for each in out if each.topic != topics.identities}
        ends = await ends_of(settings.kafka, {topic for topic, _ in touched})
        return {tp: end for tp, end in ends.items() if (tp.topic, tp.partition) in touched}

    def _is_name(self, key: bytes) -> bool:
        name = key.decode("utf-8", "replace")
        return name in self._names.all or self._called(name) in self._names.all

    async def _wait(self, places: dict[TopicPartition, int], wait_seconds: float) -> list[str]:
        """Wait until the workers have committed *places*; return those that they have not."""
        deadline, behind = time.monotonic() + wait_seconds, list[str]()
        while True:
            done = await committed_of(self._settings.kafka, group_of(self._settings))
            behind = [f"{tp.topic}-{tp.partition}" for tp, place in sorted(places.items()) if done.get(tp, 0) < place]
            if not behind or time.monotonic() > deadline:
                return behind
            await asyncio.sleep(_POLL_SECONDS)

    async def _after_workers(self, orgs: list[str], wait_seconds: float, sinks: Iterable[str]) -> None:
        """Remove what the workers do not: rows of former weeks, logs that name them, Redis, databases."""
        await self._end_rows()
        await self._cut_waiting()
        try:
            rewritten = await rewrite(self._settings, self._names)
        except (TooLongError, NotSentError, KafkaError) as error:
            self._receipt.problems.append(f"{error}; their records there go by age")
        else:
            self._removed.update(rewritten)
        self._removed["redis"] += await asyncio.to_thread(remove_from_redis, self._settings, self._names, set(orgs))
        await self._wait_for_redis(wait_seconds)
        if POSTGRES in sinks:
            try:
                self._removed[POSTGRES] += await remove_from_postgres(self._settings, self._names)
            except Exception as error:  # noqa: BLE001  # whatever it is, the rest goes on, and it is told
                self._receipt.problems.append(f"rows in PostgreSQL could not be removed: {error}")

    async def _end_rows(self) -> None:
        """Write the ends of their rows in `scores` and `weeks`: also of weeks that no shard knows any more."""
        out = []
        for topic in (self._topics.scores, self._topics.weeks):
            for number, rows in enumerate(await content_of(self._settings.kafka, topic)):
                out += [Outgoing(topic, number, key, None) for key in rows if org_of_key(key, self._names)]
        await send_all(self._settings, out)
        self._removed.update(each.topic for each in out)
        self._say(f"{len(out)} rows of scores and weeks ended")

    async def _cut_waiting(self) -> None:
        """Cut `unresolved` where it is handled: nobody needs what is before, and it names them."""
        done = await committed_of(self._settings.kafka, group_of(self._settings))
        extents = await extents_of(self._settings.kafka, [self._topics.unresolved])
        cuts = {tp: done[tp] for tp, extent in extents.items() if extent.start < done.get(tp, 0) <= extent.end}
        await cut_before(self._settings, cuts)
        self._removed[self._topics.unresolved] += sum(place - extents[tp].start for tp, place in cuts.items())

    async def _wait_for_redis(self, wait_seconds: float) -> None:
        """Wait until the workers have told anew the documents of orgs that named them."""
        deadline = time.monotonic() + wait_seconds
        while True:
            left = (await asyncio.to_thread(in_redis, self._settings, self._names))[0]
            if not left or time.monotonic() > deadline:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _conclude(self, left: Search) -> None:
        """Write down what remains, until when, and what should not be there."""
        receipt = self._receipt
        receipt.searched = left.searched
        receipt.problems += left.problems
        receipt.remains = remains_of(self._settings, left, self._now())
        receipt.outside = outside()
        receipt.problems += unexcused(receipt, left.traces, self._now())


def unexcused(receipt: Receipt, traces: Iterable[Trace], now: float) -> list[str]:
    """Return the places that hold a name and should not, with how many of each."""
    found = Counter(
        trace.place if trace.partition < 0 else f"{trace.place}-{trace.partition}"
        for trace in traces
        if excuse_of(trace, receipt, now) is None
    )
    return [f"{place} still holds them ({number})" for place, number in sorted(found.items())]


def remains_of(settings: Settings, left: Search, now: float) -> list[Remains]:
    """Return what may still be found, by topic, by what its configuration says of how long records stay."""
    topics = topic_names(settings)
    configs = configs_of(settings, {trace.place for trace in left.traces if trace.partition >= 0} | set(topics.sources))
    found = []
    for topic, config in sorted(configs.items()):
        traces = [trace for trace in left.traces if trace.place == topic]
        newest = max((trace.stamp for trace in traces), default=0.0)
        roll = int(config["segment.ms"]) / 1000
        ends = {str(number): end for (place, number), end in left.last.items() if place == topic}
        if "delete" in config["cleanup.policy"].split(","):
            kept = int(config["retention.ms"]) / 1000
            keep = kept + roll if kept >= 0 else float(10**11)
            source = topic in topics.sources
            why = (
                "raw messages can't be rewritten: the broker deletes them by age, and what producers still send is "
                "read and left out"
                if source
                else "a log that can't be rewritten while workers read it: the broker deletes it by age"
            )
            found.append(Remains(topic, SOURCE if source else LOG, why, newest + keep, keep, {} if source else ends))
        elif traces:
            lag, tombstone = (int(config[name]) / 1000 for name in ("max.compaction.lag.ms", "delete.retention.ms"))
            until = now + min(lag, 10**9) + 2 * roll + tombstone
            why = "overwritten, until the broker compacts the topic; then the tombstone, until readers have seen it"
            found.append(Remains(topic, TABLE, why, until, ends=ends))
    return [each for each in found if each.kind == SOURCE or any(t.place == each.place for t in left.traces)]


def outside() -> list[str]:
    """Return what this house can't reach, for the receipt."""
    return [
        "files written by `orgpulse report`, `export`, `backfill` (saved topics), `compare` and `latency`",
        "what readers of `scores`, `weeks`, `alerts`, of Redis or of the sinks' tables have copied",
        "backups and replicas of Kafka, Redis, PostgreSQL and of disks; what Redis has written to its own files until "
        "it rewrites them",
        "namespaces of backfills, which hold raw messages and the directory (`orgpulse backfill list`, `drop`)",
        "the systems that sent the messages and the directory, and orgpulse's former generations "
        "(`orgpulse rebuild --drop-old`)",
        "this receipt: it names them; keep it where only those who must prove the deletion can read it",
    ]
