"""A whole customer base, weeks of it in any order, with workers killed in the middle: every figure is the recount's.

    directory ─► workers │ five weeks from all four sources, shuffled, some twice ─► kill … kill ─► rest
                                                            │                                        │
                                                            └─► recount, identity map ──► equal? ◄───┘

The short form has a few hundred users, the long one (`make faults`) 20,000.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from agents.simulate import Message, directory, history
from streams.log_state import committed_of, ends_of
from streams.topic_specs import group_of, topic_names
from tests.faults import identity_proof, proof
from tests.faults.extent import N
from tests.faults.hard_people import WEEKS, HardPeople
from tests.faults.hard_talk import hard_talk, mixed_in
from tests.faults.system import MODEL, Size, System, wait_until

LONG = N > 0
SIZE = Size(800, 20_000, WEEKS) if LONG else Size(30, 300, WEEKS)
GROUPS = 300 if LONG else 12
KILLS = 2 if LONG else 1
DUPLICATE_SHARE = 0.05
REST_SECONDS = 1200.0 if LONG else 600.0
CHANGES: dict[str, Any] = (
    {
        "checkpoint.every_seconds": 20.0,
        # A backlog that keeps two cores busy for minutes makes everybody slow to answer, and that is no fault here.
        "kafka.session_timeout_seconds": 20.0,
        "kafka.transaction_timeout_seconds": 40.0,
        # With every round all 20,000 are scored, and with every tick what changed is told: seldom enough to keep up.
        "calibration.every_seconds": 15.0,
        "time.tick_seconds": 1.0,
    }
    if LONG
    else {"ingest.chunk_records": 300}  # small chunks, so that there is a middle
)

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(2400 if LONG else 1200)]


@dataclass
class Run:
    """What the tests look at: the installation at rest after its workers were killed, and who is who."""

    system: System
    people: HardPeople
    unread: list[tuple[int, int]]
    """At each kill: messages in Kafka that nobody had read yet, and all that were sent until then."""


@pytest.fixture(scope="module")
def run(kafka: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Play everything, kill, wait for rest."""
    logs, began = tmp_path_factory.mktemp("workers"), time.monotonic()
    with System(kafka.bootstrap, redis_server.url, logs, workers=3, size=SIZE, changes=CHANGES) as system:
        people = HardPeople(system.base, GROUPS, time.time(), system.chance)
        system.send([*directory(system.base), *people.first])
        system.wait_for_directory()
        messages = shuffled(system, people)
        total = len(messages)
        player = system.flood(messages)
        unread = [kill_at(system, total * (kill + 1) / (KILLS + 2)) for kill in range(KILLS)]
        player.join()
        system.rest(REST_SECONDS)
        print(f"{total} messages, at rest after {time.monotonic() - began:.0f} s; unread at the kills: {unread}")
        yield Run(system, people, unread)


def shuffled(system: System, people: HardPeople) -> list[Message]:
    """Return the history and what hard people do, in any order, with duplicates and e-mails spelled otherwise."""
    chance = system.chance
    found = list(history(system.base, people.end, SIZE.weeks))
    talk = hard_talk(system.base, round(people.end * 1000), SIZE.weeks, chance)
    people.note_news(found)
    found = [people.spelled_otherwise(message) for message in found] + people.messages
    found += chance.sample(found, int(len(found) * DUPLICATE_SHARE))
    found += people.later
    chance.shuffle(found)
    system.talks = True  # in its own order: which of two messages of one id is the first is no matter of chance
    return mixed_in(found, talk, chance)


def kill_at(system: System, wanted: float) -> tuple[int, int]:
    """Kill a worker once *wanted* messages were read, start it again; return (unread, sent) right after the kill."""
    names = topic_names(system.settings)
    brokers, group = system.settings.kafka.brokers, group_of(system.settings)

    def read() -> int:
        committed = asyncio.run(committed_of(brokers, group))
        return sum(number for tp, number in committed.items() if tp.topic in names.sources)

    wait_until(lambda: "" if read() >= wanted else "not read yet", REST_SECONDS)
    victim = system.chance.choice(system.workers.running)
    system.workers.kill(victim)
    sent = sum(asyncio.run(ends_of(brokers, names.sources)).values())
    unread = sent - read()
    system.workers.start(victim)
    return unread, sent


def test_every_figure_equals_the_recount(run: Run) -> None:
    system, began = run.system, time.monotonic()
    assert system.workers.kills == KILLS
    assert all(unread > 0.05 * sent for unread, sent in run.unread), run.unread
    assert not proof.differences(system)
    found = system.recount
    duplicates = int(found.ledger["duplicate"].sum())
    assert duplicates > 0.8 * DUPLICATE_SHARE * len(system.raw)
    print(
        f"{len(found.users)} users of {len(found.orgs)} orgs, {len(system.raw)} messages, {duplicates} duplicates, "
        f"compared in {time.monotonic() - began:.0f} s; at most "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB of memory here"
    )


def test_the_base_makes_every_attribute_differ_between_users(run: Run) -> None:
    values = run.system.recount.contributions.nunique()
    assert len(values) == len(MODEL["attributes"])
    assert (values >= 2).all(), values[values < 2].to_dict()


def test_people_are_recognised_and_never_merged(run: Run) -> None:
    system, people = run.system, run.people
    letters = {(letter["topic"], letter["partition"], letter["offset"]) for letter in proof.letters_of(system)}
    counted = identity_proof.counted_under(system.settings)
    found = identity_proof.resolution(system.raw, people, counted, letters)
    messages = identity_proof.by_message(found, people.unknowable)
    names = identity_proof.by_name(found, people.unknowable)
    print(f"by message {messages}\nby name    {names}")
    wrong = [entry for entry in found if entry[0] is None or entry[0][1] != entry[1]]
    wrong = [entry for entry in wrong if entry[1] not in people.unknowable]
    assert names.items > 2 * SIZE.users and names.persons > SIZE.users / 2
    assert messages[:2] == names[:2] == (1.0, 1.0), wrong[:20]
    assert not wrong
    assert {subject for subject, person, _ in found if person in people.unknowable} == {None}
