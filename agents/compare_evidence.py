"""Gathers what explains the differences between a backfill and what was published: logs, letters, who waits, directory.

Owns the reading of it, for the orgs and weeks that differ. Invariant: nothing is written or committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from agents.backfill_cuts import cuts_of
from agents.directory import read_directory
from agents.ingest import ids_of, salt_of
from agents.mend import told_from_ms
from agents.routing import router_of
from agents.wiring import limits_of, sources
from reports.backfill_side import Side
from state.activity import decode_record
from state.health import Model
from state.trace import Key, Trace
from streams.clock import Clock
from streams.letters import Letter, records_of
from streams.log_state import ends_of, starts_of, stretches
from streams.parked import Parked, decode_parked
from streams.reading import Reading, Rejected
from streams.settings import Settings
from streams.topic_specs import topic_names

Tell = Callable[[int, int], None]
"""Gets (records read, records to read in all)."""
_NOBODY = "-"  # an org whose salt is taken out again


class Span(NamedTuple):
    """What is looked at."""

    orgs: Collection[str]
    from_ms: int
    until_ms: int
    generations: Collection[int]
    """Of cut points that rows name."""


async def evidence_of(settings: Settings, model: Model, span: Span, clock: Clock, tell: Tell) -> Side:
    """Return what *settings*, whose weeks *model* closes, tell of *span*.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    side = Side(model=model)
    await _read_log(settings, span, side, tell)
    reading = {source.name: source.read for source in sources(settings, model, topic_names(settings), clock)}
    letters: dict[Key, str] = {}
    async for _, letter in records_of(settings):
        if isinstance(letter, Letter) and letter.value is not None and letter.topic in reading:
            try:
                letters[_key(reading[letter.topic](letter.value))] = letter.reason
            except Rejected:
                continue  # nobody could read it: it is no event
    side.letters = letters
    side.waiting = await _waiting(settings)
    side.users = frozenset((await read_directory(settings)).users)
    kept = await cuts_of(settings, model.population.peers, span.generations)
    side.cuts, side.former_model_until_ms = kept.known, kept.former_model_until_ms
    return side


async def _read_log(settings: Settings, span: Span, side: Side, tell: Tell) -> None:
    brokers, topic = settings.kafka, topic_names(settings).activities
    starts, ends = await starts_of(brokers, [topic]), await ends_of(brokers, [topic])
    limits, router = limits_of(settings), router_of(settings)
    orgs: dict[int, set[str]] = {tp.partition: set() for tp in ends}
    for org in span.orgs:
        orgs[router.partition(org)].add(org)
    traces = {n: Trace(some, limits, salt_of, span.from_ms, span.until_ms) for n, some in orgs.items() if some}
    starts = {tp: start for tp, start in starts.items() if tp.partition in traces}
    side.known_from_ms = await told_from_ms(settings, starts, ends)
    read, total = 0, sum(ends[tp] - start for tp, start in starts.items())
    async for tp, record in stretches(brokers, starts, ends, whole=True):
        read += 1
        tell(read, total)
        if record.value is not None:
            traces[tp.partition].take(decode_record(record.value), record.timestamp)
    side.events = {key: event for trace in traces.values() for key, event in trace.events.items()}
    side.members = {place: told for trace in traces.values() for place, told in trace.members.items()}
    side.orgs = {org: told for trace in traces.values() for org, told in trace.orgs.items()}
    side.corrected = frozenset(org for trace in traces.values() for org in trace.corrected)


async def _waiting(settings: Settings) -> frozenset[Key]:
    """Return the events that were ever parked."""
    brokers, topic = settings.kafka, topic_names(settings).unresolved
    starts, ends = await starts_of(brokers, [topic]), await ends_of(brokers, [topic])
    found = set()
    async for _, record in stretches(brokers, starts, ends, whole=True):
        try:
            parked = decode_parked(record.value or b"")
        except msgspec.DecodeError:
            continue
        if isinstance(parked, Parked):
            found.add((ids_of(_NOBODY, parked)[0] ^ salt_of(_NOBODY), parked.time_ms))
    return frozenset(found)


def _key(found: Reading) -> Key:
    return ids_of(_NOBODY, found)[0] ^ salt_of(_NOBODY), found.time_ms
