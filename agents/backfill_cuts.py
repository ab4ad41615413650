"""Lets weeks of a backfill be closed by the cut points that they were published by.

Which cut points were in force when a week ended is a matter of when the population was counted, so no replay finds
them again. But every published row names their generation, and cut points are kept in checkpoints (for as long as
weeks can be restated), in the census (the last ones) and in the log (for as long as it is kept). They are written into
the logs of the backfill before everything else.

Owns that copy. Invariant: an org's week gets the generation that its row names, or, where its cut points are known no
more, the one before it, and that is said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agents.directory import directory_limits_of
from agents.manifest import DamagedCheckpointError, whole
from agents.routing import router_of
from agents.week_documents import week_documents
from state.activity import Calibration, decode_record, encode_record
from state.arrays import decode
from state.week import week_end_ms, week_number
from streams.log_state import content_of, ends_of, starts_of, stretches
from streams.read_directory import org_entry
from streams.reading import Rejected
from streams.settings import Settings
from streams.topic_specs import topic_names
from streams.transactions import Outgoing

_LAST = b"c"  # the key of the last calibration in the census
SHIPPED_GENERATION = 0


@dataclass(slots=True)
class CutsKept:
    """Cut points that an installation knows of."""

    known: dict[int, Calibration] = field(default_factory=lambda: {0: Calibration(SHIPPED_GENERATION, 0, {})})
    """By generation."""
    last: Calibration | None = None
    """In force now."""
    former_model_until_ms: int = 0
    """Weeks that ended up to then were closed by an earlier model; 0 = none were."""


async def cuts_of(settings: Settings, peers: str, wanted: Iterable[int]) -> CutsKept:
    """Return the cut points that *settings* know; the log is read only if a *wanted* generation is not elsewhere.

    *peers* is what the live model ranks users among.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    brokers, names, found = settings.kafka, topic_names(settings), CutsKept()
    for content in await content_of(brokers, names.shard_changelog):
        with suppress(DamagedCheckpointError):
            segments = whole(content) if content else {}
            if "closing:cuts" in segments:
                from_ms = decode(segments["closing:from"])
                found.former_model_until_ms = max(found.former_model_until_ms, from_ms)
                found.known |= {each.generation: each for each in _closes(segments, peers) if each.generation}
    (census,) = await content_of(brokers, names.census_changelog)
    if _LAST in census:
        found.last = msgspec.msgpack.decode(census[_LAST], type=Calibration)
        found.known.setdefault(found.last.generation, found.last)
    if set(wanted) - found.known.keys():
        found.known = await _in_log(settings) | found.known
    return found


def _closes(segments: Mapping[str, bytes], peers: str) -> list[Calibration]:
    """Return the cut points of closes that a checkpoint has."""
    groups = decode(segments["closing:cuts-by-group"]) if "closing:cuts-by-group" in segments else []
    return [
        Calibration(generation, 0, everybody, peers=peers, groups=groups[at] if at < len(groups) else {})
        for at, (_, generation, everybody) in enumerate(decode(segments["closing:cuts"]))
    ]


async def _in_log(settings: Settings) -> dict[int, Calibration]:
    """Return what one partition of the log holds: each calibration went to all of them."""
    topic, brokers = topic_names(settings).activities, settings.kafka
    starts, ends = await starts_of(brokers, [topic]), await ends_of(brokers, [topic])
    tp = min(ends)
    found: dict[int, Calibration] = {}
    async for _, record in stretches(brokers, {tp: starts[tp]}, {tp: ends[tp]}, whole=True):
        with suppress(msgspec.DecodeError):
            each = decode_record(record.value or b"")
            if isinstance(each, Calibration) and not each.model and not each.since_ms:
                found.setdefault(each.generation, each)  # shards take the first one of a number
    return found


async def pins(live: Settings, aside: Settings, first: str, last: str, peers: str) -> tuple[list[Outgoing], list[int]]:
    """Return what makes the shards of *aside* close the weeks *first* to *last* as they were published.

    Also returns generations that published rows name and nobody knows any more.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    rows = (await week_documents(live, first, last)).rows
    named = _named(rows, await _zones(aside), aside)
    wanted = {generation for closes in named.values() for generation in closes.values()}
    found, topic = await cuts_of(live, peers, wanted), topic_names(aside).activities
    out = []
    for partition, closes in sorted(named.items()):
        former = None
        for end_ms, generation in sorted(closes.items()):
            if generation in found.known and generation != former:
                pinned = msgspec.structs.replace(found.known[generation], since_ms=end_ms)
                out.append(Outgoing(topic, partition, None, encode_record(pinned)))
                former = generation
    if found.last is not None:
        raw = encode_record(found.last)
        out += [Outgoing(topic, number, None, raw) for number in range(aside.kafka.partitions)]
    return out, sorted(wanted - found.known.keys())


def _named(
    rows: Mapping[str, Mapping[str, Any]], zones: Mapping[str, str], aside: Settings
) -> dict[int, dict[int, int]]:
    """Return by partition the generation of each close (its moment, ms): what most orgs that closed then name."""
    router = router_of(aside)
    votes: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for row in rows.values():
        if not row["user"] and row["calibration"] is not None:
            end_ms = week_end_ms(week_number(row["week"]), zones.get(row["org"], "UTC"))
            votes[router.partition(row["org"]), end_ms][row["calibration"]] += 1
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for (partition, end_ms), some in votes.items():
        found[partition][end_ms] = some.most_common(1)[0][0]
    return found


async def _zones(settings: Settings) -> dict[str, str]:
    """Return the time zones of the orgs of the directory."""
    found, limits = {}, directory_limits_of(settings)
    for content in await content_of(settings.kafka, topic_names(settings).orgs):
        for key, value in content.items():
            with suppress(Rejected):
                org, entry = org_entry(key, value, limits)
                if entry is not None:
                    found[org] = entry.timezone
    return found
