"""Searches everything that orgpulse writes, and the raw topics, for a person's names.

Owns the list of places. Invariant: every topic of the installation is read raw, keys, values and headers, whatever
was committed; what can't be looked at is a problem, never silence.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aiokafka.structs import TopicPartition

from agents.forget_names import Names
from agents.forget_places import in_parquet, in_postgres, in_redis
from agents.forget_receipt import Searched, Trace
from state.activity import SEPARATOR, decode_record, origin_of, rows_of
from streams.raw_scan import Extent, extents_of, raw_records
from streams.settings import Settings
from streams.topic_specs import topic_names

REDIS, POSTGRES, PARQUET = "redis", "postgres", "parquet"
Tell = Callable[[int, int], None]
"""Gets (offsets behind, offsets in all)."""


@dataclass
class Search:
    """What a search looked at and found."""

    searched: list[Searched] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    orgs: set[str] = field(default_factory=set)
    """In which records speak of a user by one of the names."""
    last: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic, partition) → after the last record that holds a name."""

    @property
    def by_place(self) -> dict[str, int]:
        """How many traces there are, by place."""
        found: dict[str, int] = defaultdict(int)
        for trace in self.traces:
            found[trace.place] += 1
        return dict(found)


def topics_of(settings: Settings) -> list[str]:
    """Return every topic of the installation that people may be named in."""
    names = topic_names(settings)
    return [getattr(names, field) for field in names.__struct_fields__]


async def search(settings: Settings, names: Names, tell: Tell, *, sinks: Iterable[str] = ()) -> Search:
    """Return what is found of *names* everywhere; *sinks* are those to look at (POSTGRES, PARQUET).

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    found = Search()
    await search_topics(settings, names, topics_of(settings), found, tell)
    look = {POSTGRES: in_postgres, PARQUET: in_parquet}
    found_there, keys = await asyncio.to_thread(in_redis, settings, names)
    _note(found, REDIS, found_there, keys)
    for sink in sinks:
        try:
            places, looked = await look[sink](settings, names)
        except Exception as error:  # noqa: BLE001  # whatever keeps a place from being looked at is told
            found.problems.append(f"{sink} could not be searched: {error}")
        else:
            _note(found, sink, places, looked)
    return found


def _note(found: Search, place: str, traces: list[str], looked: int) -> None:
    found.searched.append(Searched(place, records=looked, found=len(traces)))
    found.traces += [Trace(f"{place}: {each}") for each in traces]


async def search_topics(settings: Settings, names: Names, topics: Iterable[str], found: Search, tell: Tell) -> None:
    """Read *topics* raw into *found*."""
    brokers = settings.kafka
    extents = await extents_of(brokers, topics)
    counts, hits = dict.fromkeys(extents, 0), dict.fromkeys(extents, 0)
    activities, scores, weeks = _speaking(settings)
    async for tp, records in raw_records(brokers, extents, tell):
        for record in records:
            counts[tp] += 1
            if not names.is_in_record(record.key, record.value, record.headers or ()):
                continue
            hits[tp] += 1
            found.traces.append(Trace(tp.topic, tp.partition, record.offset, record.timestamp / 1000))
            found.last[tp.topic, tp.partition] = record.offset + 1
            if tp.topic == activities:
                found.orgs |= _orgs_in(record.value, names)
            elif tp.topic in (scores, weeks):
                org = org_of_key(record.key, names)
                found.orgs |= {org} if org else set()
    found.searched += [_searched(tp, extent, counts[tp], hits[tp]) for tp, extent in extents.items()]


def _searched(tp: TopicPartition, extent: Extent, records: int, hits: int) -> Searched:
    return Searched(tp.topic, tp.partition, extent.start, extent.end, records, hits)


def _speaking(settings: Settings) -> tuple[str, str, str]:
    topics = topic_names(settings)
    return topics.activities, topics.scores, topics.weeks


def _orgs_in(value: bytes | None, names: Names) -> set[str]:
    """Return the orgs in which a record of the log counts something as theirs."""
    record = decode_record(value or b"")
    if packed := rows_of(record):
        origins = [origin_of(subject) for rows in packed for subject in rows.subjects]
        return {org for org, user, _, _ in origins if user in names.all}
    user = getattr(record, "user", "")
    subjects = [each.split(SEPARATOR) for each in getattr(record, "subjects", [])]
    named = user in names.all or any(each[1] in names.all for each in subjects)
    return {record.org} if named else set()  # type: ignore[union-attr]


def org_of_key(key: bytes | None, names: Names) -> str:
    """Return the org in the key `user:org/name` or `user:org/name|week` of one of *names*; empty = it is not theirs."""
    kind, _, rest = (key or b"").decode("utf-8", "replace").partition(":")
    org, _, user = rest.partition("/")
    head, bar, _ = user.rpartition("|")
    return org if kind == "user" and (user in names.all or (bar and head in names.all)) else ""
