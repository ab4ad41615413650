"""Reads the ledger of a whole installation from Kafka, and says whether it closes.

Owns the sum over all agents' parts, by source partition. Invariant: traffic is no gap. What was sent before a first
look must, once the log has been handled up to where it ended then, be counted at a second look or still lie in
the log; what was counted at the first look must have been sent at the second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import msgspec
from aiokafka.structs import TopicPartition

from agents.ledger import OUTCOMES_OF
from state.activity import decode_record, rows_of
from state.ledger import SourceLedger, SourcePlace, load_shares
from streams.log_state import committed_of, content_of, ends_of, stretches
from streams.parked import Parked, decode_parked
from streams.settings import Settings
from streams.topic_specs import TopicNames, group_of, topic_names

MOST_TAIL_RECORDS = 50_000
"""Longest stretch of a log that is counted for what is on its way; beyond it only counted gaps are known."""
_POLL_SECONDS = 0.3
Sums = dict[SourcePlace, Counter[str]]


@dataclass(slots=True)
class Account:
    """What became of one source partition's messages, in messages."""

    topic: str
    partition: int
    consumed: int = 0
    accepted: int = 0
    duplicate: int = 0
    late: int = 0
    dead_letters: int = 0
    waiting: int = 0
    released: int = 0
    dropped: int = 0
    apart: int = 0
    in_flight: int = 0
    lost: int = 0
    twice: int = 0
    to_read: int = 0

    @property
    def gap(self) -> int:
        """Messages lost or counted twice; 0 = this partition's ledger closes."""
        return self.lost + self.twice


@dataclass(slots=True)
class _Look:
    """The ledger between two moments."""

    before: Sums
    after: Sums
    on_their_way: Sums = field(default_factory=dict)  # "rows" to the shards, "parked" to park
    is_whole: bool = True  # whether what is on its way could be counted


async def sums_of(settings: Settings) -> Sums:
    """Return every agent's counts by source partition, as they are committed."""
    found: Sums = {}
    for partition, table in enumerate(await content_of(settings.kafka, topic_names(settings).ledger_changelog)):
        for key, raw in table.items():
            kept_by = key.decode()
            if kept_by in OUTCOMES_OF:
                for source, numbers in load_shares(raw, OUTCOMES_OF[kept_by]).items():
                    counts = dict(zip(OUTCOMES_OF[kept_by], numbers, strict=True))
                    found.setdefault(source, Counter()).update(counts)
            else:
                counts = msgspec.structs.asdict(SourceLedger.load(raw))
                del counts["sent"], counts["watermark_ms"]
                found.setdefault((kept_by, partition), Counter()).update(counts)
    return found


async def accounts_of(settings: Settings, wait_seconds: float) -> list[Account]:
    """Return the account of every source partition that anything was read of.

    Waits up to *wait_seconds* for running workers to have handled what was sent when it began.
    """
    names, brokers, group = topic_names(settings), settings.kafka, group_of(settings)
    before = await sums_of(settings)
    ends = await ends_of(brokers, (names.activities, names.unresolved))
    clock = asyncio.get_running_loop()
    until = clock.time() + wait_seconds
    while True:
        committed = await committed_of(brokers, group)
        starts = {tp: committed.get(tp, 0) for tp in ends}
        if clock.time() >= until or all(starts[tp] >= ends[tp] for tp in ends):
            break
        await asyncio.sleep(_POLL_SECONDS)
    look = _Look(before, await sums_of(settings))
    await _count_tails(look, settings, names, starts, ends)
    fields = ("product_events", "syslog_activities", "chat_messages", "transactions", "users", "orgs")
    topics = {field.replace("_", "-"): getattr(names, field) for field in fields}
    source_ends = await ends_of(brokers, topics.values())
    found = []
    for source in sorted(look.after):
        account = _account(source, look)
        tp = TopicPartition(topics.get(source[0], ""), source[1])
        account.to_read = max(0, source_ends.get(tp, 0) - committed.get(tp, 0))
        found.append(account)
    return found


async def _count_tails(
    look: _Look, settings: Settings, names: TopicNames,
    starts: dict[TopicPartition, int], ends: dict[TopicPartition, int],
) -> None:  # fmt: skip
    """Count, by source partition, what lies in the logs and is not handled yet."""
    if any(ends[tp] - starts[tp] > MOST_TAIL_RECORDS for tp in ends):
        look.is_whole = False
        return
    async for tp, record in stretches(settings.kafka, starts, ends):
        if tp.topic == names.activities:
            for rows in rows_of(decode_record(record.value)):
                look.on_their_way.setdefault((rows.topic, rows.partition), Counter())["rows"] += len(rows.measure)
        elif isinstance(parked := decode_parked(record.value), Parked):
            look.on_their_way.setdefault((parked.topic, parked.partition), Counter())["parked"] += 1


def _account(source: SourcePlace, look: _Look) -> Account:
    """Return one partition's account; each agent's counted gaps, and what the sums say beyond them."""
    before, now = look.before.get(source, Counter()), look.after[source]
    way = look.on_their_way.get(source, Counter())
    lost, twice = now["lost"], now["twice"]
    if look.is_whole:
        lost += max(0, _sent(before) - _settled(now) - way["rows"]) + max(
            0, before["parked"] - _taken(now) - way["parked"]
        )
    twice += max(0, _settled(before) - _sent(now)) + max(0, _taken(before) - now["parked"])
    account = Account(
        *source, now["consumed"], now["accepted"], now["duplicate"], now["late"],
        now["dead_lettered"] + now["dropped"], now["waiting"], now["released"], now["dropped"],
        now["apart"] + now["bot"] + now["suppressed"], 0, lost, twice,
    )  # fmt: skip
    counted = (
        account.accepted + account.duplicate + account.late + account.dead_letters + account.waiting + account.apart
    )
    account.in_flight = max(0, account.consumed - counted - lost + twice)
    return account


def _sent(counts: Counter[str]) -> int:
    """Activities that were sent to shards and, as far as is counted, were not lost."""
    return counts["forwarded"] + counts["released"] - counts["lost"]


def _settled(counts: Counter[str]) -> int:
    """Activities that shards have counted, once each."""
    return counts["accepted"] + counts["duplicate"] + counts["late"] - counts["twice"]


def _taken(counts: Counter[str]) -> int:
    """Activities that park has counted."""
    return counts["waiting"] + counts["released"] + counts["bot"] + counts["dropped"] + counts["suppressed"]
