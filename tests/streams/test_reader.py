"""The reader against a real Redis, filled by the script that the sink uses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import redis

from deploy.local.redis import LocalRedis
from streams.clock import FixedClock
from streams.fenced_write import SCRIPT, Write, pack
from streams.reader import Ranking, Reader

END = datetime(2026, 11, 22, 8, tzinfo=UTC)
REASONS = (
    '[{"attribute": "searches", "points": "3.20", "of": "5.00", "change": "-1.10"},'
    ' {"attribute": "exports", "points": "60.21", "of": "95.00", "change": ""}]'
)
COMMON = {"band": "watch", "coverage": "0.9375", "reasons": REASONS, "window_end": END.isoformat(), "calibration": "0"}
USER = {**COMMON, "score": "63.41", "previous": "64.51", "first_week": "0", "schema": "1"}
ORG = {**COMMON, "score_active": "55.10", "score_licensed": "", "score_median": "54.00", "active_users": "7"}


class Shop:
    """Writes as the sink does, and reads back."""

    def __init__(self, url: str, prefix: str) -> None:
        self.clock = FixedClock(END.timestamp() + 60)
        self.reader = Reader(url, prefix, self.clock)
        self.redis: Any = redis.Redis.from_url(url)
        self.prefix = prefix

    def write(self, *writes: Write) -> None:
        keys, payload = pack([(write, ()) for write in writes], self.prefix)
        self.redis.eval(SCRIPT, len(keys), *keys, payload, "1000", "100", "1000")


@pytest.fixture
def shop(redis_server: LocalRedis, topic_prefix: str) -> Iterator[Shop]:
    opened = Shop(redis_server.url, topic_prefix)
    yield opened
    opened.reader.close()
    opened.redis.close()


def user(name: str, org: str = "acme", score: str = "63.41", fence: str = "0000.1") -> Write:
    rank = (f"org:{{{org}}}:users:by-score", name, float(score))
    change = {"subject": f"user:{org}/{name}", "from": "64.51", "to": score, "band": "watch", "cause": "own"}
    return Write(f"user:{{{org}}}:{name}", {**USER, "score": score}, fence, (rank,), change)


def org(name: str, score: str) -> Write:
    return Write(f"org:{{{name}}}", {**ORG, "score_active": score}, "0000.1", (("orgs:by-score", name, float(score)),))


def test_a_user_comes_back_typed_and_the_points_add_up_to_the_score(shop: Shop) -> None:
    shop.write(user("u1"))
    found = shop.reader.user("acme", "u1")
    assert found is not None
    assert (found.score, found.previous, found.coverage) == (Decimal("63.41"), Decimal("64.51"), 0.9375)
    assert sum(reason.points for reason in found.reasons) == found.score
    assert found.reasons[1].change is None
    assert (found.window_end, found.calibration, found.first_week, found.fence) == (END, 0, False, "0000.1")


def test_missing_is_none_and_an_empty_figure_is_not_zero(shop: Shop) -> None:
    shop.write(org("acme", "55.10"))
    found = shop.reader.org("acme")
    assert found is not None
    assert found.score_licensed is None
    assert found.licensed_users is None
    assert found.active_users == 7
    assert shop.reader.user("acme", "nobody") is None
    assert shop.reader.org("nobody") is None
    assert shop.reader.latency("nobody") is None
    assert shop.reader.orgs_by_score(Ranking(5))[0].name == "acme"


def test_a_deleted_user_is_none(shop: Shop) -> None:
    shop.write(user("u1"))
    shop.write(Write("user:{acme}:u1", {}, "0000.2"))
    assert shop.reader.user("acme", "u1") is None
    assert shop.reader.users_by_score("acme", Ranking(10)) == []


def test_a_score_says_its_age_and_when_it_is_stale(shop: Shop) -> None:
    shop.write(user("u1"))
    found = shop.reader.user("acme", "u1")
    assert found is not None and (found.age_seconds, found.stale) == (60.0, False)
    shop.clock.advance(7200)
    found = shop.reader.user("acme", "u1")
    assert found is not None and (found.age_seconds, found.stale) == (7260.0, True)


def test_a_quiet_user_is_not_stale_while_every_partition_goes_on(shop: Shop) -> None:
    shop.write(user("u1"))
    shop.clock.advance(86_400)
    said = "2026-11-23T08:00:00Z"
    shop.write(Write("totals", {"orgs": "1", "as_of": said}, "0000.2"))
    found = shop.reader.user("acme", "u1")
    assert found is not None and (found.age_seconds, found.stale, found.window_end) == (60.0, False, END)
    shop.clock.advance(7200)
    found = shop.reader.user("acme", "u1")
    assert found is not None and (found.age_seconds, found.stale) == (7260.0, True)


def test_orgs_at_risk_and_users_come_lowest_first(shop: Shop) -> None:
    shop.write(org("a", "50.00"), org("b", "20.00"), org("c", "90.00"))
    shop.write(user("u1", score="30.00"), user("u2", score="10.00"))
    assert [found.org for found in shop.reader.orgs_by_score(Ranking(2))] == ["b", "a"]
    assert [found.user for found in shop.reader.users_by_score("acme", Ranking(5))] == ["u2", "u1"]


def test_a_user_id_is_found_in_the_orgs_that_have_it(shop: Shop) -> None:
    shop.write(org("a", "50.00"), org("b", "20.00"), user("u1", "a"), user("u1", "b"), user("u2", "b"))
    assert sorted(shop.reader.orgs_of_user("u1")) == ["a", "b"]
    assert shop.reader.orgs_of_user("u2") == ["b"]
    assert shop.reader.orgs_of_user("u3") == []


def test_a_latency_map_keeps_cells_without_data_out(shop: Shop) -> None:
    fields = {"mon-00": "12.500", "mon-00:n": "3", "sun-23": "0.000", "sun-23:n": "1"}
    about = {"timezone": "Europe/Berlin", "period": "rolling", "quantile": "0.8"}
    shop.write(Write("latency:{all}", {**fields, **about}, "0000.1"))
    found = shop.reader.latency()
    assert found is not None
    assert dict(found.cells) == {0: (12.5, 3), 167: (0.0, 1)}
    assert (found.timezone, found.period, found.quantile) == ("Europe/Berlin", "rolling", 0.8)


def test_changes_are_read_on_from_the_last_one_seen(shop: Shop) -> None:
    assert shop.reader.changes() == []
    shop.write(user("u1", fence="0000.1"))
    shop.write(user("u1", score="60.00", fence="0000.2"))
    first, second = shop.reader.changes()
    assert (first.fields["to"], second.fields["to"]) == ("63.41", "60.00")
    assert shop.reader.changes(first.id) == [second]
    assert shop.reader.changes(second.id, wait_seconds=0.001) == []


def test_totals_are_what_was_published(shop: Shop) -> None:
    assert shop.reader.totals() is None
    shop.write(Write("totals", {"orgs": "3", "watch": "2", "as_of": "2026-11-22T08:00:00Z"}, "0000.1"))
    found = shop.reader.totals()
    assert found is not None
    assert (found.orgs, found.users_active, found.users_by_band) == (3, None, {"watch": 2})
    assert (found.as_of, found.age_seconds, found.stale, found.fence) == (END, 60.0, False, "0000.1")
