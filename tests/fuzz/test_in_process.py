"""Fuzzed messages through readers, agents and shards in this process.

mangler ──► members, ingest, park ──► activities ──► shards ──► documents
                 └─► dead letters     (every message in exactly one place)
"""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from streams.reading import REASONS
from tests.faults.extent import fresh_seed, times
from tests.fuzz.mangle import TOPICS, Mangler
from tests.fuzz.strict_house import StrictHouse

MESSAGES = times(20_000)
CHUNK = 500
NOW_MS = 1_760_000_000_000
LONGEST_CHUNK_SECONDS = 5.0
"""Of CPU time, for a chunk: a single message that takes time by the square of its length would take this long."""


@pytest.mark.timeout(300 + MESSAGES // 100)
def test_every_fuzzed_message_ends_in_exactly_one_place() -> None:
    seed = fresh_seed()
    chance, mangler, house = random.Random(seed), Mangler(seed, NOW_MS), StrictHouse(NOW_MS)
    taken: Counter[str] = Counter()
    slowest, started = 0.0, time.monotonic()
    while taken.total() < MESSAGES:
        topic = chance.choice(TOPICS)
        pairs = list(mangler.messages(topic, CHUNK))
        before = time.process_time()
        house.take(topic, chance.randrange(2), pairs)
        slowest = max(slowest, time.process_time() - before)
        taken[topic] += CHUNK
        if taken.total() % (CHUNK * 20) == 0:
            house.settle()
    house.settle()
    seconds = time.monotonic() - started
    reasons = Counter(house.reasons.values())
    print(f"{taken.total()} messages, {taken.total() / seconds:.0f}/s, slowest chunk {slowest:.2f} s, {dict(reasons)}")
    print(dict(house.outcomes), f"{house.spelled} documents spelled")
    ends = ("forwarded", "parked", "dead_lettered", "ghost", "system", "bot", "directory")
    assert sum(house.outcomes[end] for end in ends) == taken.total()
    assert house.outcomes["dead_lettered"] == reasons.total() > taken.total() / 4
    assert min(house.outcomes[end] for end in ends) > 0 and house.spelled > 1000
    # Said of rows of tables, of whole batches, of people too many.
    assert set(REASONS) - reasons.keys() <= {"park_full", "bad_state", "batch_too_big", "too_many_users"}
    house.check_restored()
    assert slowest < LONGEST_CHUNK_SECONDS
