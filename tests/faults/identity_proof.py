"""Says how well people were recognised: whom the system counted each message under, against who really sent it.

    raw message ── the name in it ──► known identity map ──► person
        └── its place ──► `activities`, as the workers wrote it ──► subject

Owns pairwise precision and recall: two messages are a pair when they are said to be of one person; precision is the
share of the system's pairs that are right, recall the share of the true pairs that the system has. Invariant: every
message is looked up by its place in its source partition, so no mistake can hide in a sum.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reports.recount import Raw
from state.activity import SEPARATOR, decode_record, rows_of
from state.packing import unpack
from streams.settings import Settings
from streams.topic_specs import topic_names
from tests.faults.hard_people import HardPeople
from tests.streams import kafka_topics

Place = tuple[str, int, int]
"""Source topic, partition, offset."""
Subject = tuple[str, str]
"""Org and user."""
Resolution = Counter[tuple[Subject | None, str, str]]
"""(counted under, person, name in the message) → messages; None = under nobody."""

PERSONAL = ("product-events", "syslog-activities", "chat-messages")
_NAMED = re.compile(rb'(?:distinct_id|author|userid)"?[:=] ?(?:"([^"]*)"|([^\s,}\]]+))')
_GHOST = b'"ghost":1'
_EDIT = b'"type": "edit"'


class Pairs(NamedTuple):
    """Pairwise figures of a resolution."""

    precision: float
    recall: float
    items: int
    persons: int


def counted_under(settings: Settings) -> dict[Place, Subject]:
    """Return under whom the system counted each message.

    Raises:
        AssertionError: If one was counted twice.
    """
    found: dict[Place, Subject] = {}
    brokers, partitions = settings.kafka.brokers, settings.kafka.partitions
    for log in asyncio.run(kafka_topics.read_all(brokers, topic_names(settings).activities, partitions)):
        for _, _, value in log:
            for rows in rows_of(decode_record(value or b"")):
                subjects = [(org, user) for org, user, *_ in (name.split(SEPARATOR) for name in rows.subjects)]
                columns = unpack(rows)
                for at, subject in zip(columns.at.tolist(), columns.subject.tolist(), strict=True):
                    place = (rows.topic, rows.partition, rows.first_offset + at)
                    assert place not in found, f"{place} twice"
                    found[place] = subjects[subject]
    return found


def resolution(
    raw: Iterable[Raw], people: HardPeople, counted: Mapping[Place, Subject], apart: set[Place]
) -> Resolution:
    """Return what became of every message of somebody on the known identity map.

    Ghosts, bots, edits and the messages at the places *apart* (dead letters) are nobody's by contract, and left out.
    """
    found: Resolution = Counter()
    for topic, partition, offset, _, value, _ in raw:
        named = _NAMED.search(value or b"") if topic in PERSONAL else None
        said = value or b""
        if named is None or _GHOST in said or _EDIT in said or (topic, partition, offset) in apart:
            continue
        name = (named[1] or named[2]).decode("utf-8", "replace")
        person = people.owner.get(name)
        if person is not None and person not in people.bots:
            found[counted.get((topic, partition, offset)), person, name] += 1
    return found


def by_message(found: Resolution, unknowable: set[str]) -> Pairs:
    """Return the figures with every message as an item; busy people weigh most."""
    items: Counter[tuple[Subject | None, str]] = Counter()
    for (subject, person, _), number in found.items():
        items[subject, person] += number
    return pairs(items, unknowable)


def by_name(found: Resolution, unknowable: set[str]) -> Pairs:
    """Return the figures with every name that somebody was called by as an item (under each subject it went to)."""
    return pairs(Counter((subject, person) for subject, person, _ in found), unknowable)


def pairs(items: Mapping[tuple[Subject | None, str], int], unknowable: set[str]) -> Pairs:
    """Return the pairwise figures of (subject, person) → items.

    Of persons that nothing tells of no pair can be found, so they are not asked for; a pair that is claimed of them
    counts all the same.

    >>> pairs({(("o", "a"), "a"): 2, (("o", "b"), "a"): 1}, set())[:2]
    (1.0, 0.3333333333333333)
    >>> pairs({(("o", "a"), "a"): 2, (("o", "a"), "b"): 1}, set())[:2]
    (0.3333333333333333, 1.0)
    """
    by_subject, by_person = Counter[Subject](), Counter[str]()
    right = known_right = 0
    for (subject, person), number in items.items():
        if subject is not None:
            by_subject[subject] += number
            right += _pairs_of(number)
            known_right += 0 if person in unknowable else _pairs_of(number)
        if person not in unknowable:
            by_person[person] += number
    claimed, true = sum(map(_pairs_of, by_subject.values())), sum(map(_pairs_of, by_person.values()))
    return Pairs(right / claimed, known_right / true, sum(items.values()), len(by_person))


def _pairs_of(number: int) -> int:
    return number * (number - 1) // 2
