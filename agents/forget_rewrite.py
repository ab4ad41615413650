"""Takes a person's records out of logs that are not compacted: the others are written again, then the log is cut.

    log     a  b  X  c  d  X  e │ end            X = to be gone
    after            e │ a' b' c' d'             a' = a copy, with its time, headers and where it lay

Owns the topics `alerts` and `dead-letters`, which nobody reads in a group. Invariant: what is not theirs is in the log
at every moment, once or twice; a copy says where its original lay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiokafka.structs import TopicPartition

from agents.forget_names import Names
from streams.letters import NOTE_KEY
from streams.log_state import stretches
from streams.lone_sender import LoneSender
from streams.raw_scan import cut_before, extents_of
from streams.settings import Settings
from streams.topic_specs import topic_names

COPY_HEADER = "orgpulse-copy"
"""Header of a copy: partition and offset of its original."""
MOST_COPIES = 200_000
"""Records of a partition that are written again at most; with more only their age takes a person's out."""
_SENDER = "forget-rewrite"
_BATCH = 500

Without = Callable[[Any, Names], bytes | None]
"""A record that holds a name → its value without; None = nothing is left of it."""


class TooLongError(Exception):
    """More would have to be written again than is allowed."""


def alert_without(record: Any, names: Names) -> bytes | None:
    """Return an alert without the person among those who moved the score."""
    alert = orjson.loads(record.value)
    alert["movers"] = [each for each in alert.get("movers", []) if each.get("user") not in names.all]
    left = orjson.dumps(alert)
    return None if names.is_in(left) else left


def letter_without(record: Any, names: Names) -> bytes | None:
    """Return nothing: a letter that names somebody is about them."""
    return None


async def rewrite(settings: Settings, names: Names) -> dict[str, int]:
    """Take the person out of `alerts` and `dead-letters`; return topic → records that were changed or left out.

    Raises:
        TooLongError: If too much would have to be written again.
        NotSentError: If Kafka did not take the copies; then nothing was cut.
    """
    topics = topic_names(settings)
    found = {}
    for topic, without in ((topics.alerts, alert_without), (topics.dead_letters, letter_without)):
        found[topic] = await _rewrite(settings, topic, names, without)
    return {topic: number for topic, number in found.items() if number}


async def _rewrite(settings: Settings, topic: str, names: Names, without: Without) -> int:
    changed = 0
    for tp, extent in (await extents_of(settings.kafka, [topic])).items():
        copies, last, mine = list[dict[str, Any]](), -1, 0
        pending: list[dict[str, Any]] = []
        ends = {tp: extent.end}
        async for _, record in stretches(settings.kafka, {tp: extent.start}, ends, whole=True):
            theirs = names.is_in_record(record.key, record.value, record.headers or ())
            value = without(record, names) if theirs else record.value
            if value is not None:
                pending.append(_copy(tp, record, value))
            if theirs:
                copies, pending = copies + pending, []
                last, mine = record.offset, mine + 1
            if len(copies) + len(pending) > MOST_COPIES:
                raise TooLongError(f"{topic}-{tp.partition} holds more than {MOST_COPIES} records before theirs")
        if last < 0:
            continue
        async with LoneSender(settings, _SENDER) as sender:
            for at in range(0, len(copies), _BATCH):
                await sender.send(copies[at : at + _BATCH])
        await cut_before(settings, {tp: last + 1})
        changed += mine
    return changed


def _copy(tp: TopicPartition, record: Any, value: bytes) -> dict[str, Any]:
    headers = [(name, raw) for name, raw in record.headers or () if name != COPY_HEADER]
    place = f"{tp.partition}:{record.offset}".encode()
    if record.key == NOTE_KEY:
        return {"topic": tp.topic, "partition": tp.partition, "key": record.key, "value": value, "headers": headers}
    return {
        "topic": tp.topic, "partition": tp.partition, "key": record.key, "value": value,
        "timestamp_ms": record.timestamp, "headers": [*headers, (COPY_HEADER, place)],
    }  # fmt: skip
