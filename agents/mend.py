"""Brings what was counted in line with who is who now, by replay of the retained log.

Owns the reading of the log and the sending of corrections. They are records of `activities` like all that changes
state; so a shard stays a function of its log. Invariant: each pass compares what the log says was counted with what
the directory says now, so a run that was interrupted, or that overlapped with traffic, is mended by the next one.

    users, members, identities ─► directory ─┐
    activities ─► whose rows, which orgs ────┼─► scan of these orgs ─► corrections ─► activities (one transaction)
                            ▲                └──────────── until there are none ────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.structs import TopicPartition

from agents.directory import read_directory
from agents.ingest import CREATE, policies, salt_of
from agents.routing import router_of
from state.activity import Correction, Record, decode_record, origin_of, rows_of
from state.health import Model
from state.identity import Directory, spelled
from state.limits import Limits
from state.membership import FOREVER_MS
from state.mending import Mending, Right
from state.org_log import Scan
from streams.errors import OperatorError
from streams.log_state import ends_of, starts_of, stretches
from streams.lone_sender import LoneSender, NotSentError
from streams.settings import Settings
from streams.topic_specs import topic_names
from streams.transactions import Outgoing

_SENDER = "identity"
"""Part of the transactional id: one run at a time changes who is who, or mends."""
MAX_PASSES = 5
MAX_TRANSACTION_BYTES = 16 * 1024 * 1024
"""Workers can't read on in a partition while a transaction is open there."""
_SETTLE_SECONDS = 2.0
"""Between two passes: a worker reads of a change within that time, and activities under way reach their log."""

Tell = Callable[[int, int], None]
"""Gets (records read, records to read in all)."""
Places = Mapping[TopicPartition, int]


class MendingFailedError(OperatorError):
    """The past could not be brought in line."""


@dataclass(slots=True)
class Mended:
    """What was found: activities counted for somebody else before, and the orgs that this changes."""

    activities: int = 0
    orgs: set[str] = field(default_factory=set)
    from_ms: int = 0
    """Events before that were left as they are; 0 = the logs told everything."""


@dataclass(slots=True)
class _Concerned:
    """Which orgs the activities of some aliases are in, or may come to."""

    aliases: set[str]
    orgs: set[str] = field(default_factory=set)


async def mend(
    settings: Settings, model: Model, limits: Limits, who: Iterable[str], tell: Tell, *, dry: bool = False
) -> Mended:
    """Correct what was counted of *who* (aliases or users), and of all that was corrected before; *dry* = only look.

    Raises:
        MendingFailedError: If there was always more to correct, another run has begun, or Kafka did not take it.
        OperatorError: If a topic is missing or could not be read to its end.
    """
    wanted = sorted(set(who))
    found = Mended()
    for number in range(MAX_PASSES):
        directory = await read_directory(settings)
        corrections = await _look(settings, model, limits, directory, wanted, found, tell)
        if number == 0:  # what later passes find is what came meanwhile
            found.activities, found.orgs = _extent(corrections)
        if not corrections or dry:
            return found
        router = router_of(settings)
        await send(settings, [router.activity(record.org, record) for record in corrections])
        await asyncio.sleep(_SETTLE_SECONDS)
    raise MendingFailedError(
        f"after {MAX_PASSES} passes there was still something to correct", "Run `orgpulse identity mend` again."
    )


def aliases_of(directory: Directory, who: Iterable[str]) -> set[str]:
    """Return *who* as aliases, with all others that lead to the same users."""
    found = {spelled(each) for each in who}
    users = {person.user for each in found if (person := directory.find(each)) is not None}
    users |= {each for each in found if each in directory.users}
    for user in users:
        found |= {user, *directory.users[user].aliases, *directory.aliases_of(user)}
    return found


def right_of(directory: Directory, settings: Settings) -> Right:
    """Return whose an activity is by *directory*: (org, user), None = nobody's."""
    creates = {source: policy == CREATE for source, policy in policies(settings.ingest).items()}

    def right(origin: str, time_ms: int, source: str) -> tuple[str, str] | None:
        org, _, via, named = origin_of(origin)
        person = directory.find(via)
        if person is None:
            return (org, via) if named and creates[source] else None
        if person.bot:
            return None
        subject = person.subject_in(org) if named else person.subject_at(time_ms)
        return origin_of(subject)[:2] if subject else None

    return right


