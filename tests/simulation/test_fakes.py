"""The fakes mean what the real ones do: Redis against the real script, the log by what Kafka promises."""

from __future__ import annotations

import random
from typing import Any

import pytest
import redis
from faust.types import TP

from deploy.local.redis import LocalRedis
from streams.fenced_write import SCRIPT, Queued, Told, Write, pack
from streams.transactions import Outgoing
from tests.simulation.broker import Broker, FencedError
from tests.simulation.fake_redis import FakeRedis

BANDS = ("at_risk", "watch", "healthy")
IN, OUT = TP("in", 0), TP("out", 0)


def some_write(chance: random.Random, step: int) -> Queued:
    """Return a write of about log position *step*: told first or again, seldom a deletion, at times with changes."""
    user, band, number = chance.choice("ab"), chance.choice(BANDS), step + chance.randrange(4)
    others = [other for other in BANDS if other != band]
    fields = {"band": band, chance.choice("xyz"): str(number)} if chance.random() < 0.9 else {}
    change = {"from": chance.choice(others), "to": band} if fields and chance.random() < 0.4 else None
    missed = {o: {"from": o, "to": band} for o in others} if fields and not change and chance.random() < 0.5 else None
    ranks = (("rank", user, float(number) if chance.random() < 0.8 else None),)
    earlier = [
        Told(f"{max(0, number - ago):04d}", *said)
        for ago in (3, 2, 1)
        if chance.random() < 0.2
        for to in [chance.choice(BANDS)]
        for said in [({"from": band, "to": to}, None), (None, {o: {"from": o, "to": to} for o in BANDS if o != to})]
        if chance.random() < 0.7
    ]
    return Write(user, fields, f"{number:04d}", ranks, change, missed=missed), tuple(earlier)


@pytest.mark.parametrize("seed", range(20))
def test_the_fake_redis_does_what_the_script_does(seed: int, redis_server: LocalRedis, topic_prefix: str) -> None:
    chance, fake = random.Random(seed), FakeRedis()
    client: Any = redis.Redis.from_url(redis_server.url, decode_responses=True)
    for step in range(40):
        batch = [some_write(chance, step) for _ in range(chance.randrange(1, 4))]
        keys, payload = pack(batch, topic_prefix)
        client.eval(SCRIPT, len(keys), *keys, payload, "1000", "1000", "1000")
        fake.script(batch)
        assert {u: client.hgetall(topic_prefix + u) for u in "ab"} == {u: fake.hashes.get(u, {}) for u in "ab"}
        assert dict(client.zrange(topic_prefix + "rank", 0, -1, withscores=True)) == fake.ranks.get("rank", {})
        told = [entry for _, entry in client.xrange(topic_prefix + "changes")]
        assert told == [entry for _, entry in fake.changes]
    assert fake.changes
    client.close()


def test_readers_wait_before_the_first_record_of_an_open_transaction() -> None:
    broker = Broker()
    writer = broker.init("in-0")
    broker.begin(writer)
    broker.send(writer, [Outgoing("out", 0, None, b"held")])
    broker.put("out", 0, None, b"plain")
    assert broker.read(OUT, 0) == ([], 0)
    broker.send_offset(writer, IN, 7)
    assert broker.committed(IN) == 0
    broker.commit(writer)
    assert [record.value for record in broker.read(OUT, 0)[0]] == [b"held", b"plain"]
    assert broker.committed(IN) == 7 and broker.read(OUT, 0)[1] == 3  # past the marker


def test_a_new_owner_aborts_and_fences_the_former_one() -> None:
    broker = Broker()
    former = broker.init("in-0")
    broker.begin(former)
    broker.send(former, [Outgoing("out", 0, None, b"aborted")])
    broker.send_offset(former, IN, 7)
    broker.init("in-0")
    assert broker.read(OUT, 0) == ([], 2) and broker.committed(IN) == 0
    with pytest.raises(FencedError):
        broker.commit(former)
