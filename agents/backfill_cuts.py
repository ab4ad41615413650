"""Lets weeks of a backfill be closed by the cut points that they were published by.

Which cut points were in force when a week ended is a matter of when the population was counted, so no replay finds
them again. But a shard keeps them for as long as its weeks can be restated, by the moment of the close. They are
written into the logs of the backfill before everything else.

Owns that copy. Invariant: partition n gets what partition n knew, so each org's weeks are closed as they were.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from agents.manifest import DamagedCheckpointError, whole
from state.activity import Calibration, encode_record
from state.arrays import decode
from streams.log_state import content_of
from streams.settings import Settings
from streams.topic_specs import topic_names
from streams.transactions import Outgoing

_LAST = b"c"  # the key of the last calibration in the census


class CutsKept:
    """Cut points that an installation knows of."""

    def __init__(self) -> None:
        self.by_partition: list[list[Calibration]] = []
        """Of closes, by partition, each since when it counted."""
        self.last: Calibration | None = None
        """In force now."""
        self.models: set[str] = set()
        """Digests of the models that closed these weeks."""

    def by_generation(self) -> dict[int, Calibration]:
        """Return all that are known by their generation."""
        found = {c.generation: c for part in self.by_partition for c in part}
        return found | ({self.last.generation: self.last} if self.last is not None else {})


async def cuts_of(settings: Settings, peers: str) -> CutsKept:
    """Return the cut points that the checkpoints and the census of *settings* know; *peers* is the live model's.

    Raises:
        OperatorError: If a topic is missing or could not be read to its end.
    """
    brokers, names, found = settings.kafka.brokers, topic_names(settings), CutsKept()
    for content in await content_of(brokers, names.shard_changelog):
        mine: list[Calibration] = []
        with suppress(DamagedCheckpointError):
            segments = whole(content) if content else {}
            if "closing:cuts" in segments:
                cuts = decode(segments["closing:cuts"])
                groups = decode(segments["closing:cuts-by-group"]) if "closing:cuts-by-group" in segments else []
                found.models.add(decode(segments["closing:model"]))
                for number, (since_ms, generation, everybody) in enumerate(cuts):
                    own = groups[number] if number < len(groups) else {}
                    mine.append(
                        Calibration(generation, 0, everybody, peers=peers, groups=own, since_ms=max(1, since_ms))
                    )
        found.by_partition.append(mine)
    (census,) = await content_of(brokers, names.census_changelog)
    if _LAST in census:
        found.last = msgspec.msgpack.decode(census[_LAST], type=Calibration)
    return found


def pins(found: CutsKept, aside: Settings) -> list[Outgoing]:
    """Return the records that make the shards of *aside* close weeks, and score what is live, by what was *found*."""
    topic = topic_names(aside).activities
    out = [
        Outgoing(topic, number, None, encode_record(each))
        for number, some in enumerate(found.by_partition)
        for each in some
    ]
    if found.last is not None:
        raw = encode_record(found.last)
        out += [Outgoing(topic, number, None, raw) for number in range(aside.kafka.partitions)]
    return out