async def _look(
    settings: Settings, model: Model, limits: Limits, directory: Directory, who: Sequence[str], found: Mended,
    tell: Tell,
) -> list[Correction]:  # fmt: skip
    """Return what has to be corrected now."""
    topic = topic_names(settings).activities
    starts, ends = await starts_of(settings.kafka, [topic]), await ends_of(settings.kafka, [topic])
    log = _Log(settings, starts, ends, tell)
    found.from_ms = await told_from_ms(settings, starts, ends)
    concerned = await _concerned(log, aliases_of(directory, who))
    for alias in concerned.aliases:
        person = directory.find(alias)
        concerned.orgs |= {org for _, _, org in person.memberships} if person is not None else set()
    scans = {tp.partition: Scan(concerned.orgs, limits, found.from_ms) for tp in ends}
    async for partition, record in log.records():
        scans[partition].take(record)
    router = router_of(settings)
    logs = {org: scans[router.partition(org)].logs[org] for org in sorted(concerned.orgs)}
    mending = Mending(logs, right_of(directory, settings), salt_of, model.catalogue, limits, found.from_ms)
    return mending.corrections(concerned.aliases)


class _Log:
    """A stretch of `activities`, read again and again."""

    def __init__(self, settings: Settings, starts: Places, ends: Places, tell: Tell) -> None:
        self._brokers, self._starts, self._ends, self._tell = settings.kafka, starts, ends, tell
        self._size, self._read = sum(ends[tp] - starts[tp] for tp in ends), 0

    async def records(self) -> AsyncIterator[tuple[int, Record]]:
        """Yield all of it, by partition."""
        begun = self._read
        async for tp, record in stretches(self._brokers, self._starts, self._ends, whole=True):
            self._read += 1
            self._tell(self._read, begun + 2 * self._size)
            if record.value is not None:
                yield tp.partition, decode_record(record.value)


async def _concerned(log: _Log, aliases: set[str]) -> _Concerned:
    """Return everybody and every org that a change of *aliases* may concern.

    What comes in late in the log may concern what is early in it; so it is read until nothing new comes in.
    """
    known, found = set[str](), _Concerned(aliases)
    while known != found.aliases:
        known = set(found.aliases)
        async for _, record in log.records():
            _concern(found, record)
    return found


def _concern(concerned: _Concerned, record: Record) -> None:
    """Note the orgs and aliases that *record* brings in."""
    for rows in rows_of(record):
        for origin in rows.subjects:
            org, user, via, _ = origin_of(origin)
            if user and (via in concerned.aliases or user in concerned.aliases):
                concerned.aliases.add(via)
                concerned.orgs.add(org)
    if isinstance(record, Correction):
        concerned.orgs.add(record.org)
        concerned.aliases |= set(record.about)


async def told_from_ms(settings: Settings, starts: Places, ends: Places) -> int:
    """Return from which event time (ms) on the logs certainly hold every activity; 0 = they hold everything.

    An activity comes in after it happened, or as much ahead of its time as is allowed.
    """
    cut = {tp: start for tp, start in starts.items() if start > 0}
    latest = 0
    for tp, start in cut.items():
        async for _, record in stretches(settings.kafka, {tp: start}, {tp: ends[tp]}):
            latest = max(latest, int(record.timestamp) + settings.time.max_ahead_seconds * 1000)
            break
        else:
            return FOREVER_MS  # nothing is left of it
    return latest


def _extent(corrections: list[Correction]) -> tuple[int, set[str]]:
    """Return how many activities count elsewhere now than before, and the orgs that this changes."""
    weights = [row[3] for record in corrections for row in record.rows if row[2] == row[5]]
    gone, come = (sum(1 for weight in weights if weight * sign > 0) for sign in (-1, 1))
    return max(gone, come), {record.org for record in corrections}


async def send(settings: Settings, records: Iterable[Outgoing]) -> None:
    """Send *records* in one transaction, or in several if they are many: the next pass mends what came between.

    Raises:
        MendingFailedError: If another run has begun, or Kafka did not take them.
    """
    batches: list[list[Outgoing]] = [[]]
    size = 0
    for record in records:
        size += len(record.value or b"")
        if size > MAX_TRANSACTION_BYTES and batches[-1]:
            batches.append([])
            size = len(record.value or b"")
        batches[-1].append(record)
    try:
        async with LoneSender(settings, _SENDER) as sender:
            for batch in batches:
                await sender.send(record._asdict() for record in batch)
    except NotSentError as error:
        raise MendingFailedError(str(error), "Run the same command again: it goes on from there.") from error
