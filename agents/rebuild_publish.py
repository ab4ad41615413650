"""Brings what a rebuilt generation says into the topics for everybody.

Owns the comparison of what was told aside with what is told. Invariant: it can be taken again at any time: what is
there already is not written twice.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from streams.kafka_access import Brokers
from streams.letters import NOTE_KEY
from streams.log_state import content_of, ends_of, stretches
from streams.plain_sender import send_all
from streams.settings import Settings
from streams.topic_specs import TopicNames, topic_names
from streams.transactions import Outgoing

_Place = tuple[str, int, int]  # topic, partition, offset of the message


class _Letter(NamedTuple):
    """A dead letter: its record, and the bytes of the message (base64, as far as they are kept; "" = none are)."""

    record: Outgoing
    value: str


async def publish(settings: Settings, public: TopicNames) -> list[str]:
    """Bring what the generation of *settings*, told aside, says into the *public* topics; return what was done.

    Last values and tombstones of `scores` and `weeks`, and the dead letters that nobody has told.

    Raises:
        KafkaError: If a record was not taken; then nothing may be called live.
    """
    aside, kafka, done = topic_names(settings), settings.kafka, list[str]()
    for name in ("scores", "weeks"):
        records = await _differing(kafka, getattr(aside, name), getattr(public, name))
        await send_all(settings, records)
        gone = sum(record.value is None for record in records)
        done.append(f"{getattr(public, name)}: {len(records) - gone} records written, {gone} removed")
    letters = await _untold(kafka, aside.dead_letters, public.dead_letters)
    await send_all(settings, letters)
    done.append(f"{public.dead_letters}: {len(letters)} letters that nobody had told")
    return done


async def _differing(brokers: Brokers, source: str, target: str) -> list[Outgoing]:
    """Return what makes the compacted topic *target* say what *source* says."""
    new, old = await content_of(brokers, source), await content_of(brokers, target)
    found = []
    for number, content in enumerate(new):
        found += [
            Outgoing(target, number, key, value) for key, value in content.items() if old[number].get(key) != value
        ]
        found += [Outgoing(target, number, key, None) for key in old[number].keys() - content.keys()]
    return found


async def _untold(brokers: Brokers, source: str, target: str) -> list[Outgoing]:
    """Return the dead letters of *source* whose message *target* has none of.

    A message is told from others by its place and its bytes: a source that was made anew has others at the same
    offsets. Letters without bytes (what was too late for its shard) are told by their place alone.
    """
    told: dict[_Place, set[str]] = {}
    for place, letter in await _letters(brokers, target):
        told.setdefault(place, set()).add(letter.value)
    found = []
    for place, letter in await _letters(brokers, source):
        known = told.get(place, set())
        if not known or (letter.value and "" not in known and letter.value not in known):
            found.append(letter.record._replace(topic=target))
    return found


async def _letters(brokers: Brokers, topic: str) -> list[tuple[_Place, _Letter]]:
    """Return the dead letters of *topic* with the places of their messages."""
    found = []
    ends = await ends_of(brokers, [topic])
    async for tp, record in stretches(brokers, dict.fromkeys(ends, 0), ends, whole=True):
        if record.value is not None and record.key != NOTE_KEY:
            said = orjson.loads(record.value)
            letter = _Letter(Outgoing(topic, tp.partition, record.key, record.value), said.get("value") or "")
            found.append(((said["topic"], said["partition"], said["offset"]), letter))
    return found
