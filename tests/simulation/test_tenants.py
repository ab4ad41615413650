"""No input of one tenant changes a byte of another's output: the real agents of two, on one broker and one Redis.

Every record of every topic and changelog of the one, with offset, key and value, its committed offsets, and every key
and value of Redis are the same whether the other gets nothing, the same messages, garbage, times from elsewhere or a
flood, in whatever order the two work.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from state.activity import Tick, encode_record
from streams import tenants
from streams.clock import FixedClock
from streams.settings import of_tenant
from streams.topic_specs import topic_names
from tests.faults.extent import times
from tests.simulation.broker import Broker
from tests.simulation.fake_redis import FakeRedis, Space
from tests.simulation.ground import HOUR_MS, LATENESS_HOURS, PARTITIONS, SETTINGS, START_MS
from tests.simulation.messages import (
    KINDS,
    ORGS,
    PEOPLE,
    TALKS,
    Message,
    Talk,
    from_2099,
    garbage,
    org,
    person,
    timed,
    too_late,
)
from tests.simulation.worker import UNITS, Worker

RUNS = times(2)
STEPS = 6
_ALL = 1_000_000
Input = Callable[[random.Random, int], list[Message]]
"""What is sent in a step at a moment (ms)."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def usual(chance: random.Random, now_ms: int) -> list[Message]:
    """Return events, logins, payments, a conversation and a little that is of no use."""
    people, number = list(PEOPLE), chance.randrange(10_000)
    found = [make(number + n, chance.choice(people), now_ms) for n, make in enumerate(KINDS.values())]
    found += [timed(number + 20 + n, chance.choice(people), now_ms) for n in range(3)]
    talk = TALKS[chance.choice(sorted(TALKS))](Talk(number + 50, now_ms - HOUR_MS))
    return [*found, *talk, garbage(number)]


def nothing(chance: random.Random, now_ms: int) -> list[Message]:
    """Return nothing."""
    return []


def worthless(chance: random.Random, now_ms: int) -> list[Message]:
    """Return what no reader takes, and bytes at random."""
    topics = [garbage(number).topic for number in range(4)]
    return [*map(garbage, range(8)), *(Message(topic, chance.randbytes(60)) for topic in topics)]


def other_times(chance: random.Random, now_ms: int) -> list[Message]:
    """Return events from the future, from long ago, and of the end of the allowed time."""
    late = [too_late(n, now_ms, LATENESS_HOURS) for n in range(3)]
    return [*(from_2099(n) for n in range(3)), *late, timed(1, "ann", now_ms + HOUR_MS - 1), *usual(chance, 1)]


def flood(chance: random.Random, now_ms: int) -> list[Message]:
    """Return the usual eight times."""
    return [message for _ in range(8) for message in usual(chance, now_ms)]


NOISE = {each.__name__: each for each in (usual, worthless, other_times, flood)}


class Tenant:
    """One worker of a tenant, its directory known."""

    def __init__(self, name: str, broker: Broker, redis: FakeRedis, clock: FixedClock) -> None:
        self.settings = of_tenant(SETTINGS, name)
        bare, self._names, self._broker = topic_names(SETTINGS), topic_names(self.settings), broker
        self._mine = {getattr(bare, field): getattr(self._names, field) for field in bare.__struct_fields__}
        self._round = 0
        for each in ORGS:
            self._put(self._names.orgs, 0, org(each), each)
        for user in PEOPLE:
            self._put(self._names.users, 0, person(user), user)
        self._worker = Worker(broker, Space(redis, self.settings.redis.prefix), clock, self.settings)
        self._worker.take_over(list(UNITS))
        self.work()

    def _put(self, topic: str, partition: int, value: bytes | None, key: str = "") -> None:
        self._broker.put(topic, partition, key.encode() or None, value)

    def send(self, messages: list[Message], chance: random.Random) -> None:
        """Append messages to its own topics."""
        for message in messages:
            self._put(self._mine[message.topic], chance.randrange(PARTITIONS), message.value)

    def work(self, most: int = _ALL) -> None:
        """Handle everything there is, and write it to Redis."""
        while readable := self._worker.readable():
            for tp in readable:
                self._worker.handle(tp, most)
                self._worker.commit(tp)
        while self._worker.sink.busy:
            self._worker.sink.step(_ALL)

    def tick(self, now_ms: int) -> None:
        """Let time pass in each of its partitions."""
        self._round += 1
        for partition in range(PARTITIONS):
            self._put(self._names.activities, partition, encode_record(Tick(now_ms, self._round)))


def outcome(number: int, noise: Input, noisy: str = "noisy") -> tuple[dict[str, Any], int]:
    """Return everything that there is of a tenant after a history, and how many records there are of the other one."""
    broker, redis, clock = Broker(), FakeRedis(), FixedClock(START_MS / 1000)
    broker.now_ms = START_MS
    mine = Tenant("quiet", broker, redis, clock)
    other = mine if noisy == "quiet" else Tenant(noisy, broker, redis, clock)
    chance, others = random.Random(number), random.Random(number + 1)
    for step in range(STEPS):
        broker.now_ms = now_ms = START_MS + step * 2 * HOUR_MS
        clock.set(now_ms / 1000)

        def act(now_ms: int = now_ms) -> None:
            mine.send(usual(chance, now_ms), chance)
            mine.tick(now_ms)
            mine.work()

        def make_noise(now_ms: int = now_ms) -> None:
            other.send(noise(others, now_ms), others)
            if others.random() < 0.5:
                other.tick(now_ms)
            other.work(others.randrange(1, 50))

        for what in others.sample([act, make_noise, make_noise], 3):
            what()
    space, keys = tenants.kafka_namespace("quiet"), mine.settings.redis.prefix
    content = redis.content()
    assert all(key.startswith((keys, other.settings.redis.prefix)) for key in content)
    found = {
        "records": broker.dump(space), "offsets": broker.offsets(space),
        "redis": {key: value for key, value in content.items() if key.startswith(keys)},
        "changes": [entry for entry in redis.changes if entry[0].startswith(keys)],
    }  # fmt: skip
    return found, sum(map(len, broker.dump(tenants.kafka_namespace(noisy)).values()))


@settings(max_examples=RUNS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**32), kind=st.sampled_from(sorted(NOISE)))
def test_no_input_of_one_tenant_changes_a_byte_of_anothers_output(number: int, kind: str) -> None:
    (alone, less), (beside, more) = outcome(number, nothing), outcome(number, NOISE[kind])
    assert more > less, "the other tenant did something"
    assert alone == beside
    begin = tenants.redis_namespace("quiet") + SETTINGS.redis.prefix
    kinds = Counter(key.removeprefix(begin).split(":")[0] for key in alone["redis"])
    assert {"user", "org", "latency", "chat", "totals", "orgs"} <= kinds.keys(), kinds
    written = {tp.topic.removeprefix("t.quiet.") for tp, log in alone["records"].items() if log}
    assert {"scores", "dead-letters", "orgpulse-shard-changelog", "orgpulse-ledger-changelog"} <= written, written


@pytest.mark.parametrize("kind", ["worthless"])
def test_the_comparison_sees_what_comes_into_the_same_namespace(kind: str) -> None:
    assert outcome(1, nothing)[0]["records"] != outcome(1, NOISE[kind], noisy="quiet")[0]["records"]
